//! Hits without the window's lock.
//!
//! What is mapped is read from the ranges' [`RangeEntry`]s, and who uses a range says so in a slot of its processor: no cache
//! line is written that another processor writes, but for the counts of a range's first uses. Why nobody loses what he uses is
//! argued in [`crate::marks`]; that the window asks before it takes something away is what its model checks.
//!
//! What such a hit does not do for the eviction and for read-ahead is done by the next access that takes the lock, or is
//! left to one that has to take it: the first use of what was mapped ahead, the first store, a step of a run to the next
//! chunk, a visit that the eviction's simulation follows.

use crate::access::{Intent, Request};
use crate::descriptor::NIL;
use crate::entry::{self, RangeEntry};
use crate::index::Index;
use crate::marks;
use crate::shared::{EntriesRef, SharedRef};
use crate::slots::{SLOTS, UseSlot};
use crate::stream::{Run, Stream};
use crate::units::WindowOffset;
use fs_dax::PAGE_SIZE;

/// How many ranges of one bucket are looked at: almost always the first is the one.
const MAX_CHAIN: usize = 8;

/// The mapped bytes, as readers without the lock see them: see [`crate::Window::hits`].
#[derive(Clone, Debug)]
pub struct Hits {
    pub(crate) entries: EntriesRef,
    pub(crate) shared: SharedRef,
    pub(crate) index: Index,
    pub(crate) range_shift: u32,
    /// How far from the end of an access the next one may begin to go on with a run, in bytes.
    pub(crate) slack: u64,
}

/// A use of bytes of a range: as long as it exists their mapping stays. For a short time only, a copy: who needs room waits
/// for it. Give it back with [`Hits::leave`], to the window that it came from; one that is lost keeps its range for good.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "a use that is not given back keeps its range for good"]
pub struct Use {
    slot: u32,
    pub(crate) window_offset: WindowOffset,
    pub(crate) len: u64,
}

impl Use {
    /// Where the request's first byte is in the window.
    pub fn window_offset(&self) -> WindowOffset {
        self.window_offset
    }

    /// How many bytes from there on may be used: all that were asked for.
    #[expect(clippy::len_without_is_empty, reason = "a use of no bytes does not exist")]
    pub fn len(&self) -> u64 {
        self.len
    }
}

/// Bytes of a file, one at least.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    file: u64,
    offset: u64,
    len: u64,
}

impl Hits {
    /// A use of all bytes of `request`, if they are mapped in one range with the rights that it needs, and nothing has to be
    /// noted that needs the lock. If not, [`crate::Window::hit`] and [`crate::Window::access`] know more.
    ///
    /// `cpu` is the number of the processor, or any other number that those who call at the same time have different ones of:
    /// if they are alike it takes the lock more often. `run` returns what [`Stream::run`] said of the file's accesses.
    #[inline(always)]
    pub fn enter(&self, cpu: usize, run: impl FnOnce() -> Run, request: &Request) -> Option<Use> {
        let bytes = Bytes { file: request.file.0, offset: request.offset.0, len: request.len };
        // Neither sum is too large: what can be mapped ends below both.
        if bytes.len.wrapping_sub(1) >= request.mappable_end.0.saturating_sub(bytes.offset) {
            return None;
        }
        let stores = request.intent == Intent::Write;
        let number = cpu % SLOTS;
        let slot = self.shared.slot(number);
        // Most often it is the range of the last use.
        if let Some(last) = slot.last(bytes.file)
            && let Some(i) = last.range_of(bytes.offset >> self.range_shift, self.range_shift)
            && let Some(entry) = self.entries.get(i as usize)
            && marks::mark(&slot.mark, i)
        {
            if self.is_there(entry, &bytes, stores) {
                return Some(self.used(number, i, entry, &bytes, stores, false));
            }
            self.take_back(slot);
        }
        self.enter_another(number, run(), bytes, stores)
    }

    /// A use of another range than that of the last use, or after none that is remembered.
    #[inline(never)]
    fn enter_another(&self, mut number: usize, run: Run, bytes: Bytes, stores: bool) -> Option<Use> {
        let Bytes { file, offset, .. } = bytes;
        let last = self.shared.slot(number).last(file);
        let near = match last {
            Some(last) => last.is_near(offset, self.slack),
            None if run == Run::None => false,
            None => return None,
        };
        let chunk = offset >> self.range_shift;
        let visit = last.and_then(|last| last.chunk(self.range_shift)) != Some(chunk);
        let hash = self.index.hash(file, chunk);
        if visit && (near || run == Run::Strided || (hash as u32) < self.shared.followed()) {
            return None;
        }
        let (i, entry) = self.index.look(&self.entries, hash, (file, chunk), MAX_CHAIN)?;
        if !marks::mark(&self.shared.slot(number).mark, i) {
            // Somebody was interrupted in the middle of a use.
            number = (number + 1) % SLOTS;
            if !marks::mark(&self.shared.slot(number).mark, i) {
                return None;
            }
        }
        if !self.is_there(entry, &bytes, stores) {
            self.take_back(self.shared.slot(number));
            return None;
        }
        Some(self.used(number, i, entry, &bytes, stores, visit))
    }

    /// Whether a range that is marked has the bytes, with the rights for stores if they are wanted.
    #[inline(always)]
    fn is_there(&self, entry: &RangeEntry, bytes: &Bytes, stores: bool) -> bool {
        let word = marks::look(&entry.word);
        let needed = if stores { marks::OPEN | entry::WRITABLE | entry::DIRTY } else { marks::OPEN };
        let mapped = u64::from(RangeEntry::pages_of(word)) * PAGE_SIZE;
        // Only of an open range that is marked is the key what it says.
        word & needed == needed
            && entry.key() == (bytes.file, bytes.offset >> self.range_shift)
            && self.within(bytes.offset) + bytes.len <= mapped
    }

    /// Where an offset is in its chunk.
    #[inline(always)]
    fn within(&self, offset: u64) -> u64 {
        offset & ((1 << self.range_shift) - 1)
    }

    /// Counts and remembers a use; `visit` if the stream used another range before.
    #[inline(always)]
    fn used(&self, number: usize, i: u32, entry: &RangeEntry, bytes: &Bytes, stores: bool, visit: bool) -> Use {
        if visit || !self.shared.is_full(entry) {
            self.count_use(entry, visit);
        }
        let slot = self.shared.slot(number);
        slot.count(stores, bytes.len);
        slot.remember(bytes.file, bytes.offset + bytes.len, i);
        let window_offset = WindowOffset(u64::from(i) << self.range_shift | self.within(bytes.offset));
        Use { slot: number as u32, window_offset, len: bytes.len }
    }

    /// Apart, since the counts of a range that is used much are full.
    #[inline(never)]
    fn count_use(&self, entry: &RangeEntry, visit: bool) {
        entry.count_use(self.shared.guard_epoch(), visit);
    }

    /// Gives a use back.
    #[inline]
    pub fn leave(&self, used: Use) {
        self.take_back(self.shared.slot(used.slot as usize));
    }

    #[inline]
    fn take_back(&self, slot: &UseSlot) {
        if marks::unmark(&slot.mark) {
            self.awaited();
        }
    }

    #[cold]
    fn awaited(&self) {
        self.shared.bump();
    }

    /// Brings a stream up to date with the uses that it does not know of, before it takes part in an access with the lock, and
    /// remembers where that access will end.
    pub fn catch_up(&self, cpu: usize, stream: &mut Stream, request: &Request) {
        let slot = self.shared.slot(cpu);
        if let Some(last) = slot.last(request.file.0)
            && let Some(chunk) = last.chunk(self.range_shift)
        {
            stream.catch_up(request.file.0, chunk, last.end());
        }
        // Which range it is to be is not known yet.
        slot.remember(request.file.0, request.offset.0.saturating_add(request.len), NIL);
    }

    /// How many bytes were used for loads and for stores, without the lock, in all.
    pub fn bytes(&self) -> (u64, u64) {
        let mut all = (0, 0);
        for slot in self.shared.slots() {
            let (read, written) = slot.bytes();
            all.0 += read;
            all.1 += written;
        }
        all
    }
}
