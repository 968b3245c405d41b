//! Record locks, for servers that keep them.

use fuse_proto::ops::LockKind;
use fuser::{Errno, FileHandle, ReplyEmpty};
use virtio_fs::LockRange;

use super::answer::{self, Found};
use super::state::State;
use crate::convert;

fn range(start: u64, end: u64, kind: i32) -> LockRange {
    LockRange { start, last: end.min(LockRange::END), shared: kind == libc::F_RDLCK }
}

impl State {
    pub(super) fn test_lock(&self, handle: FileHandle, start: u64, end: u64, kind: i32) -> Result<Found, Errno> {
        let found =
            self.file(handle)?.file.test_lock(range(start, end, kind)).map_err(|error| convert::errno(&error))?;
        Ok(match found {
            None => Found { start, end, kind: libc::F_UNLCK, pid: 0 },
            Some(lock) => {
                let kind = if lock.kind == LockKind::Read { libc::F_RDLCK } else { libc::F_WRLCK };
                Found { start: lock.start, end: lock.end, kind, pid: lock.pid }
            }
        })
    }

    /// Takes a lock or gives it back. Who has to wait does so on a thread of its own: the others go on.
    pub(super) fn set_lock(&self, handle: FileHandle, start: u64, end: u64, kind: i32, sleep: bool, reply: ReplyEmpty) {
        let open = match self.file(handle) {
            Ok(open) => open,
            Err(error) => return reply.error(error),
        };
        let range = range(start, end, kind);
        let result = |result: Result<(), crate::driver::Error>| result.map_err(|error| convert::errno(&error));
        if kind == libc::F_UNLCK {
            return answer::empty(reply, result(open.file.unlock(range)));
        }
        if !sleep {
            return answer::empty(reply, result(open.file.try_lock(range)));
        }
        let wait = move || answer::empty(reply, result(open.file.lock(range)));
        if let Err(error) = std::thread::Builder::new().name("lock".into()).spawn(wait) {
            // The answer went with the thread that was not made: the kernel gets an error of `fuser`'s.
            log::error!("no thread to wait for a lock: {error}");
        }
    }
}
