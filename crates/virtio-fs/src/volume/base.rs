//! The struct of this layer, and what every part of it needs: whether calls are served, the root, what is in view.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use fs_dax::{FailureState, FileRange};
use fuse_proto::{Attr, Entry, Errno, NodeId};
use lock_api::Mutex;

use super::ending::Ending;
use super::inode::Inode;
use super::inodes::{Inodes, Limits};
use super::late_change::LateChanges;
use super::mapped_bytes::MappedBytes;
use super::notifications::Notifications;
use crate::rpc::counters::Counter;
use crate::rpc::{Rpc, attributes as requests};
use crate::{Error, Lock};

/// What a volume counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) entry_hits: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) notifications: Counter,
}

/// See [`crate::volume`].
pub(crate) struct Volume<R: Lock> {
    pub(crate) rpc: Arc<Rpc<R>>,
    pub(crate) inodes: Inodes<R>,
    notifications: Notifications,
    pub(super) root: Mutex<R, Option<Arc<Inode<R>>>>,
    pub(super) ending: Ending,
    pub(super) late_changes: Box<LateChanges<R>>,
    /// Once failed, the whole file system stays so.
    failure: FailureState,
    /// Mapped views, pins and faults under way.
    pub(super) views: AtomicUsize,
    pub(crate) counters: Counters,
}

impl<R: Lock> Volume<R> {
    /// The volume of a session, without a root yet; `mapped` is who maps its files' bytes.
    pub(crate) fn new(rpc: Arc<Rpc<R>>, mapped: Option<Arc<dyn MappedBytes>>, limits: Limits) -> Self {
        Self {
            inodes: Inodes::new(rpc.clone(), mapped, limits),
            rpc,
            notifications: Notifications::default(),
            root: Mutex::new(None),
            ending: Ending::default(),
            late_changes: Box::new(LateChanges::new()),
            failure: FailureState::new(),
            views: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// Fetches the root's attributes and makes it the first inode.
    pub(crate) fn open_root(&self) -> Result<(), Error> {
        let mut fresh = (Attr::default(), Duration::ZERO);
        requests::getattr(&self.rpc, self.rpc.credentials(), NodeId::ROOT, None, &mut fresh)?;
        let (attr, attr_valid) = fresh;
        if !attr.is_dir() {
            return Err(Error::refused(Errno::ENOTDIR, "the root of the file system is no directory"));
        }
        let entry = Entry { node: NodeId::ROOT, generation: 0, entry_valid: Duration::MAX, attr_valid, attr };
        *self.root.lock() = Some(self.inodes.insert_root(&entry));
        Ok(())
    }

    /// Refuses work after the unmount.
    pub(crate) fn check_mounted(&self) -> Result<(), Error> {
        if self.ending.is_mounted() { Ok(()) } else { Err(Error::Unmounted) }
    }

    /// Refuses work on a file, or a file system, that was marked failed.
    pub(crate) fn check_alive(&self, inode: &Inode<R>) -> Result<(), Error> {
        match self.failure.failed().or_else(|| inode.failure.failed()) {
            None => Ok(()),
            Some(_) => Err(Error::refused(Errno::EIO, "marked as failed")),
        }
    }

    /// Whether calls are served and neither the file nor the file system was marked failed.
    #[inline]
    pub(crate) fn is_whole(&self, inode: &Inode<R>) -> bool {
        self.ending.is_mounted() && !self.failure.has_failed() && !inode.failure.has_failed()
    }

    /// Marks a file as failed, for good, and takes its pages out of page tables.
    pub(crate) fn mark_failed(&self, inode: &Inode<R>) {
        inode.failure.fail(fs_dax::Errno::EIO);
        self.unmap_failed(inode);
    }

    /// Marks the whole file system as failed, for good.
    pub(crate) fn mark_all_failed(&self) {
        self.failure.fail(fs_dax::Errno::EIO);
        self.inodes.all().iter().for_each(|inode| self.unmap_failed(inode));
    }

    pub(super) fn unmap_failed(&self, inode: &Inode<R>) {
        let _layout = inode.layout.change();
        self.inodes.mapped().unmap_failed(inode.key, FileRange::ALL);
    }

    /// The root directory.
    pub(crate) fn root(&self) -> Result<Arc<Inode<R>>, Error> {
        self.root.lock().clone().ok_or(Error::Unmounted)
    }

    /// Notes a view of bytes, a pin, or a fault under way, which an unmount must not pull the memory from.
    pub(crate) fn begin_view(&self) {
        self.views.fetch_add(1, Ordering::AcqRel);
    }

    /// The end of what [`Volume::begin_view`] noted.
    pub(crate) fn end_view(&self) {
        self.views.fetch_sub(1, Ordering::AcqRel);
    }

    /// Acts upon what has come through the notification queue. Returns how many messages.
    pub(crate) fn take_notifications(&self) -> usize {
        let count = self.notifications.take(self.rpc.connection(), &self.inodes);
        if count > 0 {
            self.counters.notifications.add(count as u64);
        }
        count
    }
}
