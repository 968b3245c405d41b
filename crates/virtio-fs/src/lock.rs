//! Locks on open files, and commands to them.

use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::ops::{FileLock, Getlk, Ioctl, IoctlReply, LockKind, Setlk, Setlkw};
use fuse_proto::{Errno, IoctlFlags, LockFlags, LockOwner};
use lock_api::RawMutex;

use crate::{Error, File};

/// The most bytes that a command may answer with: no more can be encoded in it (14 bits).
const IOCTL_MAX: usize = 16 << 10;
/// Bytes of the answer before those (`fuse_ioctl_out`).
const IOCTL_HEAD: usize = 16;

/// Which lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockRange {
    /// The first byte.
    pub start: u64,
    /// The last byte; [`LockRange::END`] for the end of the file, wherever it is.
    pub last: u64,
    /// Whether others may hold it too.
    pub shared: bool,
}

impl LockRange {
    /// The largest offset that there is.
    pub const END: u64 = i64::MAX as u64;

    /// All of a file, for one holder.
    pub const EXCLUSIVE: Self = Self { start: 0, last: Self::END, shared: false };

    /// All of a file, for many holders.
    pub const SHARED: Self = Self { shared: true, ..Self::EXCLUSIVE };

    fn lock(self, pid: u32) -> FileLock {
        let kind = if self.shared { LockKind::Read } else { LockKind::Write };
        FileLock { start: self.start, end: self.last, kind, pid }
    }
}

impl<R: RawMutex + Send + Sync + 'static> File<R> {
    /// Every open file is a lock owner of its own.
    fn owner(&self) -> LockOwner {
        LockOwner(self.lock_owner)
    }

    /// Takes a record lock if nobody else has one that conflicts: SETLK.
    ///
    /// # Errors
    ///
    /// EAGAIN if somebody has; EOPNOTSUPP if the server keeps no locks.
    pub fn try_lock(&self, range: LockRange) -> Result<(), Error> {
        self.set_lock(range.lock(self.who.pid))
    }

    /// Gives record locks back.
    ///
    /// # Errors
    ///
    /// As any request; EOPNOTSUPP if the server keeps no locks.
    pub fn unlock(&self, range: LockRange) -> Result<(), Error> {
        self.set_lock(FileLock { kind: LockKind::Unlock, ..range.lock(self.who.pid) })
    }

    fn set_lock(&self, lock: FileLock) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let (node, fh) = (self.inode.nodeid, self.fh.unwrap_or_default());
        let op = Setlk { node, fh, owner: self.owner(), lock, flags: LockFlags::empty() };
        self.shared.call_known(self.who, &op, &mut [], drop)
    }

    /// Takes a record lock, waiting on the host as long as somebody else has one that conflicts: SETLKW. Gives up at the
    /// deadline of requests; the host may still grant the lock then, until the file is closed.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; EDEADLK; EOPNOTSUPP if the server keeps no locks.
    pub fn lock(&self, range: LockRange) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let (node, fh) = (self.inode.nodeid, self.fh.unwrap_or_default());
        let lock = range.lock(self.who.pid);
        let op = Setlkw { node, fh, owner: self.owner(), lock, flags: LockFlags::empty() };
        self.shared.call_known(self.who, &op, &mut [], drop)
    }

    /// Who would stand in the way of a lock: GETLK. `None`: nobody.
    ///
    /// # Errors
    ///
    /// As any request; EOPNOTSUPP if the server keeps no locks.
    pub fn test_lock(&self, range: LockRange) -> Result<Option<FileLock>, Error> {
        self.shared.check_mounted()?;
        let (node, fh) = (self.inode.nodeid, self.fh.unwrap_or_default());
        let lock = range.lock(self.who.pid);
        let op = Getlk { node, fh, owner: self.owner(), lock, flags: LockFlags::empty() };
        let found = self.shared.call_known(self.who, &op, &mut [], |found| found)?;
        Ok((found.kind != LockKind::Unlock).then_some(found))
    }

    /// Passes a command to the file on the host: IOCTL, with its size and direction encoded in `command` as Linux does.
    /// Returns the command's result and what it wrote.
    ///
    /// # Errors
    ///
    /// ENOTTY for commands that the file does not know; EOPNOTSUPP if the server passes none on; ENOBUFS for more than a
    /// kilobyte of data where there is no second data buffer for the answer ([`crate::Config::data_buffers`]); EIO if the
    /// server asks for more memory than that of the command, which only an unrestricted one may.
    pub fn ioctl(&self, command: u32, argument: u64, data: &[u8]) -> Result<(i32, Vec<u8>), Error> {
        self.shared.check_mounted()?;
        let room = (IOCTL_HEAD + IOCTL_MAX).min(self.shared.connection.data_buffer_size());
        let op = Ioctl {
            node: self.inode.nodeid,
            fh: self.fh.unwrap_or_default(),
            flags: IoctlFlags::empty(),
            cmd: command,
            arg: argument,
            data,
            out_size: (room - IOCTL_HEAD) as u32,
        };
        let mut buffer = vec![0; room];
        self.shared.call_known(self.who, &op, &mut buffer, |reply| match reply {
            IoctlReply::Done { result, data, .. } => Ok((result, data.to_vec())),
            IoctlReply::Retry { .. } => {
                Err(Error::refused(Errno::EIO, "the server asks for memory that it was not offered"))
            }
        })?
    }
}
