//! How many pages were installed, by their size.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Page, PageSize};

/// Counts page-table entries by the size that was *installed*, which can be smaller than what was found. For any file
/// system; the embedder, who installs, counts.
#[derive(Debug, Default)]
pub struct FaultCounters {
    base: AtomicUsize,
    huge: AtomicUsize,
    writable: AtomicUsize,
}

/// What [`FaultCounters`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Base pages.
    pub base: usize,
    /// Huge pages.
    pub huge: usize,
    /// Those of both that permit stores.
    pub writable: usize,
}

impl FaultCounters {
    /// Counts from 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { base: AtomicUsize::new(0), huge: AtomicUsize::new(0), writable: AtomicUsize::new(0) }
    }

    /// Counts a page that was installed.
    pub fn installed(&self, page: &Page, writable: bool) {
        let of_size = match page.size {
            PageSize::Base => &self.base,
            PageSize::Huge => &self.huge,
        };
        of_size.fetch_add(1, Ordering::Relaxed);
        self.writable.fetch_add(usize::from(writable), Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        FaultCounts {
            base: self.base.load(Ordering::Relaxed),
            huge: self.huge.load(Ordering::Relaxed),
            writable: self.writable.load(Ordering::Relaxed),
        }
    }
}
