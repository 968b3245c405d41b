//! Which pages of a mapped range have been stored to.

use core::ops::Range;

use crate::{Error, FileRange, PAGE_SIZE, RANGE_SIZE};

/// Words that hold the pages of a range of 2 MiB: 512 bits.
pub const WORDS_2M: usize = (RANGE_SIZE / PAGE_SIZE / 64) as usize;

/// The dirty state of a range of 2 MiB.
pub type DirtyRange2M = DirtyRange<[u64; WORDS_2M]>;

/// A set of pages: one bit each, in words given by the owner (an array, a slice, a vector).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet<S>(S);

impl<S: AsRef<[u64]> + AsMut<[u64]>> PageSet<S> {
    /// The empty set over these words, whatever they held.
    pub fn new(mut words: S) -> Self {
        words.as_mut().fill(0);
        Self(words)
    }

    /// How many pages it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.words().len() * 64
    }

    /// How many pages are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words().iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no page is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words().iter().all(|word| *word == 0)
    }

    /// Whether page `index` is in it.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.words().get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    /// Adds pages, those past the capacity left out. Gives how many were not in it before.
    pub fn insert(&mut self, pages: Range<usize>) -> usize {
        let mut added = 0;
        self.each_word(pages, |word, mask| {
            added += (mask & !*word).count_ones() as usize;
            *word |= mask;
        });
        added
    }

    /// Removes pages. Gives how many were in it.
    pub fn remove(&mut self, pages: Range<usize>) -> usize {
        let mut removed = 0;
        self.each_word(pages, |word, mask| {
            removed += (mask & *word).count_ones() as usize;
            *word &= !mask;
        });
        removed
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.as_mut().fill(0);
    }

    /// Moves `pages`, as far as they are in `self`, to `other`. Gives how many. What `other` has no room for stays.
    pub fn move_to(&mut self, pages: Range<usize>, other: &mut Self) -> usize {
        let mut moved = 0;
        let mut others = other.0.as_mut().iter_mut();
        let pages = pages.start..pages.end.min(others.len() * 64);
        let mut skip = pages.start / 64;
        self.each_word(pages, |word, mask| {
            if let Some(to) = others.nth(skip) {
                let bits = *word & mask;
                moved += bits.count_ones() as usize;
                *to |= bits;
                *word &= !bits;
            }
            skip = 0;
        });
        moved
    }

    /// The runs of consecutive pages in it, each as long as can be, that lie within `pages` (cut at its ends).
    pub fn runs(&self, pages: Range<usize>) -> PageRuns<'_> {
        PageRuns { words: self.words(), at: pages.start, end: pages.end.min(self.capacity()) }
    }

    fn words(&self) -> &[u64] {
        self.0.as_ref()
    }

    /// Calls `f` with each word that holds some of `pages`, and the mask of those.
    fn each_word(&mut self, pages: Range<usize>, mut f: impl FnMut(&mut u64, u64)) {
        let end = pages.end.min(self.capacity());
        let mut at = pages.start;
        while at < end {
            let next = (at / 64 + 1) * 64;
            let bits = next.min(end) - at;
            let mask = (u64::MAX >> (64 - bits)) << (at % 64);
            f(&mut self.0.as_mut()[at / 64], mask);
            at = next;
        }
    }
}

/// Runs of consecutive pages; see [`PageSet::runs`].
#[derive(Clone, Debug)]
pub struct PageRuns<'a> {
    words: &'a [u64],
    at: usize,
    end: usize,
}

impl PageRuns<'_> {
    /// The first page from `at` on that is in the set (or, with `flip` all ones, is not), or the end.
    fn edge(&self, mut at: usize, flip: u64) -> usize {
        while at < self.end {
            let word = (self.words[at / 64] ^ flip) >> (at % 64);
            if word != 0 {
                return (at + word.trailing_zeros() as usize).min(self.end);
            }
            at = (at / 64 + 1) * 64;
        }
        self.end
    }
}

impl Iterator for PageRuns<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.edge(self.at, 0);
        if start >= self.end {
            self.at = self.end;
            return None;
        }
        let end = self.edge(start, u64::MAX);
        self.at = end;
        Some(start..end)
    }
}

impl core::iter::FusedIterator for PageRuns<'_> {}

/// The dirty state of one mapped range of a file. It belongs to the inode, and is changed under the inode's lock.
///
/// An page is clean, dirty (stored to, or may be at any time, being mapped writable), or being written back; one that
/// is stored to again while it is written back is both.
#[derive(Clone, Debug)]
pub struct DirtyRange<S> {
    covered: FileRange,
    dirty: PageSet<S>,
    writing: PageSet<S>,
    /// The writeback that `writing` belongs to.
    ticket: u64,
}

impl DirtyRange2M {
    /// A clean range of up to 2 MiB with its bits inside itself.
    ///
    /// # Errors
    /// As [`DirtyRange::new`].
    pub fn new_2m(covered: FileRange) -> Result<Self, Error> {
        Self::new(covered, [0; WORDS_2M], [0; WORDS_2M])
    }
}

impl<S: AsRef<[u64]> + AsMut<[u64]>> DirtyRange<S> {
    /// A clean range over `covered` bytes of the file, its bits in two sets of words, one word for each 64 pages of
    /// [`PAGE_SIZE`] bytes. The last page may be partial.
    ///
    /// # Errors
    /// [`Error::Unaligned`] if it does not begin at a multiple of [`PAGE_SIZE`]; [`Error::BitmapTooSmall`].
    pub fn new(covered: FileRange, dirty: S, writing: S) -> Result<Self, Error> {
        if !covered.start().is_multiple_of(PAGE_SIZE) {
            return Err(Error::Unaligned { value: covered.start(), align: PAGE_SIZE });
        }
        let (dirty, writing) = (PageSet::new(dirty), PageSet::new(writing));
        let words = dirty.words().len().min(writing.words().len());
        if covered.len().div_ceil(PAGE_SIZE) > words as u64 * 64 {
            return Err(Error::BitmapTooSmall { words, len: covered.len() });
        }
        Ok(Self { covered, dirty, writing, ticket: 0 })
    }

    /// The bytes of the file that it keeps track of.
    #[must_use]
    pub const fn covered(&self) -> FileRange {
        self.covered
    }

    /// Marks all pages that `bytes` touch dirty. To be called before a page becomes writable. Gives how many were not
    /// dirty.
    ///
    /// # Errors
    /// [`Error::OutsideRange`] if `bytes` are not all in the range, rounded up to whole pages; nothing is marked
    /// then.
    pub fn mark(&mut self, bytes: FileRange) -> Result<usize, Error> {
        if bytes.start() < self.covered.start() || bytes.end() > self.whole_pages().end() {
            return Err(Error::OutsideRange { marked: bytes, covered: self.covered });
        }
        Ok(self.dirty.insert(self.pages(bytes)))
    }

    /// Whether no page is dirty or being written back.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.writing.is_empty()
    }

    /// How many pages are dirty, those being written back not counted.
    #[must_use]
    pub fn dirty_pages(&self) -> usize {
        self.dirty.count()
    }

    /// How many pages are being written back.
    #[must_use]
    pub fn writing_pages(&self) -> usize {
        self.writing.count()
    }

    /// The dirty bytes within `bytes`, in runs as long as can be. The last may reach past the end of the range, to a
    /// whole page.
    pub fn dirty_runs(&self, bytes: FileRange) -> ByteRuns<'_> {
        ByteRuns { start: self.covered.start(), runs: self.dirty.runs(self.pages(bytes)) }
    }

    /// The bytes being written back: what is to be write-protected and flushed.
    pub fn writing_runs(&self) -> ByteRuns<'_> {
        ByteRuns { start: self.covered.start(), runs: self.writing.runs(self.pages(self.covered)) }
    }

    /// Starts the writeback of what is dirty within `bytes`. Remains of a writeback that nobody finished are dirty
    /// again first.
    pub(crate) fn take(&mut self, bytes: FileRange, ticket: u64) -> usize {
        if self.ticket != ticket {
            self.redirty();
            self.ticket = ticket;
        }
        let pages = self.pages(bytes);
        self.dirty.move_to(pages, &mut self.writing)
    }

    pub(crate) fn settle(&mut self, ticket: u64, written: bool) -> Result<(), Error> {
        if self.ticket != ticket {
            return Err(Error::StaleWriteback);
        }
        self.ticket = 0;
        if written {
            self.writing.clear();
        } else {
            self.redirty();
        }
        Ok(())
    }

    /// Forgets all dirt. Gives whether there was any.
    pub(crate) fn forget(&mut self) -> bool {
        let was_dirty = !self.is_clean();
        self.dirty.clear();
        self.writing.clear();
        self.ticket = 0;
        was_dirty
    }

    fn redirty(&mut self) {
        let all = 0..self.writing.capacity();
        self.writing.move_to(all, &mut self.dirty);
    }

    /// The bytes of all pages of the range, the last one whole.
    fn whole_pages(&self) -> FileRange {
        let end = self.covered.end().checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
        FileRange::between(self.covered.start(), end)
    }

    /// The pages that hold some of `bytes`, as far as they are in the range.
    fn pages(&self, bytes: FileRange) -> Range<usize> {
        let within = bytes.intersect(self.whole_pages());
        if within.is_empty() {
            return 0..0;
        }
        let start = (within.start() - self.covered.start()) / PAGE_SIZE;
        let end = (within.end() - self.covered.start()).div_ceil(PAGE_SIZE);
        // Both are at most the number of bits, which `new` has checked.
        start as usize..end as usize
    }
}

/// Runs of bytes of a file; see [`DirtyRange::dirty_runs`].
#[derive(Clone, Debug)]
pub struct ByteRuns<'a> {
    start: u64,
    runs: PageRuns<'a>,
}

impl Iterator for ByteRuns<'_> {
    type Item = FileRange;

    fn next(&mut self) -> Option<FileRange> {
        let run = self.runs.next()?;
        let at = |page: usize| self.start.saturating_add(page as u64 * PAGE_SIZE);
        Some(FileRange::between(at(run.start), at(run.end)))
    }
}

impl core::iter::FusedIterator for ByteRuns<'_> {}
