//! QEMU's side of the daemon's own requests, with its rules: what it refuses, and what it does not survive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::message::{VhostUserMMap, VhostUserSharedMsg};
use vhost::vhost_user::{HandlerResult, VhostUserFrontendReqHandler};

/// The host's page, in bytes.
const PAGE: u64 = 4096;

/// What the daemon asked of its front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Window offset, length, inode number of the file, offset in it.
    Map(u64, u64, u64, u64),
    /// Window offset, length.
    Unmap(u64, u64),
    /// With the size that a watched file had then.
    Barrier(Option<u64>),
}

#[derive(Debug)]
struct Mapping {
    len: u64,
    file: File,
    file_offset: u64,
}

/// The window as QEMU keeps it, and what was asked of it.
#[derive(Debug, Default)]
pub struct Qemu {
    /// What was asked, in order, since somebody took it; at most [`KEPT`].
    pub asked: Vec<Asked>,
    /// Whether every mapping is refused.
    pub refuse_maps: bool,
    /// A file; every barrier looks at its size.
    pub watched: Option<PathBuf>,
    /// Size of the window in bytes, once it was asked for.
    pub window: u64,
    /// Whether the device runs.
    pub running: bool,
    /// What QEMU refuses or does not survive, in words.
    pub violations: Vec<String>,
    mappings: BTreeMap<u64, Mapping>,
}

/// Most requests that are kept for somebody to look at.
pub const KEPT: usize = 10_000;

impl Qemu {
    fn note(&mut self, asked: Asked) {
        if self.asked.len() < KEPT {
            self.asked.push(asked);
        }
    }

    fn violated(&mut self, what: String) -> io::Error {
        self.violations.push(what);
        io::Error::from_raw_os_error(libc::EINVAL)
    }

    fn map(&mut self, request: &VhostUserMMap, fd: i32) -> HandlerResult<u64> {
        let &VhostUserMMap { shmid, fd_offset, shm_offset, len, flags, .. } = request;
        let path = format!("/proc/self/fd/{fd}");
        let metadata = Path::new(&path).metadata()?;
        self.note(Asked::Map(shm_offset, len, metadata.ino(), fd_offset));
        let asked = format!("MAP of {len:#x} bytes at {shm_offset:#x} from {fd_offset:#x}");
        if !self.running {
            return Err(self.violated(format!("{asked} while the device does not run")));
        }
        if (shmid, flags) != (0, 1) || !metadata.is_file() || !is_writable(fd) {
            return Err(self.violated(format!("{asked} with shmid {shmid}, flags {flags} and a file that is unfit")));
        }
        let end = shm_offset.checked_add(len).filter(|&end| len > 0 && end <= self.window);
        let Some(end) = end else { return Err(self.violated(format!("{asked} outside the window"))) };
        if self.mappings.range(..end).next_back().is_some_and(|(at, mapping)| at + mapping.len > shm_offset) {
            return Err(self.violated(format!("{asked} overlaps")));
        }
        if metadata.len() == 0 {
            return Err(self.violated(format!("{asked} of an empty file, which would be enlarged")));
        }
        if fd_offset % PAGE != 0 || fd_offset.checked_add(len).is_none_or(|end| end > metadata.len()) {
            return Err(self.violated(format!("{asked} of a file of {:#x} bytes", metadata.len())));
        }
        if self.refuse_maps {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        self.mappings.insert(shm_offset, Mapping { len, file: File::open(path)?, file_offset: fd_offset });
        Ok(0)
    }

    fn unmap(&mut self, request: &VhostUserMMap) -> HandlerResult<u64> {
        let &VhostUserMMap { shm_offset, len, .. } = request;
        self.note(Asked::Unmap(shm_offset, len));
        let asked = format!("UNMAP of {len:#x} bytes at {shm_offset:#x}");
        if !self.running {
            return Err(self.violated(format!("{asked} while the device does not run")));
        }
        match self.mappings.remove(&shm_offset) {
            Some(mapping) if mapping.len == len => Ok(0),
            Some(mapping) => {
                let real = mapping.len;
                self.mappings.insert(shm_offset, mapping);
                Err(self.violated(format!("{asked} of a mapping of {real:#x} bytes")))
            }
            // After a reset nothing is there.
            None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// The guest resets the device: everything is unmapped.
    pub fn reset(&mut self) {
        self.running = false;
        self.mappings.clear();
    }

    /// How many mappings there are.
    pub fn live(&self) -> usize {
        self.mappings.len()
    }

    /// Notes mapped pages that lie past the end of their file: a touch of one is the end of QEMU. Good only while no
    /// request is in flight.
    pub fn check_ends(&mut self) {
        let past = self.mappings.iter().find_map(|(at, mapping)| {
            let size = mapping.file.metadata().ok()?.len();
            let end = mapping.file_offset + mapping.len;
            (end > size.next_multiple_of(PAGE)).then(|| format!("mapped at {at:#x} to {end:#x} of {size:#x} bytes"))
        });
        if let Some(past) = past {
            self.violations.push(format!("a touch would be SIGBUS: {past}"));
        }
    }
}

/// Whether a descriptor is open for writing, by its flags, which the host shows in octal.
fn is_writable(fd: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDWR)
}

/// The channel by which the daemon asks.
#[derive(Debug)]
pub(crate) struct Channel(pub(crate) Arc<Mutex<Qemu>>);

impl Channel {
    fn qemu(&self) -> MutexGuard<'_, Qemu> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VhostUserFrontendReqHandler for Channel {
    fn shared_object_remove(&self, _uuid: &VhostUserSharedMsg) -> HandlerResult<u64> {
        let mut qemu = self.qemu();
        let size = qemu.watched.as_ref().and_then(|path| Some(path.metadata().ok()?.len()));
        qemu.note(Asked::Barrier(size));
        if !qemu.running {
            qemu.violations.push("a barrier while the device does not run".to_owned());
        }
        // As QEMU answers for an object that it does not know.
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }

    fn shmem_map(&self, request: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        self.qemu().map(request, fd.as_raw_fd())
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        self.qemu().unmap(request)
    }
}
