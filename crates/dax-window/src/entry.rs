//! What can be read of a range without the lock: 32 bytes.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::descriptor::{MAX_VISITS, NIL};
use crate::guard::Guard;
use crate::marks;
use crate::wide::Wide;

/// Of a word: the mapping permits stores.
pub(crate) const WRITABLE: u32 = 1 << 30;
/// Of a word: the range counts as dirty already.
pub(crate) const DIRTY: u32 = 1 << 29;
/// Of a word: the length of the mapping, in units of [`crate::PAGE_SIZE`].
const PAGES: u32 = DIRTY - 1;

/// The other half of a range's memory, 32 bytes: what those read who use a range without the lock. Give the window a slice of
/// them beside the [`crate::Descriptor`]s, or let it take both from the heap.
#[derive(Debug)]
#[repr(C, align(32))]
pub struct RangeEntry {
    file: Wide,
    chunk: Wide,
    /// Length and rights of the mapping, and whether readers may enter.
    pub(crate) word: AtomicU32,
    uses: AtomicU32,
    /// The next range in the same hash bucket.
    chain: AtomicU32,
    /// The head of the hash bucket whose number is this range's. Belongs to the index, not to the range.
    bucket: AtomicU32,
}

const _: () = assert!(size_of::<RangeEntry>() == 32);

/// How a range was used lately. Readers count without a lock, so that one of two at the same time may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Accesses served since it was set up, saturating.
    pub(crate) served: u8,
    /// Accesses served lately: halved each epoch.
    pub(crate) recent: u8,
    pub(crate) epoch: u8,
    /// Visits that the eviction hand has not yet taken away.
    pub(crate) visits: u8,
}

impl Uses {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        let [served, recent, epoch, visits] = bits.to_le_bytes();
        Self { served, recent, epoch, visits }
    }

    #[inline]
    fn to_bits(self) -> u32 {
        u32::from_le_bytes([self.served, self.recent, self.epoch, self.visits])
    }

    /// The epoch that [`Uses::full`] made these of.
    #[inline]
    pub(crate) fn epoch_of(mask: u32, full: u32) -> Option<u8> {
        (Self::from_bits(mask).epoch != 0).then_some(Self::from_bits(full).epoch)
    }

    /// Which bits of the counts one use more changes, and what they are where it changes none; `epoch` while the guard watches.
    pub(crate) fn full(epoch: Option<u8>) -> (u32, u32) {
        let full = |recent, epoch| Self { served: u8::MAX, recent, epoch, visits: 0 }.to_bits();
        match epoch {
            Some(epoch) => (full(u8::MAX, u8::MAX), full(u8::MAX, epoch)),
            None => (full(0, 0), full(0, 0)),
        }
    }

    /// One use more; `epoch` while the guard watches, `visit` if its stream used another range before.
    #[inline]
    pub(crate) fn one_more(self, epoch: Option<u8>, visit: bool) -> Self {
        let mut uses = Self { served: self.served.saturating_add(1), ..self };
        if let Some(epoch) = epoch {
            uses.recent = Guard::aged(uses.recent, uses.epoch, epoch).saturating_add(1);
            uses.epoch = epoch;
        }
        if visit && uses.visits < MAX_VISITS {
            uses.visits += 1;
        }
        uses
    }
}

impl RangeEntry {
    /// One of a range that is free and was never used; usable in a `static`.
    pub const fn new() -> Self {
        Self {
            file: Wide::new(0),
            chunk: Wide::new(0),
            word: AtomicU32::new(0),
            uses: AtomicU32::new(0),
            chain: AtomicU32::new(NIL),
            bucket: AtomicU32::new(NIL),
        }
    }

    /// As new. Only for the owner, of what nobody uses.
    pub(crate) fn reset(&self) {
        self.set_key(0, 0);
        self.word.store(0, Ordering::Relaxed);
        self.set_uses(Uses::default());
        self.set_chain(NIL);
        self.set_bucket(NIL);
    }

    /// A copy of its own, for the exploration of what can happen next.
    #[cfg(all(test, feature = "alloc"))]
    pub(crate) fn fork(&self) -> Self {
        let copy = Self::new();
        let (file, chunk) = self.key();
        copy.set_key(file, chunk);
        copy.word.store(self.word.load(Ordering::Relaxed), Ordering::Relaxed);
        copy.set_uses(self.uses());
        copy.set_chain(self.chain());
        copy.set_bucket(self.bucket());
        copy
    }

    /// File, and file offset divided by the range size.
    #[inline]
    pub(crate) fn key(&self) -> (u64, u64) {
        (self.file.get(), self.chunk.get())
    }

    pub(crate) fn set_key(&self, file: u64, chunk: u64) {
        self.file.set(file);
        self.chunk.set(chunk);
    }

    /// The length of the mapping in pages, as a word has it.
    #[inline]
    pub(crate) const fn pages_of(word: u32) -> u32 {
        word & PAGES
    }

    #[inline]
    pub(crate) fn pages(&self) -> u32 {
        Self::pages_of(self.word.load(Ordering::Relaxed))
    }

    /// Sets the length of a mapping, which readers may not enter then.
    pub(crate) fn set_pages(&self, pages: u32) {
        marks::close(&self.word);
        self.word.store(pages & PAGES, Ordering::Relaxed);
    }

    /// Lets readers in, with these rights.
    #[inline]
    pub(crate) fn open(&self, rights: u32) {
        let word = self.pages() | rights;
        if self.word.load(Ordering::Relaxed) != word | marks::OPEN {
            marks::open(&self.word, word);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.word.load(Ordering::Relaxed) & marks::OPEN != 0
    }

    /// The rights that readers have if they may enter.
    pub(crate) fn rights(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & (WRITABLE | DIRTY)
    }

    /// Whether these bits of its counts are these already.
    #[inline]
    pub(crate) fn counts(&self, mask: u32, full: u32) -> bool {
        self.uses.load(Ordering::Relaxed) & mask == full
    }

    #[inline]
    pub(crate) fn uses(&self) -> Uses {
        Uses::from_bits(self.uses.load(Ordering::Relaxed))
    }

    /// Counts a use: see [`Uses::one_more`].
    #[inline]
    pub(crate) fn count_use(&self, epoch: Option<u8>, visit: bool) {
        self.set_uses(self.uses().one_more(epoch, visit));
    }

    /// Written only if something changes: of a range that is used much nothing does, and readers share its cache line.
    #[inline]
    pub(crate) fn set_uses(&self, uses: Uses) {
        let bits = uses.to_bits();
        if self.uses.load(Ordering::Relaxed) != bits {
            self.uses.store(bits, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn chain(&self) -> u32 {
        self.chain.load(Ordering::Relaxed)
    }

    pub(crate) fn set_chain(&self, i: u32) {
        self.chain.store(i, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn bucket(&self) -> u32 {
        self.bucket.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bucket(&self, i: u32) {
        self.bucket.store(i, Ordering::Relaxed);
    }
}

impl Default for RangeEntry {
    fn default() -> Self {
        Self::new()
    }
}
