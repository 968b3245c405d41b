//! What outlives a call: the event counter that waiters watch, and which tickets were dropped.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::config::ConfigError;
use crate::descriptor::Descriptor;
use crate::entry::{RangeEntry, Uses};
use crate::slots::{SLOTS, UseSlot};
use crate::tickets::{MAX_TICKETS, Tickets, TicketsRef};

pub(crate) const WORDS: usize = MAX_TICKETS / 32;

/// A value of the window's event counter. Only "the same" and "another" mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSeq(u32);

/// The part of a window that its tickets, its waiters and those who use it without its lock share: give one to each window, or
/// let it come from the heap.
#[derive(Debug)]
pub struct Shared {
    slots: [UseSlot; SLOTS],
    policy: Policy,
    seq: AtomicU32,
    any_dropped: AtomicBool,
    taken: AtomicBool,
    dropped: [AtomicU32; WORDS],
}

/// What hits without the lock have to know of the eviction's policies. Seldom written, so that processors share the line.
#[derive(Debug)]
#[repr(align(64))]
struct Policy {
    /// Visits to chunks whose hashes are below this are followed by the eviction's simulation.
    followed: AtomicU32,
    /// What [`Uses::full`] says of the guard's epoch.
    mask: AtomicU32,
    full: AtomicU32,
}

impl Policy {
    const fn new() -> Self {
        let [followed, mask, full] = [const { AtomicU32::new(0) }; 3];
        Self { followed, mask, full }
    }
}

impl Shared {
    /// One that belongs to no window yet; usable in a `static`.
    pub const fn new() -> Self {
        Self {
            slots: [const { UseSlot::new() }; SLOTS],
            policy: Policy::new(),
            seq: AtomicU32::new(0),
            any_dropped: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            dropped: [const { AtomicU32::new(0) }; WORDS],
        }
    }

    pub(crate) fn seq(&self) -> EventSeq {
        EventSeq(self.seq.load(Ordering::Acquire))
    }

    /// A copy of its own, for the exploration of what can happen next.
    #[cfg(all(test, feature = "alloc"))]
    pub(crate) fn fork(&self) -> Self {
        let copy = Self::new();
        copy.seq.store(self.seq.load(Ordering::Relaxed), Ordering::Relaxed);
        assert!(!self.any_dropped());
        let slots = core::array::from_fn(|slot| self.slots[slot].fork());
        let copy = Self { slots, ..copy };
        copy.set_policy(self.followed(), self.guard_epoch());
        copy
    }

    /// The slot of a processor.
    #[inline]
    pub(crate) fn slot(&self, cpu: usize) -> &UseSlot {
        &self.slots[cpu % SLOTS]
    }

    pub(crate) fn slots(&self) -> &[UseSlot; SLOTS] {
        &self.slots
    }

    /// Visits to chunks whose hashes are below this are followed by the eviction's simulation.
    #[inline]
    pub(crate) fn followed(&self) -> u32 {
        self.policy.followed.load(Ordering::Relaxed)
    }

    /// The guard's epoch, while it watches.
    #[inline]
    pub(crate) fn guard_epoch(&self) -> Option<u8> {
        Uses::epoch_of(self.policy.mask.load(Ordering::Relaxed), self.policy.full.load(Ordering::Relaxed))
    }

    /// Whether one use more, of the chunk that was used before, changes no count of a range.
    #[inline]
    pub(crate) fn is_full(&self, entry: &RangeEntry) -> bool {
        let (mask, full) = (&self.policy.mask, &self.policy.full);
        entry.counts(mask.load(Ordering::Relaxed), full.load(Ordering::Relaxed))
    }

    /// Says what hits without the lock have to know.
    pub(crate) fn set_policy(&self, followed: u32, guard_epoch: Option<u8>) {
        let (mask, full) = Uses::full(guard_epoch);
        let Policy { followed: at_most, mask: which, full: are } = &self.policy;
        for (word, value) in [(at_most, followed), (which, mask), (are, full)] {
            // The line is shared as long as nothing changes.
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn bump(&self) {
        self.seq.fetch_add(1, Ordering::Release);
    }

    /// Called from the `Drop` of a ticket, without the window's lock. The order matters: whoever sees the flag sees
    /// the bit, and whoever sees the count finds both.
    pub(crate) fn drop_ticket(&self, slot: u8) {
        self.dropped[usize::from(slot) / 32].fetch_or(1 << (slot % 32), Ordering::Release);
        self.any_dropped.store(true, Ordering::Release);
        self.bump();
    }

    #[inline]
    pub(crate) fn any_dropped(&self) -> bool {
        self.any_dropped.load(Ordering::Relaxed)
    }

    /// Takes the bits of all dropped tickets.
    pub(crate) fn take_dropped(&self) -> [u32; WORDS] {
        self.take_dropped_while(|| ())
    }

    /// `meanwhile` is what others do between the two looks.
    fn take_dropped_while(&self, meanwhile: impl FnOnce()) -> [u32; WORDS] {
        // Clear the flag first: a ticket that falls in between sets it again.
        self.any_dropped.swap(false, Ordering::AcqRel);
        meanwhile();
        core::array::from_fn(|word| self.dropped[word].swap(0, Ordering::AcqRel))
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// The event counter of a window, to be watched without the window's lock.
#[derive(Clone, Debug)]
pub struct Events(pub(crate) SharedRef);

impl Events {
    /// The counter's present value. It changes whenever a waiter may find things changed.
    pub fn seq(&self) -> EventSeq {
        self.0.seq()
    }
}

#[derive(Clone)]
pub(crate) enum SharedRef {
    Static(&'static Shared),
    #[cfg(feature = "alloc")]
    Counted(Arc<Shared>),
}

impl Deref for SharedRef {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        match self {
            Self::Static(shared) => shared,
            #[cfg(feature = "alloc")]
            Self::Counted(shared) => shared,
        }
    }
}

impl fmt::Debug for SharedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The memory of a window: descriptors, tickets and the shared part.
#[derive(Debug)]
pub struct Storage {
    pub(crate) ranges: Ranges,
    pub(crate) entries: EntriesRef,
    pub(crate) tickets: TicketsRef,
    pub(crate) shared: SharedRef,
}

impl Storage {
    /// Memory that the embedder gives. [`crate::Config::ranges`] says how many descriptors are needed; more are left alone.
    ///
    /// # Errors
    /// [`ConfigError::SharedInUse`] when `shared` was given to a window before: two windows must not share one.
    pub fn from_static(
        ranges: &'static mut [Descriptor],
        entries: &'static mut [RangeEntry],
        tickets: &'static mut Tickets,
        shared: &'static Shared,
    ) -> Result<Self, ConfigError> {
        if shared.taken.swap(true, Ordering::AcqRel) {
            return Err(ConfigError::SharedInUse);
        }
        let tickets = TicketsRef::Static(tickets);
        let ranges = Ranges::Static(ranges);
        Ok(Self { ranges, entries: EntriesRef::Static(entries), tickets, shared: SharedRef::Static(shared) })
    }

    /// Memory for so many ranges from the heap.
    ///
    /// # Errors
    /// [`ConfigError::OutOfMemory`].
    #[cfg(feature = "alloc")]
    pub fn heap(ranges: usize) -> Result<Self, ConfigError> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(ranges).map_err(|_| ConfigError::OutOfMemory { ranges })?;
        memory.resize_with(ranges, Descriptor::new);
        let mut entries = Vec::new();
        entries.try_reserve_exact(ranges).map_err(|_| ConfigError::OutOfMemory { ranges })?;
        entries.resize_with(ranges, RangeEntry::new);
        Ok(Self {
            ranges: Ranges::Heap(memory.into_boxed_slice()),
            entries: EntriesRef::Counted(Arc::new(entries.into_boxed_slice())),
            tickets: TicketsRef::heap().ok_or(ConfigError::OutOfMemory { ranges })?,
            shared: SharedRef::Counted(Arc::new(Shared::new())),
        })
    }
}

pub(crate) enum Ranges {
    Static(&'static mut [Descriptor]),
    #[cfg(feature = "alloc")]
    Heap(Box<[Descriptor]>),
}

/// The entries of a window's ranges.
#[derive(Clone)]
pub(crate) enum EntriesRef {
    Static(&'static [RangeEntry]),
    #[cfg(feature = "alloc")]
    Counted(Arc<Box<[RangeEntry]>>),
}

#[cfg(all(test, feature = "alloc"))]
impl EntriesRef {
    /// A copy of its own, for the exploration of what can happen next.
    pub(crate) fn fork(&self) -> Self {
        Self::Counted(Arc::new(self.iter().map(RangeEntry::fork).collect()))
    }
}

impl Deref for EntriesRef {
    type Target = [RangeEntry];

    #[inline]
    fn deref(&self) -> &[RangeEntry] {
        match self {
            Self::Static(entries) => entries,
            #[cfg(feature = "alloc")]
            Self::Counted(entries) => entries,
        }
    }
}

impl fmt::Debug for EntriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.len())
    }
}

#[cfg(all(test, feature = "alloc"))]
impl Clone for Ranges {
    fn clone(&self) -> Self {
        Self::Heap(self.to_vec().into_boxed_slice())
    }
}

impl Deref for Ranges {
    type Target = [Descriptor];

    #[inline]
    fn deref(&self) -> &[Descriptor] {
        match self {
            Self::Static(ranges) => ranges,
            #[cfg(feature = "alloc")]
            Self::Heap(ranges) => ranges,
        }
    }
}

impl DerefMut for Ranges {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Descriptor] {
        match self {
            Self::Static(ranges) => ranges,
            #[cfg(feature = "alloc")]
            Self::Heap(ranges) => ranges,
        }
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} descriptors", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_falls_while_others_are_taken_is_not_lost() {
        let shared = Shared::new();
        shared.drop_ticket(3);
        let taken = shared.take_dropped_while(|| shared.drop_ticket(40));
        assert_eq!(taken[0], 1 << 3);
        let later = if shared.any_dropped() { shared.take_dropped() } else { [0; WORDS] };
        assert_eq!(taken[1] | later[1], 1 << 8, "its bit is taken now, or the flag says that one is left");
        let seq = shared.seq();
        shared.drop_ticket(0);
        assert_ne!(shared.seq(), seq);
        assert!(shared.any_dropped());
        assert_eq!(shared.take_dropped()[0], 1);
        assert!(!shared.any_dropped());
    }
}
