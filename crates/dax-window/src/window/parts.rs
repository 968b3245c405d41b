//! The parts of the window, its references, and what every step does with its ranges.

use super::demand::Demand;
use super::freezes::Freezes;
use crate::access::{Bypass, Pin, RangeRef, Wait, WaitReason};
use crate::config::{Config, ConfigError, Overlap};
use crate::descriptor::{Descriptor, NIL, STATES, State, flag};
use crate::entry::{self, Uses};
use crate::guard::Guard;
use crate::hits::Hits;
use crate::index::Index;
use crate::list::List;
use crate::marks;
use crate::placement::Placement;
use crate::refusals::Refusals;
use crate::shared::{EntriesRef, EventSeq, Events, Ranges, SharedRef, Storage, WORDS};
use crate::stats::Stats;
use crate::ticket::Claim;
use crate::tickets::{Slot, SlotUse, TicketsRef};
use crate::tree::{Beside, Tree};
use crate::units::{FileOffset, RangeIndex, WindowOffset};
use fs_dax::{FileKey, PAGE_SIZE};

/// The DAX window: which part of which file is where in it, and what to do next.
///
/// It decides and never does. Keep it under a lock, call it briefly, drop the lock, do what it says, report back.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub struct Window {
    pub(super) descriptors: Ranges,
    pub(super) entries: EntriesRef,
    /// How many of the descriptors are in use.
    pub(super) len: u32,
    pub(super) config: Config,
    pub(super) index: Index,
    pub(super) tree: Tree,
    pub(super) free: List,
    /// Free, but the host may still have a mapping there, which the next one replaces that is as long.
    pub(super) unclean: List,
    /// The eviction queue: mapped ranges, oldest first. One that is referenced leaves it when the eviction meets it.
    pub(super) queue: List,
    /// Ranges that are evicted before those in the queue, oldest first, as long as there are more than a few.
    pub(super) newcomers: List,
    pub(super) suspects: List,
    pub(super) counts: [u32; STATES],
    pub(super) slots: TicketsRef,
    pub(super) slots_used: [u32; WORDS],
    pub(super) freezes: Freezes,
    pub(super) shared: SharedRef,
    /// A reference to `shared` for the next ticket: cloning one costs an atomic operation.
    pub(super) spare: Option<SharedRef>,
    /// Whether there is a waiter since the event counter last moved.
    pub(super) has_waiters: bool,
    pub(super) guard: Guard,
    pub(super) placement: Placement,
    pub(super) refusals: Refusals,
    pub(super) demand: Demand,
    pub(super) draining: bool,
    /// A waiter needs the last release.
    pub(super) ref_waiters: bool,
    /// The event counter before it was found that somebody uses a range without the lock, who moves it at the end of that.
    pub(super) used_since: Option<EventSeq>,
    pub(super) holds: u64,
    pub(super) pins: u64,
    pub(super) stats: Stats,
}

impl Window {
    /// A window with nothing in it. The host must have nothing in it either: a driver that takes over a device resets it
    /// or removes everything first.
    ///
    /// # Errors
    /// What is wrong with the configuration, or [`ConfigError::Storage`].
    pub fn new(config: Config, storage: Storage) -> Result<Self, ConfigError> {
        let needed = config.ranges()?;
        let Storage { ranges: mut descriptors, entries, tickets, shared } = storage;
        let given = descriptors.len().min(entries.len());
        if given < needed {
            return Err(ConfigError::Storage { needed, given });
        }
        let len = needed as u32;
        let mut free = List::EMPTY;
        for i in 0..len {
            descriptors[i as usize] = Descriptor::new();
            entries[i as usize].reset();
            free.push_back(&mut descriptors, i);
        }
        let mut counts = [0; STATES];
        counts[State::Free as usize] = len;
        let window = Self {
            descriptors,
            entries,
            len,
            index: Index::new(config.seed, len),
            tree: Tree::EMPTY,
            free,
            unclean: List::EMPTY,
            queue: List::EMPTY,
            newcomers: List::EMPTY,
            suspects: List::EMPTY,
            counts,
            slots: tickets,
            slots_used: [0; WORDS],
            freezes: Freezes::EMPTY,
            shared,
            spare: None,
            has_waiters: false,
            guard: Guard::new(config.guard, len),
            placement: Placement::new(len),
            refusals: Refusals::EMPTY,
            demand: Demand::NONE,
            draining: false,
            ref_waiters: false,
            used_since: None,
            holds: 0,
            pins: 0,
            stats: Stats::default(),
            config,
        };
        window.show_policy();
        Ok(window)
    }

    /// A window whose memory comes from the heap: 64 bytes a range and 20 a ticket, once, here.
    ///
    /// # Errors
    /// What is wrong with the configuration, or [`ConfigError::OutOfMemory`].
    #[cfg(feature = "alloc")]
    pub fn on_heap(config: Config) -> Result<Self, ConfigError> {
        Self::new(config, Storage::heap(config.ranges()?)?)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many ranges there are.
    pub fn ranges(&self) -> u32 {
        self.len
    }

    /// The size of a range in bytes.
    pub fn range_size(&self) -> u64 {
        1 << self.config.range_shift
    }

    /// The event counter now. It differs from the value in a [`Wait`] as soon as asking again may help.
    pub fn event_seq(&self) -> EventSeq {
        self.shared.seq()
    }

    /// The event counter, to be watched without the window's lock.
    pub fn events(&self) -> Events {
        Events(self.shared.clone())
    }

    /// What is mapped, for those who use it for a short time without the window's lock.
    pub fn hits(&self) -> Hits {
        Hits {
            entries: self.entries.clone(),
            shared: self.shared.clone(),
            index: self.index,
            range_shift: self.config.range_shift,
            slack: self.config.read_ahead.slack,
        }
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let unlocked = self.unlocked_hits();
        let count = |state: State| self.counts[state as usize];
        Stats {
            ranges: self.len,
            free: count(State::Free),
            mapped: count(State::Mapped) + count(State::Upgrading),
            setting_up: count(State::SettingUp),
            removing: count(State::Removing),
            suspect: count(State::Suspect),
            retired: count(State::Retired),
            holds: self.holds,
            pins: self.pins,
            tickets: self.slots_used.iter().map(|word| word.count_ones()).sum(),
            reclaim_target: self.demand.target(self.len, self.accesses(), &self.config.reclaim),
            accesses: self.stats.accesses + unlocked,
            hits: self.stats.hits + unlocked,
            guard_on: self.guard.tripped,
            guard_tripped: self.guard.tripped && self.guard.trips > 0,
            guard_yield: self.guard.yielded,
            guard_ratio: self.guard.ratio,
            guard_trips: self.guard.trips,
            newest_first: self.placement.newest_first(),
            ..self.stats
        }
    }

    /// Gives a reference back.
    #[inline]
    pub fn release(&mut self, hold: RangeRef) {
        self.drop_ref(hold.range.0);
    }

    /// Turns a hold into a mark that page tables refer to the range: it can be evicted again, but its removal says
    /// `installed`. Call it after the page-table entry is in place, so that the hold protects it until here.
    /// `writable` says whether the entry permits stores: then the range counts as dirty from now on.
    pub fn install(&mut self, hold: RangeRef, writable: bool) {
        if let Some(node) = self.descriptors.get_mut(hold.range.0 as usize) {
            node.set(flag::INSTALLED | if writable { flag::DIRTY } else { 0 });
        }
        self.drop_ref(hold.range.0);
    }

    /// Takes the installed mark away: no page table refers to the range any more.
    /// Only for a range that is held, so that it still maps the same chunk.
    pub fn uninstall(&mut self, hold: &RangeRef) {
        if let Some(node) = self.descriptors.get_mut(hold.range.0 as usize) {
            node.clear(flag::INSTALLED);
        }
    }

    /// Tells the eviction that the range was used in a way the window can't see (an accessed bit in a page table).
    pub fn note_use(&mut self, range: RangeIndex) {
        if let Some(entry) = self.entries.get(range.0 as usize) {
            entry.count_use(None, true);
        }
    }

    /// Marks a held range as holding stores that no write-back has covered. Holds for writing do so by themselves.
    pub fn mark_dirty(&mut self, hold: &RangeRef) {
        if let Some(node) = self.descriptors.get_mut(hold.range.0 as usize) {
            node.set(flag::DIRTY);
        }
    }

    /// Turns a hold into a pin.
    pub fn pin(&mut self, hold: RangeRef) -> Pin {
        self.pins += 1;
        Pin(hold)
    }

    /// Gives a pin back.
    pub fn unpin(&mut self, pin: Pin) {
        self.pins = self.pins.saturating_sub(1);
        self.release(pin.0);
    }

    /// Tells the guard what one eviction with its set-up (`remap`), or one small READ or WRITE request, took, in ticks
    /// of any clock. Without it the guard works with the ratio that was configured.
    pub fn note_cost(&mut self, remap: bool, ticks: u64) {
        self.guard.note_cost(remap, ticks);
    }

    #[inline]
    pub(super) fn drop_ref(&mut self, i: u32) {
        let Some(node) = self.descriptors.get_mut(i as usize).filter(|node| node.refs > 0) else {
            self.stats.misuse += 1;
            return;
        };
        node.refs -= 1;
        self.holds -= 1;
        if node.refs == 0 && (self.ref_waiters || node.has(flag::PARKED)) {
            self.last_release(i);
        }
    }

    #[cold]
    pub(super) fn last_release(&mut self, i: u32) {
        self.settle(i);
        self.recheck_references();
    }

    /// Has those look again who wait for references: some may not concern them.
    pub fn recheck_references(&mut self) {
        if self.ref_waiters {
            self.ref_waiters = false;
            self.notify_waiters();
        }
    }

    /// Lets those use a mapped range who do it without the lock. Only where newcomers may enter it.
    #[inline]
    pub(super) fn open(&mut self, i: u32) {
        let node = &self.descriptors[i as usize];
        // The first use of what was mapped ahead is noted under the lock.
        if node.state == State::Mapped && node.has(flag::KEYED) && !node.has(flag::AHEAD) {
            let writable = if node.has(flag::WRITABLE) { entry::WRITABLE } else { 0 };
            let dirty = if node.has(flag::DIRTY) { entry::DIRTY } else { 0 };
            self.entries[i as usize].open(writable | dirty);
        }
    }

    /// Whether somebody uses a range without the lock. From now on nobody enters it that way, until it is hit under the lock
    /// again; who uses it moves the event counter at the end of that.
    pub(super) fn is_used(&mut self, i: u32) -> bool {
        marks::close(&self.entries[i as usize].word);
        let seq = self.shared.seq();
        let used = marks::is_used(self.shared.slots().iter().map(|slot| &slot.mark), i);
        if used {
            self.used_since.get_or_insert(seq);
        }
        used
    }

    /// How a range was used lately.
    pub(super) fn uses(&self, i: u32) -> Uses {
        self.entries[i as usize].uses()
    }

    fn unlocked_hits(&self) -> u64 {
        self.shared.slots().iter().map(|slot| slot.hits()).sum()
    }

    /// All accesses, those without the lock too.
    pub(super) fn accesses(&self) -> u64 {
        self.stats.accesses + self.unlocked_hits()
    }

    /// Says what those have to know who hit without the lock, whenever it may have changed.
    pub(super) fn show_policy(&self) {
        let followed = if self.stats.evictions > 0 { self.placement.followed() } else { 0 };
        self.shared.set_policy(followed, self.guard.watched_epoch());
    }

    /// Puts a mapped range on the eviction queue if nothing speaks against it any more.
    pub(super) fn settle(&mut self, i: u32) {
        let node = &mut self.descriptors[i as usize];
        if node.state == State::Mapped && node.refs == 0 && node.has(flag::PARKED) && !node.has(flag::WRITEBACK) {
            self.enqueue(i);
        }
    }

    /// Puts a mapped range that is in no list on the eviction queue. It may be referenced: the eviction parks it then.
    pub(super) fn enqueue(&mut self, i: u32) {
        let node = &mut self.descriptors[i as usize];
        node.clear(flag::PARKED);
        if node.has(flag::ASIDE) && !node.has(flag::PINNED) {
            // Nobody will come for it any more.
            return self.queue.push_front(&mut self.descriptors, i);
        }
        let list = if node.has(flag::NEWCOMER) { &mut self.newcomers } else { &mut self.queue };
        list.push_back(&mut self.descriptors, i);
    }

    /// Takes a mapped range off the eviction queue if it is on it.
    pub(super) fn park(&mut self, i: u32) {
        let node = &mut self.descriptors[i as usize];
        if !node.has(flag::PARKED) {
            node.set(flag::PARKED);
            let list = if node.has(flag::NEWCOMER) { &mut self.newcomers } else { &mut self.queue };
            list.unlink(&mut self.descriptors, i);
        }
    }

    pub(super) fn set_state(&mut self, i: u32, state: State) {
        let node = &mut self.descriptors[i as usize];
        self.counts[node.state as usize] -= 1;
        self.counts[state as usize] += 1;
        node.state = state;
    }

    /// Gives range `i` its key and enters it into index and tree. `near` is a guess at the range that directly precedes
    /// it (the one that its stream used last), which spares the tree's search when it is right.
    pub(super) fn enter(&mut self, i: u32, file: u64, chunk: u64, near: u32) {
        let beside = match self.descriptors.get(near as usize) {
            // Neighbours by chunk need not be neighbours in the tree.
            _ if self.stats.aside > 0 => Beside::Unknown,
            Some(node)
                if chunk.checked_sub(1).is_some_and(|before| self.entries[near as usize].key() == (file, before))
                    && node.has(flag::KEYED) =>
            {
                Beside::After(near)
            }
            _ => self.beside(file, chunk),
        };
        self.entries[i as usize].set_key(file, chunk);
        self.descriptors[i as usize].set(flag::KEYED);
        self.index.insert(&self.entries, i);
        self.tree.insert(&mut self.descriptors, &self.entries, i, beside);
    }

    /// A chunk's neighbour in the tree, if the chunk before or after it has a range. Two look-ups cost less than a search
    /// from the root, each level of which is a branch that cannot be predicted and, in a large window, a cache miss.
    pub(super) fn beside(&self, file: u64, chunk: u64) -> Beside {
        let find = |chunk: Option<u64>| chunk.map_or(NIL, |chunk| self.index.find(&self.entries, file, chunk));
        match (find(chunk.checked_sub(1)), find(chunk.checked_add(1))) {
            (NIL, NIL) => Beside::Unknown,
            (NIL, after) => Beside::Before(after),
            (before, _) => Beside::After(before),
        }
    }

    /// Takes range `i` out of index and tree; the key stays readable.
    pub(super) fn leave(&mut self, i: u32) {
        if self.descriptors[i as usize].has(flag::KEYED) {
            self.descriptors[i as usize].clear(flag::KEYED);
            self.index.remove(&self.entries, i);
            self.tree.remove(&mut self.descriptors, i);
        } else if self.descriptors[i as usize].has(flag::ASIDE) {
            self.descriptors[i as usize].clear(flag::ASIDE);
            self.tree.remove(&mut self.descriptors, i);
            self.stats.aside -= 1;
        }
    }

    /// Frees a range that is in no list; `unclean` when the host may still have a mapping there that can be replaced, which is
    /// no longer than the range's length says.
    pub(super) fn free_range(&mut self, i: u32, unclean: bool) {
        self.leave(i);
        self.count_wasted(i);
        if self.descriptors[i as usize].has(flag::DOOMED) {
            if !self.descriptors[i as usize].has(flag::ANSWERED) {
                return self.retire(i);
            }
            return self.quarantine(i);
        }
        self.settle_reach(i);
        self.set_state(i, State::Free);
        let node = &mut self.descriptors[i as usize];
        node.flags = 0;
        if unclean {
            node.set(flag::UNCLEAN);
            self.unclean.push_back(&mut self.descriptors, i);
        } else {
            self.entries[i as usize].set_pages(0);
            self.free.push_back(&mut self.descriptors, i);
        }
    }

    /// Takes a range that is in no list out of use, for good unless an answer is awaited that says what became of it.
    pub(super) fn retire(&mut self, i: u32) {
        self.leave(i);
        self.settle_reach(i);
        self.set_state(i, State::Retired);
        self.descriptors[i as usize].flags &= flag::LOST | flag::LOST_TWO | flag::MIXED;
    }

    /// Deals with a range, in no list, about whose mapping nothing is known.
    pub(super) fn quarantine(&mut self, i: u32) {
        self.leave(i);
        self.settle_answer(i);
        match self.config.host.overlap {
            Overlap::Replace => self.free_range(i, true),
            Overlap::Refuse => {
                self.set_state(i, State::Suspect);
                self.suspects.push_back(&mut self.descriptors, i);
            }
        }
    }

    /// The answer that a range waited for came while it was being removed: what is sent from now on comes after both.
    pub(super) fn settle_answer(&mut self, i: u32) {
        if self.descriptors[i as usize].has(flag::ANSWERED) {
            self.descriptors[i as usize].clear(flag::DOOMED | flag::ANSWERED);
        }
    }

    /// Ranges that a new mapping can use at once.
    pub(super) fn free_len(&self) -> u32 {
        self.free.len + self.unclean.len
    }

    pub(super) fn count_wasted(&mut self, i: u32) {
        if self.descriptors[i as usize].has(flag::AHEAD) {
            self.descriptors[i as usize].clear(flag::AHEAD);
            self.stats.ahead_wasted += 1;
        }
    }

    pub(super) fn window_offset(&self, i: u32) -> WindowOffset {
        WindowOffset(u64::from(i) << self.config.range_shift)
    }

    pub(super) fn file_offset(&self, i: u32) -> FileOffset {
        FileOffset(self.entries[i as usize].key().1 << self.config.range_shift)
    }

    pub(super) fn mapped_len(&self, i: u32) -> u64 {
        u64::from(self.entries[i as usize].pages()) * PAGE_SIZE
    }

    pub(super) fn file(&self, i: u32) -> FileKey {
        FileKey(self.entries[i as usize].key().0)
    }

    /// Takes a slot for a ticket.
    pub(super) fn claim(&mut self, kind: SlotUse) -> Option<Claim> {
        let word = self.slots_used.iter().position(|word| *word != u32::MAX)?;
        let bit = self.slots_used[word].trailing_ones();
        self.slots_used[word] |= 1 << bit;
        let slot = (word as u32 * 32 + bit) as u8;
        self.slots[usize::from(slot)] = Slot { kind, list: List::EMPTY, stamp: self.demand.setups };
        let shared = self.spare.take().unwrap_or_else(|| self.shared.clone());
        Some(Claim { shared: Some(shared), slot })
    }

    /// Gives the slot of a ticket free that has no ranges any more.
    pub(super) fn free_slot(&mut self, slot: u8) {
        self.slots[usize::from(slot)].kind = SlotUse::Unused;
        self.slots_used[usize::from(slot) / 32] &= !(1 << (slot % 32));
        self.notify_waiters();
    }

    /// Ends a ticket that has no ranges any more; its claim does nothing when it is dropped.
    pub(super) fn close(&mut self, claim: &mut Claim) {
        self.spare = claim.shared.take();
        self.free_slot(claim.slot);
    }

    /// Moves the event counter if there is a waiter since it last moved.
    pub(super) fn notify_waiters(&mut self) {
        if self.has_waiters {
            self.has_waiters = false;
            self.shared.bump();
        }
    }

    /// Notes a ticket of another window; it is dropped, which its own window sees.
    pub(super) fn ours(&mut self, claim: &Claim) -> bool {
        let ours = claim.belongs_to(&self.shared);
        if !ours {
            self.stats.misuse += 1;
        }
        ours
    }

    pub(super) fn wait(&mut self, reason: WaitReason) -> Wait {
        self.stats.waits[reason as usize] += 1;
        if matches!(reason, WaitReason::References) {
            self.ref_waiters = true;
        }
        self.has_waiters = true;
        Wait { seq: self.used_since.take().unwrap_or_else(|| self.shared.seq()), reason }
    }

    pub(super) fn around(&mut self, reason: Bypass) -> Bypass {
        self.stats.arounds[reason as usize] += 1;
        reason
    }

    /// Deals with a range, in no list, about whose mapping nothing is known, and which may still owe something: then it
    /// keeps its key, so that its chunk stays closed until a further ticket has seen to page tables and stores.
    pub(super) fn doubt(&mut self, i: u32) {
        if self.descriptors[i as usize].has(flag::INSTALLED | flag::DIRTY) {
            self.suspect(i);
        } else {
            self.quarantine(i);
        }
    }

    /// Makes a range that is in no list a suspect.
    pub(super) fn suspect(&mut self, i: u32) {
        self.settle_answer(i);
        self.set_state(i, State::Suspect);
        self.suspects.push_back(&mut self.descriptors, i);
    }

    /// How many bytes of a range in use the host may have mapped.
    pub(super) fn reach(&self, i: u32) -> u64 {
        if self.descriptors[i as usize].has(flag::LONGER) { self.range_size() } else { self.mapped_len(i) }
    }

    /// The host may have mapped so many pages of a range of which fewer can be used.
    pub(super) fn may_be_longer(&mut self, i: u32, pages: u32) {
        if pages > self.entries[i as usize].pages() {
            self.descriptors[i as usize].set(flag::LONGER);
        }
    }

    /// Makes the length of a range that goes out of use that of what the host may have mapped.
    fn settle_reach(&mut self, i: u32) {
        if self.descriptors[i as usize].has(flag::LONGER) {
            self.descriptors[i as usize].clear(flag::LONGER);
            self.entries[i as usize].set_pages((self.range_size() / PAGE_SIZE) as u32);
        }
    }

    pub(super) fn removal_done(&mut self, slot: u8) {
        self.demand.removal_done(self.slots[usize::from(slot)].stamp);
    }
}
