//! What happens when the last handle to a file goes that has no name any more: the host can free it only when the driver has
//! let go of it too.

use alloc::sync::Arc;

use fuse_proto::NodeId;
use lock_api::RawMutex;

use crate::inode::Inode;
use crate::shared::Shared;

/// The last field of a handle, so that the handle's own reference to the inode is gone when this is dropped.
pub(crate) struct UnlinkedGuard<R: RawMutex + Send + Sync + 'static> {
    shared: Arc<Shared<R>>,
    nodeid: NodeId,
    gone: bool,
}

impl<R: RawMutex + Send + Sync + 'static> UnlinkedGuard<R> {
    pub(crate) fn new(shared: &Arc<Shared<R>>, inode: &Inode<R>) -> Self {
        Self { shared: shared.clone(), nodeid: inode.nodeid, gone: false }
    }

    /// To be told when the handle is dropped.
    pub(crate) fn from(&mut self, inode: &Inode<R>) {
        self.gone = inode.is_gone();
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for UnlinkedGuard<R> {
    fn drop(&mut self) {
        if !self.gone || self.shared.check_mounted().is_err() {
            return;
        }
        let inode = self.shared.inodes.lock().get(self.nodeid);
        if let Some(inode) = inode.filter(|inode| inode.is_gone()) {
            self.shared.drop_if_unused(inode);
        }
    }
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// A name of this inode was removed: lets it go if that was the last one and nobody holds it; otherwise finds out
    /// whether whoever lets go of it last has to.
    pub(crate) fn lost_name(&self, who: crate::Credentials, inode: Arc<Inode<R>>) {
        inode.expire_attr();
        let Some(inode) = self.keep_if_used(inode) else { return };
        match self.refresh_attr(who, &inode, None) {
            Ok(_) => {}
            // A server that knows files by their names only.
            Err(error) if matches!(error.errno(), fuse_proto::Errno::ENOENT | fuse_proto::Errno::ESTALE) => {
                inode.note_gone();
            }
            Err(error) => log::debug!("virtio-fs: whether a file has another name: {error}"),
        }
    }
}
