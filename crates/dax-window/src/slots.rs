//! The slots in which readers without the lock mark what they use: one for each processor.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::descriptor::NIL;
use crate::marks;
use fs_dax::PAGE_SIZE;

/// How many there are; more processors share them.
pub(crate) const SLOTS: usize = 16;

/// How many files a slot remembers, by their keys: as many as the line has room for.
const FILES: usize = 3;

/// A slot, on a cache line of its own. But for the mark, only who has the mark writes to it.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct UseSlot {
    pub(crate) mark: AtomicU32,
    last: [Remembered; FILES],
    hits: AtomicUsize,
    read: AtomicUsize,
    written: AtomicUsize,
}

const _: () = assert!(size_of::<UseSlot>() == 64);

/// The last use of a file that was made here.
#[derive(Debug)]
struct Remembered {
    /// The lower half of the file's key.
    file: AtomicU32,
    /// Where it ended, in pages, rounded up; 0 if there was none.
    end: AtomicU32,
    /// The number after that of the range that was used; 0, which is after `NIL`, if it is not known. So a new slot is all zeros, and
    /// need not be made on a stack.
    after_range: AtomicU32,
}

/// Where a file's last use ended, in pages, and the range that was used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastUse {
    end: u32,
    range: u32,
}

impl LastUse {
    /// Where it ended in bytes, rounded up to a page.
    #[inline]
    pub(crate) fn end(self) -> u64 {
        u64::from(self.end) * PAGE_SIZE
    }

    /// The range that was used, if it was for this chunk. It may hold another one by now.
    #[inline]
    pub(crate) fn range_of(self, chunk: u64, range_shift: u32) -> Option<u32> {
        // Of a use that ended at 0 there is no chunk, nor a range.
        let same = self.end().wrapping_sub(1) >> range_shift == chunk;
        (same && self.range != NIL).then_some(self.range)
    }

    /// The chunk of the last byte.
    #[inline]
    pub(crate) fn chunk(self, range_shift: u32) -> Option<u64> {
        Some((self.end().checked_sub(1)?) >> range_shift)
    }

    /// Whether an access at `offset` may go on where that use ended.
    #[inline]
    pub(crate) fn is_near(self, offset: u64, slack: u64) -> bool {
        // A page more, for what the rounding took.
        self.end > 0 && self.end().abs_diff(offset) <= slack + PAGE_SIZE
    }
}

impl UseSlot {
    pub(crate) const fn new() -> Self {
        Self {
            mark: AtomicU32::new(marks::UNUSED),
            hits: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            last: [const { Remembered { file: AtomicU32::new(0), end: AtomicU32::new(0), after_range: AtomicU32::new(0) } };
                FILES],
        }
    }

    /// A copy of its own, for the exploration of what can happen next.
    #[cfg(all(test, feature = "alloc"))]
    pub(crate) fn fork(&self) -> Self {
        let copy = Self::new();
        copy.mark.store(self.mark.load(Ordering::Relaxed), Ordering::Relaxed);
        copy
    }

    /// Counts a use of `len` bytes. Two numbers of the same slot are written by one at a time, so that adding is no atomic step.
    #[inline]
    pub(crate) fn count(&self, stores: bool, len: u64) {
        let add = |counter: &AtomicUsize, more: usize| {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&self.hits, 1);
        add(if stores { &self.written } else { &self.read }, len as usize);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed) as u64
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed) as u64, self.written.load(Ordering::Relaxed) as u64)
    }

    /// The last use of a file, if that is remembered here. Another task may be writing it: it is good for guesses.
    #[inline]
    pub(crate) fn last(&self, file: u64) -> Option<LastUse> {
        let last = &self.last[(file as u32 % FILES as u32) as usize];
        let of_file = last.file.load(Ordering::Relaxed) == file as u32;
        of_file.then(|| LastUse {
            end: last.end.load(Ordering::Relaxed),
            range: last.after_range.load(Ordering::Relaxed).wrapping_sub(1),
        })
    }

    /// Remembers a use of `range` that ends at `end`, in bytes.
    #[inline]
    pub(crate) fn remember(&self, file: u64, end: u64, range: u32) {
        let last = &self.last[(file as u32 % FILES as u32) as usize];
        last.file.store(file as u32, Ordering::Relaxed);
        let pages = end.saturating_add(PAGE_SIZE - 1) / PAGE_SIZE;
        last.end.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
        last.after_range.store(range.wrapping_add(1), Ordering::Relaxed);
    }
}
