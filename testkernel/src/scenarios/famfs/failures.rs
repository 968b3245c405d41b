//! Memory that fails, and memory that is wanted twice.

use crate::{
    machine::Machine,
    memory::LARGE_PAGE,
    mmap::{Process, SharedFile},
    outcome::{Outcome, Stop, ensure},
    region::Memory,
    scenarios::steps::{
        shared::{Guest, OWNER, SharedFs, holds, play, refused, unknown},
        views::{APART, BASE, expect_page, expect_word, map, no_load, no_store, shared},
    },
};
use alloc::{sync::Arc, vec::Vec};
use core::ptr::NonNull;
use famfs::{Mount, MountOptions};
use fs_dax::{DeviceIndex, DeviceOffset, Errno, MappedMemory, Pages, SharedMemory, WindowMemory};
use testkernel_protocol::{content::Content, shared_memory::NEIGHBOURS};

const DEVICE: DeviceIndex = DeviceIndex(0);

/// The neighbours, mapped in two programs.
struct Mapped {
    programs: [Arc<Process>; 2],
    files: Vec<Arc<SharedFile>>,
}

impl Mapped {
    fn new(guest: &Guest) -> Result<Self, Stop> {
        let files = NEIGHBOURS.iter().map(|file| guest.open(file.name)).collect::<Result<Vec<_>, _>>()?;
        let programs = [guest.program()?, guest.program()?];
        for program in &programs {
            program.activate();
            for (index, file) in files.iter().enumerate() {
                let at = BASE + index as u64 * APART;
                map(program, &shared(file, at, file.size().next_multiple_of(4096), true))?;
                expect_word(at + 8, Content::of(NEIGHBOURS[index].name), 8)?;
            }
        }
        Ok(Self { programs, files })
    }

    /// Fails unless exactly the files of these numbers have failed, in every program.
    fn expect_failed(&self, failed: &[usize]) -> Outcome {
        for (index, file) in self.files.iter().enumerate() {
            let (at, name) = (BASE + index as u64 * APART, NEIGHBOURS[index].name);
            let has_failed = failed.contains(&index);
            for program in &self.programs {
                program.activate();
                if has_failed {
                    expect_page(program, at, None)?;
                    no_load(at + 8, Errno::EIO)?;
                    no_store(at + 8, Errno::EIO)?;
                } else {
                    expect_page(program, at, Some((LARGE_PAGE, true)))?;
                    expect_word(at + 8, Content::of(name), 8)?;
                }
            }
            if has_failed {
                refused("reading", file.read_at(0, &mut [0]), Errno::EIO)?;
                refused("writing", file.write_at(0, &[0]), Errno::EIO)?;
            } else {
                holds(file, name)?;
            }
        }
        Ok(())
    }

    fn end(self) {
        self.programs.iter().for_each(Process::end);
    }
}

fn make(guest: &mut Guest) -> Outcome {
    guest.format(&Guest::options())?;
    for file in NEIGHBOURS {
        guest.make(file.name, file.size)?;
    }
    Ok(())
}

/// Machine: shared memory. A range is lost that one file has a byte of: that file fails, for good and in every program, and no
/// other one does. Then one that two files touch; then the log: files go on, and nothing is followed or added.
pub(crate) fn failed_range(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => make(guest),
        "lose" => {
            guest.mount(testkernel_protocol::shared_memory::MASTER)?;
            let fs = guest.fs()?;
            let mapped = Mapped::new(guest)?;
            mapped.expect_failed(&[])?;
            let place = |index: usize| mapped.files[index].resolve(0, 1).map(|segment| segment.offset.0);
            let (middle, right) = (place(1)?, place(2)?);
            ensure!(middle < right, "the files are not in a row");
            let lost = fs.notify_failure(DEVICE, middle + 4096, 1, &guest.tables);
            ensure!(lost == 1 && guest.tables.unmapped() > 0, "{lost} files were lost");
            mapped.expect_failed(&[1])?;
            // The end of one that failed already, and the beginning of the next.
            let lost = fs.notify_failure(DEVICE, right - 1, 2, &guest.tables);
            ensure!(lost == 1, "{lost} more files were lost");
            mapped.expect_failed(&[1, 2])?;
            fs.follow(u64::MAX, &guest.tables)?;
            let lost = fs.notify_failure(DEVICE, fs.superblock().log_offset, 64, &guest.tables);
            // The file that shows it, and no other.
            ensure!(lost == 1, "{lost} files were lost with the log");
            refused("following", fs.follow(u64::MAX, &guest.tables), Errno::EIO)?;
            refused("adding", fs.mkdir(b"dir", &OWNER), Errno::EIO)?;
            mapped.expect_failed(&[1, 2])?;
            mapped.end();
            Ok(())
        }
        "others" => {
            // What one host lost another one may still have.
            guest.join()?;
            for file in NEIGHBOURS {
                holds(&*guest.open(file.name)?, file.name)?;
            }
            Ok(())
        }
        _ => unknown(step),
    })
}

/// Machine: shared memory. All of it is lost: every file fails in every program, and nothing is followed any more.
pub(crate) fn failed_device(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => make(guest),
        "lose" => {
            guest.join()?;
            let fs = guest.fs()?;
            let mapped = Mapped::new(guest)?;
            let lost = fs.notify_failure(DEVICE, 0, u64::MAX, &guest.tables);
            // The two files that show the medium itself are lost with it.
            ensure!(lost == NEIGHBOURS.len() + 2, "{lost} files were lost");
            mapped.expect_failed(&[0, 1, 2])?;
            let pages: usize = mapped.programs.iter().map(|program| program.pages()).sum();
            ensure!(pages == 0, "{pages} pages are left");
            refused("following", fs.follow(u64::MAX, &guest.tables), Errno::EIO)?;
            refused("opening .meta/.log", guest_reads(&fs), Errno::EIO)?;
            mapped.end();
            Ok(())
        }
        _ => unknown(step),
    })
}

fn guest_reads(fs: &SharedFs) -> Result<usize, famfs::Error> {
    fs.open_file(fs.lookup(b".meta/.log")?)?.read_at(0, &mut [0])
}

/// Machine: shared memory. The memory, and each part of it, belongs to one mount at a time, by whatever name; it is free when
/// the mount and the last open file are gone.
pub(crate) fn second_mount_busy(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => make(guest),
        "twice" => {
            guest.join()?;
            let open = |memory: Memory| -> Result<SharedFs, famfs::Error> {
                Mount::open(memory, [], &MountOptions::default(), &guest.claims)
            };
            refused("a second mount", open(guest.memory), Errno::EBUSY)?;
            let (len, phys) = (guest.memory.len(), guest.memory.phys(DeviceOffset(0), 1)?);
            let base = NonNull::new(phys.0 as *mut u8).ok_or_else(|| Stop::Fail("memory at address 0".into()))?;
            // SAFETY: a part of the memory that is mapped for good.
            let part = unsafe { MappedMemory::new(base, (len / 2) as usize, true, *guest.memory.flush()) }?;
            refused("a mount of a part", open(part.with_phys(phys, Pages::Full)?), Errno::EBUSY)?;
            let file = guest.open(NEIGHBOURS[0].name)?;
            guest.unmount();
            let open = |memory: Memory| -> Result<SharedFs, famfs::Error> {
                Mount::open(memory, [], &MountOptions::default(), &guest.claims)
            };
            refused("a mount while a file is open", open(guest.memory), Errno::EBUSY)?;
            drop(file);
            drop(open(guest.memory)?);
            guest.join()
        }
        _ => unknown(step),
    })
}
