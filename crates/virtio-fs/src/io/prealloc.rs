//! Having the host set room aside before stores that could not be refused.

use core::time::Duration;

use fs_dax::{MetadataChange, PAGE_SIZE};
use fuse_proto::ops::Whence;
use fuse_proto::{Errno, FallocateMode};

use super::open_file::OpenFile;
use super::{FileIo, HoleStores};
use crate::rpc::space;
use crate::volume::inode::Inode;
use crate::volume::inode::REFRESH;
use crate::volume::room::HolesSeen;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Has the host set room aside for stores into these bytes, which are inside the file.
    pub(super) fn preallocate(&self, file: &OpenFile<R>, offset: u64, len: u64) -> Result<(), Error> {
        let inode = &file.inode;
        let _change = inode.epoch.change(MetadataChange::Allocate);
        let start = offset & !(PAGE_SIZE - 1);
        let end = offset.saturating_add(len).next_multiple_of(PAGE_SIZE).min(inode.size());
        let len = end.saturating_sub(start).max(1);
        space::fallocate(self.rpc(), &file.handle, FallocateMode::KEEP_SIZE, start, len).map_err(say_how)?;
        inode.room.filled(start, start + len);
        inode.expire_attr();
        Ok(())
    }

    /// Whether stores to the bytes up to `end` have to ask the host for room first. The server may be asked for holes.
    pub(super) fn needs_prealloc(&self, file: &OpenFile<R>, end: u64) -> bool {
        if !self.may_lack_room(&file.inode, end) {
            return false;
        }
        if !self.may_look(file) {
            return true;
        }
        let look = Look::begin(&file.inode);
        let found = space::lseek(self.rpc(), &file.handle, look.from, Whence::HOLE);
        look.end(&file.inode, found, self.rpc().now());
        self.may_lack_room(&file.inode, end)
    }

    /// Whether the server may be asked for holes: the number of blocks does not say that there are some, and it was not asked
    /// lately.
    pub(super) fn may_look(&self, file: &OpenFile<R>) -> bool {
        !file.inode.has_holes() && file.inode.room.may_look(self.rpc().now())
    }

    /// Whether it is not known that there is room for stores to the bytes up to `end`.
    pub(super) fn may_lack_room(&self, inode: &Inode<R>, end: u64) -> bool {
        self.settings.holes == HoleStores::AskHost && (inode.has_holes() || inode.room.end() < end.min(inode.size()))
    }
}

/// A host without FALLOCATE has no way to set room aside before a store.
fn say_how(error: Error) -> Error {
    if error.errno() == Errno::EOPNOTSUPP { NO_FALLOCATE } else { error }
}

const NO_FALLOCATE: Error =
    Error::refused(Errno::EOPNOTSUPP, "the host has no FALLOCATE: write to the hole first, or trust it (HoleStores)");

/// A look for the first hole of a file.
pub(super) struct Look {
    seen: HolesSeen,
    /// Where to look from.
    pub(super) from: u64,
}

impl Look {
    /// Begins a look, before the server is asked.
    pub(super) fn begin<R: Lock>(inode: &Inode<R>) -> Self {
        Self { seen: inode.room.seen(), from: inode.room.end() }
    }

    /// Ends it with the server's answer. Without a statement in it, the number of blocks decides.
    pub(super) fn end<R: Lock>(self, inode: &Inode<R>, found: Result<u64, Error>, now: Duration) {
        let first = found.map_or(inode.size(), |first| first.min(inode.size()));
        inode.room.found(self.seen, first, now.saturating_add(REFRESH));
    }
}
