//! Removals: what goes, and how it went.

use super::{SlotUse, Window};
use crate::access::{Access, WaitReason};
use crate::config::Overlap;
use crate::descriptor::{NIL, State, flag};
use crate::ticket::{Cursor, CursorAt, Outcome, RemoveEntry, RemoveTicket};
use crate::units::RangeIndex;

impl Window {
    /// The next range of a ticket. The lock may be dropped between two calls.
    pub fn remove_entry(&self, ticket: &RemoveTicket, cursor: &mut Cursor) -> Option<RemoveEntry> {
        if !ticket.claim.belongs_to(&self.shared) {
            return None;
        }
        let i = self.next_in_slot(ticket.claim.slot, cursor)?;
        let node = &self.descriptors[i as usize];
        Some(RemoveEntry {
            range: RangeIndex(i),
            window_offset: self.window_offset(i),
            len: self.reach(i),
            file: self.file(i),
            file_offset: self.file_offset(i),
            installed: node.has(flag::INSTALLED),
            dirty: node.has(flag::DIRTY),
        })
    }

    /// All ranges of a ticket.
    pub fn remove_entries<'a>(&'a self, ticket: &'a RemoveTicket) -> impl Iterator<Item = RemoveEntry> + 'a {
        let mut cursor = Cursor::default();
        core::iter::from_fn(move || self.remove_entry(ticket, &mut cursor))
    }

    pub(super) fn next_in_slot(&self, slot: u8, cursor: &mut Cursor) -> Option<u32> {
        let next = match cursor.0 {
            CursorAt::Start => self.slots[usize::from(slot)].list.head,
            CursorAt::After(i) => self.descriptors.get(i as usize)?.next,
        };
        if next == NIL {
            return None;
        }
        cursor.0 = CursorAt::After(next);
        Some(next)
    }

    /// Reports a removal: every entry was taken out of the page tables, what was dirty was written back (or remembered
    /// by its file), and this is how the server's answer was. Returns how many ranges are free now.
    ///
    /// [`Outcome::Refused`] and [`Outcome::Unknown`] of a batch say nothing about a single range: on a host that
    /// replaces they will be mapped over, on others each is removed once more by itself and retired if that fails too.
    pub fn complete_remove(&mut self, mut ticket: RemoveTicket, outcome: Outcome) -> usize {
        self.absorb_dropped();
        if !self.ours(&ticket.claim) {
            return 0;
        }
        let slot = ticket.claim.slot;
        let mut freed = 0;
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.descriptors) {
            // The embedder has unmapped and written back: neither is owed any more.
            self.descriptors[i as usize].clear(flag::INSTALLED | flag::DIRTY);
            self.count_wasted(i);
            match outcome {
                Outcome::Done => {
                    self.stats.removals += 1;
                    self.free_range(i, false);
                    freed += usize::from(self.descriptors[i as usize].state == State::Free);
                }
                Outcome::Lost => self.lost_removal(i),
                Outcome::Refused(_) | Outcome::Unknown => {
                    self.stats.removals_failed += 1;
                    let strict = self.config.host.overlap == Overlap::Refuse;
                    let in_tree = self.descriptors[i as usize].has(flag::IN_TREE);
                    let last = (ticket.retry && strict) || ((ticket.retry || self.draining) && !in_tree);
                    if last {
                        self.retire(i);
                    } else {
                        self.quarantine(i);
                        freed += usize::from(self.descriptors[i as usize].state == State::Free);
                    }
                }
            }
        }
        self.removal_done(slot);
        self.close(&mut ticket.claim);
        freed
    }

    /// Retires a range, in no list, whose removal may still be executed at any time.
    pub(super) fn lost_removal(&mut self, i: u32) {
        self.descriptors[i as usize].clear(flag::INSTALLED | flag::DIRTY);
        self.count_wasted(i);
        self.stats.removals_failed += 1;
        self.retire(i);
    }

    /// Calls a removal off (a write-back failed, page tables could not be changed) before anything was sent to the
    /// server: the ranges are usable again. `unmapped` says whether *all* of them were taken out of the page tables.
    pub fn abort_remove(&mut self, ticket: RemoveTicket, unmapped: bool) {
        self.call_off(ticket, |window, i| {
            if unmapped {
                window.descriptors[i as usize].clear(flag::INSTALLED);
            }
        });
    }

    /// Calls a removal off since the embedder has pages pinned, before anything was sent to the server: all ranges are usable
    /// again. Of those of which `pinned` says so, the pages that are not pinned hinder nobody: who needs the chunk
    /// mapped otherwise gets another range, and an invalidation of other bytes passes by.
    pub fn abort_pinned(&mut self, ticket: RemoveTicket, pinned: impl Fn(RangeIndex) -> bool) {
        let retry = ticket.retry;
        self.call_off(ticket, |window, i| {
            if !retry && pinned(RangeIndex(i)) {
                window.descriptors[i as usize].set(flag::PINNED);
            }
        });
    }

    /// Calls a removal off: each range is marked, and then as usable as before.
    fn call_off(&mut self, mut ticket: RemoveTicket, mark: impl Fn(&mut Self, u32)) {
        self.absorb_dropped();
        if !self.ours(&ticket.claim) {
            return;
        }
        let slot = ticket.claim.slot;
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.descriptors) {
            self.stats.removals_aborted += 1;
            mark(self, i);
            if ticket.retry {
                self.suspect(i);
            } else {
                self.put_back(i);
            }
        }
        self.close(&mut ticket.claim);
    }

    /// Puts a range, in no list, whose removal was called off to use again.
    fn put_back(&mut self, i: u32) {
        if !self.descriptors[i as usize].has(flag::IN_TREE) {
            return self.free_range(i, true);
        }
        self.settle_answer(i);
        self.set_state(i, State::Mapped);
        self.descriptors[i as usize].set(flag::PARKED);
        self.settle(i);
    }

    /// Moves a mapped range, on the queue or parked, into a removal.
    pub(super) fn begin_remove(&mut self, ticket: &mut RemoveTicket, i: u32) {
        self.park(i);
        self.descriptors[i as usize].clear(flag::PARKED | flag::NEWCOMER);
        self.add_removal(ticket, i);
    }

    /// Moves a range that is in no list into a removal.
    pub(super) fn add_removal(&mut self, ticket: &mut RemoveTicket, i: u32) {
        self.set_state(i, State::Removing);
        self.descriptors[i as usize].clear(flag::PINNED);
        self.slots[usize::from(ticket.claim.slot)].list.push_back(&mut self.descriptors, i);
        ticket.len += 1;
    }

    /// A ticket for one mapped range.
    pub(super) fn remove_exactly(&mut self, i: u32) -> Option<RemoveTicket> {
        let claim = self.claim(SlotUse::Remove)?;
        let mut ticket = RemoveTicket { claim, len: 0, retry: false };
        self.begin_remove(&mut ticket, i);
        self.stats.batches += 1;
        Some(ticket)
    }

    pub(super) fn retry_suspect(&mut self, i: u32) -> Access {
        match self.suspect_ticket(i) {
            Some(ticket) => Access::Evict(ticket),
            None => Access::Wait(self.wait(WaitReason::Tickets)),
        }
    }

    /// A ticket for the exact removal of one suspect range, or of one that is free but unclean.
    pub(super) fn suspect_ticket(&mut self, i: u32) -> Option<RemoveTicket> {
        let claim = self.claim(SlotUse::Remove)?;
        let mut ticket = RemoveTicket { claim, len: 0, retry: true };
        let suspect = self.descriptors[i as usize].state == State::Suspect;
        let list = if suspect { &mut self.suspects } else { &mut self.unclean };
        list.unlink(&mut self.descriptors, i);
        self.add_removal(&mut ticket, i);
        self.stats.batches += 1;
        Some(ticket)
    }
}
