//! Views of files in the address spaces of programs.

use super::window;
use crate::{
    arch::{traps, user},
    events,
    machine::Machine,
    memory::paging::USER_START,
    mmap::{self, Counts, File, Mapped, PageTables, Process, View, ViewRequest},
    mount::{self, Fs},
    outcome::{Outcome, Stop, ensure},
};
use alloc::sync::Arc;
use fs_dax::{Errno, MapFlags, SyncPolicy};
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, DaxStatus, OpenOptions};

/// Where the first view of a scenario is.
pub(crate) const BASE: u64 = USER_START + (1 << 30);

/// How far views are apart.
pub(crate) const APART: u64 = 1 << 30;

/// A file of 6 MiB.
pub(crate) const MAP: &str = share::MAP.name;

/// Another one of 4 MiB.
pub(crate) const OTHER: &str = share::GUEST_WRITE.name;

pub(crate) const MIB: u64 = 1 << 20;

/// A file system with files that programs map, and one program.
pub(crate) struct World {
    pub(crate) fs: Fs,
    pub(crate) tables: Arc<PageTables>,
    pub(crate) process: Arc<Process>,
}

impl World {
    /// Mounts a file system with a window, and has this processor run a program.
    pub(crate) fn new(machine: &Machine, config: Config) -> Result<Self, Stop> {
        let fs = mount::mount(machine, config)?;
        let status = fs.dax_status();
        ensure!(status == DaxStatus::Active, "DAX is {status}");
        let tables = Arc::new(PageTables::default());
        fs.set_mappings(Some(tables.clone()));
        traps::handle_page_faults(mmap::handle);
        let process = Process::new()?;
        process.activate();
        Ok(Self { fs, tables, process })
    }

    /// Opens a file, for writing too if asked.
    pub(crate) fn open(&self, name: &str, write: bool) -> Result<Arc<File>, Stop> {
        Ok(Arc::new(self.fs.open(name, OpenOptions::new().read(true).write(write))?))
    }

    /// Ends the program and the session.
    pub(crate) fn finish(self) -> Outcome {
        self.process.end();
        report(&self.fs, &self.process);
        window::finish(&self.fs)
    }
}

/// A shared view, writable if the file is.
pub(crate) fn shared<F: Mapped + 'static>(file: &Arc<F>, at: u64, len: u64, writable: bool) -> ViewRequest {
    let flags = MapFlags::SHARED;
    ViewRequest { file: file.clone(), flags, policy: SyncPolicy::default(), at, len, offset: 0, writable }
}

/// A private view that may be stored to.
pub(crate) fn private<F: Mapped + 'static>(file: &Arc<F>, at: u64, len: u64) -> ViewRequest {
    ViewRequest { flags: MapFlags::PRIVATE, ..shared(file, at, len, true) }
}

/// Maps a file in a process.
pub(crate) fn map(process: &Process, request: &ViewRequest) -> Result<Arc<View>, Stop> {
    process.map(request).map_err(|errno| Stop::Fail(alloc::format!("the file cannot be mapped: {errno}")))
}

/// Loads a word that must be that of a stream.
pub(crate) fn expect_word(at: u64, content: Content, offset: u64) -> Outcome {
    let found = load(at)?;
    let expected = content.word(offset / 8);
    ensure!(found == expected, "{at:#x}, byte {offset} of the file, is {found:#018x}, not {expected:#018x}");
    Ok(())
}

/// Loads a word.
pub(crate) fn load(at: u64) -> Result<u64, Stop> {
    user::load_word(at).map_err(|errno| Stop::Fail(alloc::format!("loading from {at:#x}: {errno}")))
}

/// Stores a word.
pub(crate) fn store(at: u64, value: u64) -> Outcome {
    user::store_word(at, value).map_err(|errno| Stop::Fail(alloc::format!("storing to {at:#x}: {errno}")))
}

/// A load that must be a bus error.
pub(crate) fn no_load(at: u64, errno: Errno) -> Outcome {
    let result = user::load_word(at);
    ensure!(result == Err(errno), "loading from {at:#x} gives {result:x?}, not a bus error with {errno}");
    Ok(())
}

/// A store that must be a bus error.
pub(crate) fn no_store(at: u64, errno: Errno) -> Outcome {
    let result = user::store_word(at, 1);
    ensure!(result == Err(errno), "storing to {at:#x} gives {result:?}, not a bus error with {errno}");
    Ok(())
}

/// Fails unless the page at an address is in the page tables like this: bytes and whether it can be written.
pub(crate) fn expect_page(process: &Process, at: u64, page: Option<(u64, bool)>) -> Outcome {
    let found = process.page_at(at);
    ensure!(found == page, "the page at {at:#x} is {found:?}, not {page:?}");
    Ok(())
}

/// Fails unless the driver and the process count so many pages.
pub(crate) fn expect_faults(world: &World, huge: u64, base: u64) -> Outcome {
    let (counts, stats) = (world.process.counts(), world.fs.stats());
    let (by_driver, by_kernel) = ((stats.faults_huge, stats.faults_base), (counts.huge, counts.base));
    ensure!(by_kernel == (huge, base), "{by_kernel:?} pages of 2 MiB and 4 KiB were installed, not {:?}", (huge, base));
    ensure!(by_driver == by_kernel, "the driver counts {by_driver:?} pages, the kernel {by_kernel:?}");
    Ok(())
}

/// Tells the host what faults there were.
fn report(fs: &Fs, process: &Process) {
    let (stats, Counts { copied, filled, .. }) = (fs.stats(), process.counts());
    for (name, value) in [
        ("faults", stats.faults),
        ("faults_huge", stats.faults_huge),
        ("faults_base", stats.faults_base),
        ("sync_faults", stats.sync_faults),
        ("fsyncs", stats.fsyncs),
        ("protected_pages", stats.protected_pages),
        ("copied_pages", copied),
        ("filled_pages", filled),
    ] {
        events::metric(&alloc::format!("stat {name}"), value, "1");
    }
}
