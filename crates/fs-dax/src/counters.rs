//! What page faults came to, counted by the pages that were installed.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Page, PageSize, Wanted};

/// As many page sizes as an address can have.
const ORDERS: usize = 64;

/// Counts the page faults of a file system.
///
/// A page counts by its own size, when it is installed: what a fault asked for says nothing about what it got. No fixed
/// set of sizes is assumed, since processors have more than two.
///
/// ```
/// use fs_dax::{FaultCounters, Page, PageSize, PhysAddr, VirtAddr, Wanted};
///
/// let counters = FaultCounters::new();
/// counters.faulted();
/// let (virt, phys) = (VirtAddr(0x1000), PhysAddr(0x5000));
/// counters.installed(&Page { size: PageSize::Base, len: 4096, virt, phys, file_offset: 0 }, Wanted::Largest);
/// assert_eq!((counters.faults(), counters.pages_of(4096), counters.pages_of(2 << 20)), (1, 1, 0));
/// assert_eq!(counters.fallbacks(), 1);
/// ```
#[derive(Debug)]
pub struct FaultCounters {
    faults: AtomicUsize,
    fallbacks: AtomicUsize,
    /// By the logarithm of the page's length.
    installed: [AtomicUsize; ORDERS],
}

impl FaultCounters {
    /// No fault yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            faults: AtomicUsize::new(0),
            fallbacks: AtomicUsize::new(0),
            installed: [const { AtomicUsize::new(0) }; ORDERS],
        }
    }

    /// Counts a fault that the file system was asked to answer.
    pub fn faulted(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a page that was installed for a fault that asked for `wanted`.
    pub fn installed(&self, page: &Page, wanted: Wanted) {
        if let Some(count) = self.installed.get(order(page.len)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if wanted == Wanted::Largest && page.size == PageSize::Base {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many faults the file system was asked to answer.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    /// How many pages of `len` bytes were installed.
    #[must_use]
    pub fn pages_of(&self, len: u64) -> usize {
        let count = if len.is_power_of_two() { self.installed.get(order(len)) } else { None };
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many faults would have taken a huge page and got a base page.
    #[must_use]
    pub fn fallbacks(&self) -> usize {
        self.fallbacks.load(Ordering::Relaxed)
    }
}

impl Default for FaultCounters {
    fn default() -> Self {
        Self::new()
    }
}

const fn order(len: u64) -> usize {
    len.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PhysAddr, VirtAddr};

    fn page(size: PageSize, len: u64) -> Page {
        Page { size, len, virt: VirtAddr(0), phys: PhysAddr(0), file_offset: 0 }
    }

    #[test]
    fn pages_count_by_their_own_size_whatever_was_wanted() {
        let counters = FaultCounters::new();
        counters.installed(&page(PageSize::Huge, 2 << 20), Wanted::Largest);
        counters.installed(&page(PageSize::Huge, 1 << 30), Wanted::Huge);
        counters.installed(&page(PageSize::Base, 4096), Wanted::Base);
        counters.installed(&page(PageSize::Base, 16384), Wanted::Largest);
        for (len, count) in [(4096, 1), (16384, 1), (2 << 20, 1), (1 << 30, 1), (0, 0), (4097, 0), (u64::MAX, 0)] {
            assert_eq!(counters.pages_of(len), count, "{len}");
        }
        assert_eq!(counters.fallbacks(), 1);
        assert_eq!(counters.faults(), 0, "pages are no faults");
    }
}
