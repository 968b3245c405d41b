//! Making room: which range goes next, how many at a time, and how many are kept free.

use super::demand::newcomers_kept;
use super::{SlotUse, Window};
use crate::access::{Access, Bypass, Purpose, Request, WaitReason};
use crate::config::Overlap;
use crate::descriptor::{NIL, State, flag};
use crate::entry::Uses;
use crate::slots::SLOTS;
use crate::ticket::RemoveTicket;
use fs_dax::PAGE_SIZE;

/// How many recently visited ranges the hand may pass over in one call before it takes the next one regardless.
const MAX_SPARED: u32 = 64;

impl Window {
    /// A step of background reclaim: ranges to remove now so that later callers find free ones, or `None` when there
    /// are enough. Call it when there is time, best right after an access that was answered by a set-up or an eviction;
    /// until it says `None`, or what it said could not be carried out.
    pub fn reclaim_step(&mut self) -> Option<RemoveTicket> {
        self.absorb_dropped();
        if self.suspects.head != NIL {
            return self.suspect_ticket(self.suspects.head);
        }
        let target = self.demand.target(self.len, self.accesses(), &self.config.reclaim);
        let coming = self.free_len() + self.counts[State::Removing as usize];
        // Not for each single one: when half is gone.
        if coming > target / 2 || target == 0 {
            return None;
        }
        let ticket = self.victims_ticket(target - coming)?;
        self.stats.reclaim_batches += 1;
        Some(ticket)
    }

    /// Whether no range can be used again without a removal.
    pub(super) fn is_spent(&self) -> bool {
        self.free_len() == 0 && self.queue.head == NIL && self.newcomers.head == NIL
    }

    /// A range for a new mapping of so many bytes, and how many pages of it are mapped: a free one, or one that can be mapped
    /// over. Of a mapping that is longer the host would keep the rest.
    pub(super) fn take_range(&mut self, len: u64) -> Option<(u32, u32)> {
        if let Some(i) = self.free.pop_front(&mut self.descriptors) {
            return Some((i, 0));
        }
        if self.config.host.overlap != Overlap::Replace {
            return None;
        }
        let unclean = self.unclean.head;
        if unclean != NIL && self.mapped_len(unclean) <= len {
            self.unclean.unlink(&mut self.descriptors, unclean);
            return Some((unclean, self.entries[unclean as usize].pages()));
        }
        let i = self.peek_victim()?;
        let kept = flag::DIRTY | flag::INSTALLED | flag::DOOMED | flag::PINNED;
        if self.descriptors[i as usize].has(kept) || self.reach(i) > len {
            return None;
        }
        let replaced = (self.reach(i) / PAGE_SIZE) as u32;
        self.park(i);
        self.count_eviction(i);
        self.leave(i);
        self.count_wasted(i);
        Some((i, replaced))
    }

    /// Nothing is free: removals, or why there are none.
    pub(super) fn make_room(&mut self, req: &Request, wanted: u32) -> Access {
        self.demand.stalled(self.len / self.config.reclaim.max_share.max(1), &self.config.reclaim);
        let target = self.demand.target(self.len, self.accesses(), &self.config.reclaim);
        if let Some(ticket) = self.victims_ticket(wanted + target) {
            return Access::Evict(ticket);
        }
        // What is free but unclean is mapped further than is wanted now.
        let doubtful = if self.suspects.head != NIL { self.suspects.head } else { self.unclean.head };
        if doubtful != NIL {
            return self.retry_suspect(doubtful);
        }
        if self.counts[State::Removing as usize] > 0 {
            return Access::Wait(self.wait(WaitReason::Removal));
        }
        if self.counts[State::Retired as usize] == self.len {
            return Access::Bypass(self.around(Bypass::NoCapacity));
        }
        match req.purpose {
            Purpose::Copy => Access::Bypass(self.around(Bypass::Busy)),
            Purpose::Map | Purpose::Fault => Access::Wait(self.wait(WaitReason::References)),
        }
    }

    /// The range that would be evicted next, left where it is.
    ///
    /// Newcomers go first while there are more of them than a few: those few are what streams are just using.
    /// The hand goes round like a clock's. A range that is in use leaves the queue until its last reference is dropped,
    /// so that the hand meets it at most once for each reference taken; one that was visited loses a visit and goes to
    /// the end.
    pub(super) fn peek_victim(&mut self) -> Option<u32> {
        let (mut spared, mut used) = (0, 0);
        loop {
            let few = if self.placement.newest_first() { newcomers_kept(self.len) } else { 0 };
            let i =
                if self.newcomers.len > few || self.queue.head == NIL { self.newcomers.head } else { self.queue.head };
            if i == NIL {
                return None;
            }
            self.stats.hand_steps += 1;
            let visited = self.uses(i);
            if self.descriptors[i as usize].refs > 0 {
                self.park(i);
            } else if visited.visits > 0 && spared < MAX_SPARED {
                self.entries[i as usize].set_uses(Uses { visits: visited.visits - 1, ..visited });
                spared += 1;
                self.move_to_end(i);
            } else if !self.is_used(i) {
                return Some(i);
            } else {
                // A copy is under way, which is over when the hand comes round.
                used += 1;
                if used > SLOTS {
                    return None;
                }
                self.move_to_end(i);
            }
        }
    }

    /// Moves a range that is on the eviction queue to its end.
    fn move_to_end(&mut self, i: u32) {
        self.park(i);
        self.descriptors[i as usize].clear(flag::PARKED | flag::NEWCOMER);
        self.queue.push_back(&mut self.descriptors, i);
    }

    /// A ticket for the removal of up to `wanted` victims.
    fn victims_ticket(&mut self, wanted: u32) -> Option<RemoveTicket> {
        let most = wanted.min(self.config.max_batch as u32).min((self.len / 4).max(1));
        let first = self.peek_victim()?;
        let claim = self.claim(SlotUse::Remove)?;
        let mut ticket = RemoveTicket { claim, len: 0, retry: false };
        let mut next = Some(first);
        while let Some(i) = next {
            self.count_eviction(i);
            self.begin_remove(&mut ticket, i);
            next = if u32::from(ticket.len) < most { self.peek_victim() } else { None };
        }
        self.stats.batches += 1;
        Some(ticket)
    }

    fn count_eviction(&mut self, i: u32) {
        self.stats.evictions += 1;
        let node = &self.descriptors[i as usize];
        if node.has(flag::RANDOM) {
            self.guard.sample(self.uses(i).served);
        }
        self.show_policy();
    }
}
