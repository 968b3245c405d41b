//! The end of a volume.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use fs_dax::FileKey;
use fuse_proto::Errno;

use super::Volume;
use crate::rpc::session;
use crate::{Error, Lock};

/// How far a volume is from its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    phase: AtomicU8,
    /// Somebody tries to end the session at this moment.
    trying: AtomicBool,
}

/// Refuses work; the session lives on for what is still mapped.
const DETACHED: u8 = 1;
/// There is no session any more.
const ENDED: u8 = 2;

/// One who tries to end the session, until this is dropped.
struct Trying<'a>(&'a AtomicBool);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Ending {
    /// Whether calls are served.
    pub(super) fn is_mounted(&self) -> bool {
        self.phase.load(Ordering::Acquire) == 0
    }

    fn try_to_end(&self) -> Result<Trying<'_>, Error> {
        if self.phase.load(Ordering::Acquire) == ENDED {
            return Err(Error::Unmounted);
        }
        if self.trying.swap(true, Ordering::AcqRel) {
            return Err(Error::refused(Errno::EBUSY, "the file system is being unmounted"));
        }
        Ok(Trying(&self.trying))
    }
}

impl<R: Lock> Volume<R> {
    /// Ends the session if nothing is in use; if something is, nothing has happened.
    pub(crate) fn unmount(&self) -> Result<(), Error> {
        self.check_mounted()?;
        self.end()
    }

    /// Refuses all calls from now on, takes all pages out of page tables, and ends the session if nothing is in use; if
    /// something is, it is ended with the last handle.
    pub(crate) fn detach(&self) -> Result<(), Error> {
        let before = self.ending.phase.compare_exchange(0, DETACHED, Ordering::AcqRel, Ordering::Acquire);
        before.map_err(|_| Error::Unmounted)?;
        self.inodes.all().iter().for_each(|inode| self.unmap_failed(inode));
        self.end()
    }

    /// Ends the session, mounted or detached: nothing is taken from anybody before it is certain that nothing is in use.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let _trying = self.ending.try_to_end()?;
        let maps = self.views.load(Ordering::Acquire);
        if maps > 0 {
            return Err(Error::Busy { maps });
        }
        let files: alloc::vec::Vec<FileKey> = self.inodes.all().iter().map(|inode| inode.key).collect();
        self.inodes.mapped().shut_down(&files)?;
        self.ending.phase.store(ENDED, Ordering::Release);
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
        self.drop_late_changes();
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
