//! The end of a volume.

use core::sync::atomic::Ordering;

use super::Volume;
use crate::rpc::session;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Ends the session: waits for requests in flight, removes all mappings, gives all inodes back, sends DESTROY and resets
    /// the device.
    pub(crate) fn unmount(&self) -> Result<(), Error> {
        let maps = self.views.load(Ordering::Acquire);
        if maps > 0 {
            return Err(Error::Busy { maps });
        }
        if self.unmounted.swap(true, Ordering::AcqRel) {
            return Err(Error::Unmounted);
        }
        let drained = self.inodes.mapped().shut_down();
        let connection = self.rpc.connection();
        if !connection.is_dead() {
            // Orphaned replies are answers to requests about inodes that are not forgotten yet.
            connection.quiesce();
            self.settle_orphans();
        }
        let root = self.root.lock().take();
        let inodes = self.inodes.drain();
        for (inode, owed) in &inodes {
            self.inodes.forgets().owe(inode.nodeid, *owed);
        }
        drop((root, inodes));
        self.inodes.forgets().flush();
        let destroyed = if connection.is_dead() {
            Err(Error::Dead)
        } else {
            connection.quiesce();
            session::destroy(&self.rpc)
        };
        connection.stop();
        drained.and(destroyed)
    }
}
