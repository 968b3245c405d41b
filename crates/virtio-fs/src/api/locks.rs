//! Locks on open files, and commands to them.

use alloc::vec::Vec;

use fuse_proto::ops::{FileLock, LockKind};

use crate::rpc::locks;
use crate::{Error, File, Lock};

/// The bytes of a record lock, and whether it is shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockRange {
    /// The first byte.
    pub start: u64,
    /// The last byte; [`LockRange::END`] for the end of the file, wherever it is.
    pub last: u64,
    /// Whether others may hold it at the same time.
    pub shared: bool,
}

impl LockRange {
    /// The largest offset that there is.
    pub const END: u64 = i64::MAX as u64;

    /// All of a file, for one owner.
    pub const EXCLUSIVE: Self = Self { start: 0, last: Self::END, shared: false };

    /// All of a file, for many owners.
    pub const SHARED: Self = Self { shared: true, ..Self::EXCLUSIVE };

    fn with_owner(self, pid: u32) -> FileLock {
        let kind = if self.shared { LockKind::Read } else { LockKind::Write };
        FileLock { start: self.start, end: self.last, kind, pid }
    }
}

impl<R: Lock> File<R> {
    /// Takes a record lock if nobody else has one that conflicts: SETLK. Every open file is a lock owner of its own.
    ///
    /// # Errors
    ///
    /// EAGAIN if somebody has; EOPNOTSUPP if the server keeps no locks.
    pub fn try_lock(&self, range: LockRange) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.open.note_locks();
        locks::set(self.mounted.rpc(), &self.open.handle, self.own(range))
    }

    /// Gives record locks back.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the server keeps no locks.
    pub fn unlock(&self, range: LockRange) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let lock = FileLock { kind: LockKind::Unlock, ..self.own(range) };
        locks::set(self.mounted.rpc(), &self.open.handle, lock)
    }

    /// Takes a record lock, waiting on the host as long as somebody else has one that conflicts: SETLKW. Gives up at the
    /// deadline of requests; the host may still grant the lock then, until the file is closed.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; EDEADLK; EOPNOTSUPP if the server keeps no locks.
    pub fn lock(&self, range: LockRange) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.open.note_locks();
        locks::set_waiting(self.mounted.rpc(), &self.open.handle, self.own(range))
    }

    /// Returns the lock that stands in the way of one, if there is any: GETLK.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the server keeps no locks.
    pub fn test_lock(&self, range: LockRange) -> Result<Option<FileLock>, Error> {
        let _call = self.mounted.check()?;
        locks::test(self.mounted.rpc(), &self.open.handle, self.own(range))
    }

    fn own(&self, range: LockRange) -> FileLock {
        range.with_owner(self.open.handle.who.pid)
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
        let _call = self.mounted.check()?;
        locks::ioctl(self.mounted.rpc(), &self.open.handle, command, argument, data)
    }
}
