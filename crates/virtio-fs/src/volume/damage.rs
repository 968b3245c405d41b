//! Marking pages of a file as damaged: what else that changes.

use fs_dax::FileRange;

use super::Volume;
use super::inode::Inode;
use super::mapped_bytes::Freeze;
use crate::Lock;

impl<R: Lock> Volume<R> {
    /// Marks the pages that `bytes` touch as damaged: they leave the page tables, and what was stored to them may be lost, of
    /// which each open file learns when it is synchronised next. With too many runs of them the whole file has failed.
    pub(crate) fn mark_damaged(&self, inode: &Inode<R>, bytes: FileRange) {
        if bytes.is_empty() {
            return;
        }
        if let Err(error) = inode.damage.mark(bytes) {
            log::warn!("virtio-fs: a file has failed: {error}");
            return self.mark_failed(inode);
        }
        inode.commits.lock().failed(fuse_proto::Errno::EIO);
        let pages = bytes.pages();
        let mapped = self.inodes.mapped();
        {
            // A fault that found the page whole does not install it.
            let _layout = inode.layout.change();
            mapped.unmap_failed(inode.key, pages);
        }
        // What takes the pages' place on the host is mapped anew.
        match mapped.freeze(inode.key, pages, Freeze::Cut) {
            Ok(frozen) => mapped.thaw(frozen),
            Err(error) => log::debug!("virtio-fs: damaged pages stay mapped for who is using them: {error}"),
        }
    }
}
