//! A guest that shares memory with others, stepped by the host.

use crate::{
    arch::{apic, traps},
    events,
    machine::Machine,
    mmap::{self, PageTables, Process, SharedFile},
    outcome::{Outcome, Stop, ensure},
    region::{self, Memory},
    scenarios::steps::host::wait_for_host,
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::time::Duration;
use famfs::{
    Claims, Coherence, FormatOptions, Interleave, Mount, MountOptions, NewFile, Owner, Placement, format as make_anew,
    layout::Uuid,
};
use fs_dax::{DeviceOffset, Errno, FileRange, SharedMemory, WindowMemory};
use testkernel_protocol::{
    command_line::GUEST,
    content::Content,
    shared_memory::{CLIENT, DEVICE_LEN, LOG_LEN, MASTER},
    stepping::{self, Places},
};

pub(crate) type Lock = spin::Mutex<()>;
pub(crate) type SharedFs = Mount<Memory, Lock>;

/// How long a guest naps between two looks.
const NAP: Duration = Duration::from_micros(300);

pub(crate) const OWNER: Owner = Owner { uid: 1, gid: 2, mode: 0o640 };

/// This guest.
pub(crate) struct Guest {
    /// Its number, from 0.
    pub(crate) number: usize,
    /// The memory.
    pub(crate) memory: Memory,
    /// Which mount has which memory in this kernel.
    pub(crate) claims: Arc<Claims<Lock>>,
    /// The page tables of its programs.
    pub(crate) tables: PageTables,
    fs: Option<Arc<SharedFs>>,
    places: Places,
}

/// Takes the host's steps, one after the other, until it ends the guest.
pub(crate) fn play(machine: &Machine, mut act: impl FnMut(&mut Guest, &str) -> Outcome) -> Outcome {
    let mut guest = Guest::new(machine)?;
    let mut taken = 0;
    loop {
        taken += 1;
        let step = guest.step(taken)?;
        if step == stepping::END {
            return Ok(());
        }
        log::info!("step {step}");
        act(&mut guest, &step)?;
        guest.done(taken)?;
    }
}

/// For a step that a scenario does not have.
pub(crate) fn unknown(step: &str) -> Outcome {
    Err(Stop::Fail(format!("the host wants the step `{step}`, of which the kernel knows nothing")))
}

impl Guest {
    fn new(machine: &Machine) -> Result<Self, Stop> {
        let region = region::find(machine)?;
        let region = region.ok_or_else(|| Stop::Fail("there is no memory that machines share".into()))?;
        let memory = region::map(machine, &region)?;
        let number = machine.command_line.parameter(GUEST).and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| Stop::Fail("the command line does not say which guest this is".into()))?;
        events::info("memory", &format_args!("{:#x} {:#x}", region.addr(), region.len()));
        Ok(Self {
            number,
            memory,
            claims: Claims::new(),
            tables: PageTables::default(),
            fs: None,
            places: stepping::places(region.len(), number),
        })
    }

    /// Waits for the step of this number; the watchdog ends the wait. Gives its name.
    fn step(&self, number: u64) -> Result<String, Stop> {
        while self.memory.load_u64(DeviceOffset(self.places.turn))? < number {
            apic::nap(NAP);
        }
        let mut name = [0; stepping::NAME_LEN];
        self.memory.read(DeviceOffset(self.places.name), &mut name)?;
        Ok(stepping::decode(&name).ok_or_else(|| Stop::Fail("the host wants a step without a name".into()))?.into())
    }

    /// Says that a step was taken: in the memory, or where that is read-only by an event.
    fn done(&self, number: u64) -> Outcome {
        if self.memory.is_writable() {
            return Ok(self.memory.store_u64(DeviceOffset(self.places.done), number)?);
        }
        wait_for_host(&format!("{}{number}", stepping::DONE))
    }

    /// What most scenarios format with.
    pub(crate) fn options() -> FormatOptions {
        let mut options = FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), Uuid(MASTER), DEVICE_LEN);
        options.log_len = LOG_LEN;
        options
    }

    /// Makes a file system and mounts it as its master.
    pub(crate) fn format(&mut self, options: &FormatOptions) -> Outcome {
        self.fs = None;
        make_anew(&self.memory, options)?;
        self.mount(MASTER)
    }

    /// Mounts the file system in the memory.
    pub(crate) fn mount(&mut self, system: [u8; 16]) -> Outcome {
        self.fs = None;
        // Guests of one machine: the hardware is coherent. The steps of the protocol are taken all the same.
        let coherence = Coherence::Software;
        let options = MountOptions { system: Some(Uuid(system)), coherence, ..MountOptions::default() };
        self.fs = Some(Arc::new(Mount::open(self.memory, [], &options, &self.claims)?));
        Ok(())
    }

    /// Mounts it as a client.
    pub(crate) fn join(&mut self) -> Outcome {
        self.mount(CLIENT)
    }

    /// The mounted file system.
    pub(crate) fn fs(&self) -> Result<Arc<SharedFs>, Stop> {
        self.fs.clone().ok_or_else(|| Stop::Fail("nothing is mounted".into()))
    }

    /// Gives the file system up.
    pub(crate) fn unmount(&mut self) {
        self.fs = None;
    }

    /// Opens a file.
    pub(crate) fn open(&self, path: &str) -> Result<Arc<SharedFile>, Stop> {
        let fs = self.fs()?;
        Ok(Arc::new(fs.open_file(fs.lookup(path.as_bytes())?)?))
    }

    /// Makes a file in one piece, with its name's stream as its contents, and publishes them.
    pub(crate) fn make(&self, path: &str, size: u64) -> Result<Arc<SharedFile>, Stop> {
        self.make_placed(path, size, Placement::Simple)
    }

    /// The same in strips.
    pub(crate) fn make_in_strips(&self, path: &str, size: u64, how: Interleave<'_>) -> Result<Arc<SharedFile>, Stop> {
        self.make_placed(path, size, Placement::Interleaved(how))
    }

    fn make_placed(&self, path: &str, size: u64, placement: Placement<'_>) -> Result<Arc<SharedFile>, Stop> {
        let new = NewFile { size, owner: OWNER, read_only: false, placement };
        self.fs()?.create(path.as_bytes(), &new)?;
        let file = self.open(path)?;
        write(&file, path)?;
        Ok(file)
    }

    /// A program; this processor uses its addresses from now on.
    pub(crate) fn program(&self) -> Result<Arc<Process>, Stop> {
        traps::handle_page_faults(mmap::handle);
        let process = Process::new()?;
        process.activate();
        Ok(process)
    }
}

/// Fills a file with a stream and publishes it.
pub(crate) fn write(file: &SharedFile, stream: &str) -> Outcome {
    let mut block = vec![0; 64 << 10];
    let content = Content::of(stream);
    for at in (0..file.size()).step_by(block.len()) {
        content.fill(at, &mut block);
        let written = file.write_at(at, &block)? as u64;
        let expected = (file.size() - at).min(block.len() as u64);
        ensure!(written == expected, "{stream}: {written} bytes were written at {at:#x}, not {expected}");
    }
    Ok(file.publish(FileRange::ALL)?)
}

/// Fails unless a file holds a stream, as it is in the memory now.
pub(crate) fn holds(file: &SharedFile, stream: &str) -> Outcome {
    file.refresh(FileRange::ALL)?;
    let (mut found, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let content = Content::of(stream);
    let mut at = 0;
    while at < file.size() {
        let count = file.read_at(at, &mut found)?;
        ensure!(count > 0, "{stream} ends at {at:#x}, not at {:#x}", file.size());
        content.fill(at, &mut expected[..count]);
        let wrong = found[..count].iter().zip(&expected).position(|(found, expected)| found != expected);
        ensure!(wrong.is_none(), "{stream} differs at byte {:#x}", at + wrong.unwrap_or(0) as u64);
        at += count as u64;
    }
    Ok(())
}

/// Fails unless an operation is refused with this error number.
pub(crate) fn refused<T>(what: &str, result: Result<T, famfs::Error>, errno: Errno) -> Outcome {
    match result {
        Err(error) if error.errno() == errno => Ok(()),
        Err(error) => Err(Stop::Fail(format!("{what} gives {error} ({}), not {errno}", error.errno()))),
        Ok(_) => Err(Stop::Fail(format!("{what} is not refused with {errno}"))),
    }
}

/// The names in the root.
pub(crate) fn names(fs: &SharedFs) -> Result<Vec<String>, Stop> {
    let (mut names, mut cursor) = (Vec::new(), 0);
    while let Some(entry) = fs.read_dir(famfs::NodeId::ROOT, cursor)? {
        cursor = entry.next;
        names.push(String::from_utf8_lossy(entry.name()).into_owned());
    }
    names.sort();
    Ok(names)
}
