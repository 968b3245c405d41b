//! Making stores durable.

use fs_dax::FileRange;
use fuse_proto::Errno;

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::space;
use crate::volume::dirty_pages::Taken;
use crate::volume::inode::Inode;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Makes the stores to some bytes of a file durable.
    ///
    /// The order matters: dirty pages are taken, then write-protected, so that a store after that is a fault that makes its
    /// page dirty again; then FSYNC; then what was taken is clean, or dirty again if FSYNC failed.
    pub(crate) fn sync(&self, file: &OpenFile<R>, bytes: FileRange, data_only: bool) -> Result<(), Error> {
        self.volume.check_mounted()?;
        let inode = &file.inode;
        self.volume.check_alive(inode)?;
        let mut from = Some(bytes.start());
        while let Some(start) = from {
            let taken = self.take_dirty_pages(inode, bytes)?;
            let ranges = self
                .window()
                .map(|window| window.begin_writeback(inode.key, FileRange::between(start, bytes.end())))
                .transpose();
            if let Some(window) = self.window() {
                window.write_protect(inode.key, &taken.runs);
            }
            let epoch = inode.epoch.seen();
            let result = ranges.and_then(|ranges| {
                let answered = space::fsync(self.rpc(), &file.handle, data_only);
                from = ranges.as_ref().and_then(|ranges| ranges.rest());
                if let (Some(window), Some(ranges)) = (self.window(), ranges) {
                    window.end_writeback(ranges, answered.is_ok());
                }
                answered
            });
            let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);
            inode.dirty_pages.lock().finish(taken.writeback.write_protected().flushed(), reply);
            if result? && from.is_none() {
                inode.epoch.synced(epoch);
            }
        }
        Ok(())
    }

    /// Takes the dirty pages of a file for write-back, waiting for another write-back to end.
    fn take_dirty_pages(&self, inode: &Inode<R>, bytes: FileRange) -> Result<Taken, Error> {
        let taken = self.rpc().wait_for(self.deadline(), || inode.dirty_pages.lock().begin(bytes));
        taken.ok_or(Error::refused(Errno::EBUSY, "a write-back did not end before the deadline"))
    }
}
