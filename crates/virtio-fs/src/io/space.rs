//! Room of files on the host, and copies there.

use fuse_proto::FallocateMode;

use super::FileIo;
use super::open_file::OpenFile;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Allocates, punches, zeroes, collapses or inserts bytes.
    pub(crate) fn allocate(&self, file: &OpenFile<R>, mode: FallocateMode, offset: u64, len: u64) -> Result<(), Error> {
        let moved = self.volume.allocate(&file.inode, &file.handle, mode, offset, len)?;
        if moved || file.inode.has_holes() {
            // Where the holes are now, the server knows.
            self.volume.refresh_attr(file.handle.who, &file.inode, file.handle.fh)?;
        }
        Ok(())
    }

    /// Copies bytes between two files on the host; returns how many.
    pub(crate) fn copy_range(
        &self,
        (from, offset): (&OpenFile<R>, u64),
        (to, to_offset): (&OpenFile<R>, u64),
        len: u64,
    ) -> Result<u64, Error> {
        self.volume.check_alive(&from.inode)?;
        self.volume.check_alive(&to.inode)?;
        let len = self.undamaged(&from.inode, offset, usize::try_from(len).unwrap_or(usize::MAX))?;
        let len = self.past_damage(&to.inode, to_offset, len)?.0 as u64;
        self.volume.clear_set_id(to.handle.who, &to.inode)?;
        let destination = (&*to.inode, &to.handle, to_offset);
        self.volume.copy_range((&from.inode, &from.handle, offset), destination, len)
    }
}
