//! Whether the host has found blocks for bytes, and converted them: what is only allocated counts as a hole.

use fuse_proto::ops::Whence;

use super::FileIo;
use super::open_file::OpenFile;
use crate::Lock;
use crate::rpc::space;

impl<R: Lock> FileIo<R> {
    /// Whether all bytes from `start` to `end` lie in blocks that were written, as far as the server tells. One look at the
    /// whole file lasts until its metadata changes.
    pub(super) fn is_written(&self, file: &OpenFile<R>, start: u64, end: u64) -> bool {
        let inode = &file.inode;
        if inode.is_written() {
            return true;
        }
        let seen = inode.epoch.seen();
        let hole = |from| space::lseek(self.rpc(), &file.handle, from, Whence::HOLE);
        match hole(0) {
            Ok(first) if first >= inode.size() => {
                inode.note_written(seen);
                true
            }
            Ok(first) if first >= end => true,
            Ok(_) => hole(start).is_ok_and(|first| first >= end),
            Err(_) => false,
        }
    }
}
