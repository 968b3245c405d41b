//! A name in a directory, with its entry timeout.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use fuse_proto::NodeId;

use super::name_hash::name_hash;
use crate::nanos::nanos;

/// See the module.
#[derive(Debug)]
pub(crate) struct CachedName {
    /// The directory.
    pub(crate) dir: NodeId,
    pub(crate) name: Box<[u8]>,
    /// [`NodeId::NONE`]: there is no such name.
    node: NodeId,
    /// In nanoseconds of the platform's clock.
    valid_until: u64,
    /// It was looked up since eviction came by.
    used: AtomicBool,
    /// Whether the cache counts it.
    counted: AtomicBool,
}

impl CachedName {
    /// A name that the cache counts, and that was not looked up yet.
    pub(crate) fn new(dir: NodeId, name: &[u8], nodeid: Option<NodeId>, valid_until: Duration) -> Self {
        let (used, counted) = (AtomicBool::new(false), AtomicBool::new(true));
        let (node, valid_until) = (nodeid.unwrap_or(NodeId::NONE), nanos(valid_until));
        Self { dir, name: name.into(), node, valid_until, used, counted }
    }

    /// What its directory finds it by.
    pub(crate) fn hash(&self) -> u64 {
        name_hash(&self.name)
    }

    /// The inode that it names; `None`: there is no such name.
    #[inline]
    pub(crate) fn nodeid(&self) -> Option<NodeId> {
        Some(self.node).filter(|node| *node != NodeId::NONE)
    }

    /// Whether its timeout has not passed.
    pub(crate) fn is_valid(&self, now: Duration) -> bool {
        nanos(now) < self.valid_until
    }

    /// It was looked up. Writes only once, so that hits of several processors share the cache line.
    #[inline]
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
