//! Frees unlinked inodes on last close: the host frees a file without a name only when the driver has given its look-ups back.

use alloc::sync::Arc;

use fuse_proto::{Errno, NodeId};

use super::Volume;
use super::inode::Inode;
use crate::rpc::credentials::Credentials;
use crate::{Error, Lock};

/// Stands in a handle after the handle's own reference to the inode, so that this reference is gone when the guard is dropped.
pub(crate) struct UnlinkedGuard<R: Lock> {
    volume: Arc<Volume<R>>,
    nodeid: NodeId,
    unlinked: bool,
}

impl<R: Lock> UnlinkedGuard<R> {
    /// The guard of a handle to `inode`.
    pub(crate) fn new(volume: &Arc<Volume<R>>, inode: &Inode<R>) -> Self {
        Self { volume: volume.clone(), nodeid: inode.nodeid, unlinked: false }
    }

    /// The handle is being dropped.
    pub(crate) fn closing(&mut self, inode: &Inode<R>) {
        self.unlinked = inode.is_unlinked();
    }
}

impl<R: Lock> Drop for UnlinkedGuard<R> {
    fn drop(&mut self) {
        if !self.unlinked || self.volume.check_mounted().is_err() {
            return;
        }
        let inodes = &self.volume.inodes;
        if let Some(inode) = inodes.get(self.nodeid).filter(|inode| inode.is_unlinked()) {
            inodes.drop_unless_used(inode);
        }
    }
}

impl<R: Lock> Volume<R> {
    /// A name of this inode was removed: lets it go if that was the last one and nobody holds it; otherwise finds out
    /// whether the last one to close it has to.
    pub(crate) fn lost_name(&self, who: Credentials, inode: Arc<Inode<R>>) {
        inode.expire_attr();
        let Some(inode) = self.inodes.drop_unless_used(inode) else { return };
        match self.refresh_attr(who, &inode, None) {
            Ok(_) => {}
            // A server that knows files by their names only.
            Err(error) if names_a_missing_file(&error) => inode.note_unlinked(),
            Err(error) => log::debug!("virtio-fs: whether a file has another name: {error}"),
        }
    }
}

fn names_a_missing_file(error: &Error) -> bool {
    matches!(error.errno(), Errno::ENOENT | Errno::ESTALE)
}
