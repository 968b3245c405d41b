//! Having the host set room aside before stores that could not be refused.

use fs_dax::{MetadataChange, PAGE_SIZE};
use fuse_proto::FallocateMode;

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::space;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Has the host set room aside for stores into these bytes, which are inside the file.
    pub(super) fn preallocate(&self, file: &OpenFile<R>, offset: u64, len: u64) -> Result<(), Error> {
        let inode = &file.inode;
        let _change = inode.epoch.change(MetadataChange::Allocate);
        let start = offset & !(PAGE_SIZE - 1);
        let end = offset.saturating_add(len).next_multiple_of(PAGE_SIZE).min(inode.size());
        let len = end.saturating_sub(start).max(1);
        space::fallocate(self.rpc(), &file.handle, FallocateMode::KEEP_SIZE, start, len)?;
        inode.expire_attr();
        Ok(())
    }
}
