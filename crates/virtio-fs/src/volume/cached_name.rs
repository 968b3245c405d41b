//! A name in a directory, with its entry timeout.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::cmp::Ordering as Order;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use fuse_proto::NodeId;

/// See the module.
#[derive(Debug)]
pub(crate) struct CachedName {
    /// The directory.
    pub(crate) dir: NodeId,
    pub(crate) name: Box<[u8]>,
    /// `None`: there is no such name.
    pub(crate) nodeid: Option<NodeId>,
    pub(crate) valid_until: Duration,
    /// It was looked up since eviction came by.
    used: AtomicBool,
    /// Whether the cache counts it.
    counted: AtomicBool,
}

impl CachedName {
    /// A name that the cache counts, and that was not looked up yet.
    pub(crate) fn new(dir: NodeId, name: &[u8], nodeid: Option<NodeId>, valid_until: Duration) -> Self {
        let (used, counted) = (AtomicBool::new(false), AtomicBool::new(true));
        Self { dir, name: name.into(), nodeid, valid_until, used, counted }
    }

    /// It was looked up. Writes only once, so that hits of several processors share the cache line.
    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was looked up since eviction came by, which is now.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Ends its being counted; returns whether it was.
    pub(crate) fn stop_counting(&self) -> bool {
        self.counted.swap(false, Ordering::Relaxed)
    }
}

/// A name in a set by names.
#[derive(Debug)]
pub(crate) struct ByName(pub(crate) Arc<CachedName>);

impl Borrow<[u8]> for ByName {
    fn borrow(&self) -> &[u8] {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Order {
        self.0.name.cmp(&other.0.name)
    }
}
