//! The end of a volume.

use core::sync::atomic::Ordering;

use fs_dax::FileKey;

use super::Volume;
use crate::rpc::session;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Ends the session if nothing is in use; if something is, nothing has happened.
    pub(crate) fn unmount(&self) -> Result<(), Error> {
        self.check_mounted()?;
        self.end()
    }

    /// Refuses all calls from now on, takes all pages out of page tables, and ends the session if nothing is in use; if
    /// something is, it is ended with the last handle.
    pub(crate) fn detach(&self) -> Result<(), Error> {
        self.ending.detach()?;
        self.inodes.all().iter().for_each(|inode| self.unmap_failed(inode));
        self.end()
    }

    /// Ends the session, mounted or detached: nothing is taken from anybody before it is certain that nothing is in use.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let _trying = self.ending.try_to_end()?;
        let _call = self.rpc.connection().begin_call();
        let maps = self.views.load(Ordering::Acquire);
        if maps > 0 {
            return Err(Error::Busy { maps });
        }
        let files: alloc::vec::Vec<FileKey> = self.inodes.all().iter().map(|inode| inode.key).collect();
        self.inodes.mapped().shut_down(&files)?;
        self.ending.ended();
        self.end_session()
    }

    /// Waits for requests in flight, gives all inodes back, sends DESTROY and resets the device. Nothing is mapped any more.
    fn end_session(&self) -> Result<(), Error> {
        let connection = self.rpc.connection();
        if !connection.is_dead() {
            // Orphaned replies are answers to requests about inodes that are not forgotten yet.
            connection.quiesce();
            self.settle_orphans();
        }
        // No answer that changes a size comes any more, and nothing is mapped.
        self.late_changes.clear();
        let root = self.root.lock().take();
        let inodes = self.inodes.drain();
        for (inode, owed) in &inodes {
            self.inodes.forgets().owe(inode.nodeid, *owed);
        }
        drop((root, inodes));
        self.inodes.forgets().flush_patiently();
        let destroyed = if connection.is_dead() {
            Err(Error::Dead)
        } else {
            connection.close();
            connection.quiesce();
            session::destroy(&self.rpc)
        };
        connection.stop();
        match destroyed {
            Err(Error::Dead) => Err(Error::Dead),
            // It has ended, whatever the server says to that.
            Err(error) => {
                log::warn!("virtio-fs: DESTROY: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
