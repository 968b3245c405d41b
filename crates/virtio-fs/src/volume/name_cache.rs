//! The cache of names, as far as the server vouches for them. Each directory keeps its own; here they are counted.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use fuse_proto::NodeId;

use super::inode::Inode;
use crate::Lock;

/// Bounds how many names all directories together keep.
pub(crate) struct NameCache {
    names: AtomicUsize,
    max: usize,
}

impl NameCache {
    /// A cache of at most `max` names.
    pub(crate) fn new(max: usize) -> Self {
        Self { names: AtomicUsize::new(0), max }
    }

    /// Keeps a name of a directory until the clock reads `until`; `None`: there is no such name.
    pub(crate) fn keep<R: Lock>(&self, parent: &Inode<R>, name: &[u8], nodeid: Option<NodeId>, until: Duration) {
        if self.names.load(Ordering::Relaxed) >= self.max {
            // Full: this directory's names make room, which bounds the cache and needs no list of all names.
            let dropped = parent.forget_names();
            self.names.fetch_sub(dropped, Ordering::Relaxed);
            if dropped == 0 {
                return;
            }
        }
        if parent.cache_name(name, nodeid, until) {
            self.names.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets a name of a directory.
    pub(crate) fn forget<R: Lock>(&self, parent: &Inode<R>, name: &[u8]) {
        if parent.forget_name(name) {
            self.names.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets all names of a directory.
    pub(crate) fn forget_all<R: Lock>(&self, parent: &Inode<R>) {
        let dropped = parent.forget_names();
        self.names.fetch_sub(dropped, Ordering::Relaxed);
    }
}
