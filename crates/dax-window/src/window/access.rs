//! The question that everything starts with.

use super::demand::newcomers_kept;
use super::{SlotUse, Window};
use crate::access::{Access, Bypass, Intent, Purpose, RangeRef, Request, WaitReason};
use crate::config::{Overlap, Upgrade};
use crate::descriptor::{NIL, State, flag};
use crate::entry::Uses;
use crate::guard::Guard;
use crate::stream::{Step, Stream};
use crate::ticket::{SetupTicket, Wanted};
use crate::units::MAX_AHEAD;
use crate::units::{FileOffset, RangeIndex, WindowOffset};
use fs_dax::{FileKey, PAGE_SIZE};

/// Why it was no plain hit: what there is instead of one.
struct Miss {
    step: Step,
    found: u32,
}

/// A request, cut to one chunk.
#[derive(Clone, Copy)]
struct Cut<'r> {
    req: &'r Request,
    chunk: u64,
    within: u64,
}

impl Cut<'_> {
    /// How many bytes of the chunk the host can map.
    #[inline]
    fn mappable(&self, shift: u32) -> u64 {
        let start = self.chunk << shift;
        (self.req.mappable_end.0 & !(PAGE_SIZE - 1)).saturating_sub(start).min(1 << shift)
    }
}

impl Window {
    /// Asks for bytes of a file in the window. `stream` belongs to the open file (or the mapping) that asks.
    pub fn access(&mut self, stream: &mut Stream, req: &Request) -> Access {
        match self.look(stream, req) {
            Ok(hold) => Access::Hit(hold),
            Err(miss) => self.no_hit(stream, req, miss),
        }
    }

    /// The way of most accesses, without the others: a hold if [`Window::access`] would answer with a hit at once, and
    /// otherwise `None`; then ask there. It takes a third off the time of a hit, since nothing large is returned.
    #[inline]
    pub fn hit(&mut self, stream: &mut Stream, req: &Request) -> Option<RangeRef> {
        self.look(stream, req).ok()
    }

    /// Looks for a mapping that serves the request as it is. What else is there to be done can be asked again: a stream
    /// takes the same question for one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a hold that is built where it is used need not go through memory")]
    fn look(&mut self, stream: &mut Stream, req: &Request) -> Result<RangeRef, Miss> {
        let offset = req.offset.0;
        let chunk = offset >> self.config.range_shift;
        let step = stream.observe(&self.config.read_ahead, req.file.0, chunk, offset, req.len);
        if step.visit && self.stats.evictions > 0 {
            self.placement.visit(self.index.hash(req.file.0, chunk));
        }
        let found = self.find(stream.hint, req.file, chunk);
        let Some(node) = self.descriptors.get(found as usize) else { return Err(Miss { step, found }) };
        let start = chunk << self.config.range_shift;
        let end = start.saturating_add(self.mapped_len(found)).min(req.mappable_end.0 & !(PAGE_SIZE - 1));
        let len = end.saturating_sub(offset).min(req.len);
        let needed = if req.intent == Intent::Write { flag::WRITABLE } else { 0 };
        let allowed = node.state == State::Mapped && node.flags & needed == needed;
        if len == 0 || !allowed || !self.freezes.is_empty() || self.draining {
            return Err(Miss { step, found });
        }
        stream.hint = found;
        self.stats.accesses += 1;
        self.stats.hits += 1;
        let mut hold = self.hold(found, offset - start, len, needed != 0, step.visit);
        if step.visit && step.sequential {
            hold.ahead = self.is_ahead_due(stream, req);
        }
        self.open(found);
        Ok(hold)
    }

    #[inline]
    fn find(&self, hint: u32, file: FileKey, chunk: u64) -> u32 {
        match self.descriptors.get(hint as usize) {
            Some(node) if node.has(flag::KEYED) && self.entries[hint as usize].key() == (file.0, chunk) => hint,
            _ => self.index.find(&self.entries, file.0, chunk),
        }
    }

    /// Everything but a plain hit.
    #[inline(never)]
    fn no_hit(&mut self, stream: &mut Stream, req: &Request, miss: Miss) -> Access {
        let Miss { step, mut found } = miss;
        self.used_since = None;
        self.stats.accesses += 1;
        let shift = self.config.range_shift;
        let cut = Cut { req, chunk: req.offset.0 >> shift, within: req.offset.0 & ((1 << shift) - 1) };
        if self.shared.any_dropped() {
            self.absorb_dropped();
            found = self.index.find(&self.entries, req.file.0, cut.chunk);
        }
        let mappable = cut.mappable(self.config.range_shift);
        if mappable <= cut.within || req.len == 0 {
            return Access::Bypass(self.around(Bypass::NotMappable));
        }
        if self.draining {
            return Access::Bypass(self.around(Bypass::Draining));
        }
        if self.freezes.covers(req.file, cut.chunk) {
            return Access::Wait(self.wait(WaitReason::Frozen));
        }
        if found == NIL {
            self.stats.misses += 1;
            return self.absent(stream, step, cut);
        }
        stream.hint = found;
        let write = req.intent == Intent::Write;
        let end = self.mapped_len(found).min(mappable);
        let node = &self.descriptors[found as usize];
        let allowed = cut.within < end && (!write || node.has(flag::WRITABLE));
        match node.state {
            State::Mapped if allowed => self.late_hit(found, step, cut, end),
            State::Upgrading if allowed && self.config.host.upgrade == Upgrade::Atomic => {
                self.late_hit(found, step, cut, end)
            }
            State::Mapped => {
                self.stats.misses += 1;
                self.upgrade(stream, step, found, cut)
            }
            State::SettingUp | State::Upgrading => Access::Wait(self.wait(WaitReason::Setup)),
            State::Removing => Access::Wait(self.wait(WaitReason::Removal)),
            State::Suspect => {
                self.stats.misses += 1;
                self.retry_suspect(found)
            }
            // Neither is in the index.
            State::Free | State::Retired => Access::Bypass(self.around(Bypass::Busy)),
        }
    }

    fn late_hit(&mut self, i: u32, step: Step, cut: Cut<'_>, end: u64) -> Access {
        self.stats.hits += 1;
        let write = cut.req.intent == Intent::Write;
        Access::Hit(self.hold(i, cut.within, cut.req.len.min(end - cut.within), write, step.visit))
    }

    /// Takes a reference to `len` mapped bytes of a range.
    #[inline]
    pub(super) fn hold(&mut self, i: u32, within: u64, len: u64, write: bool, visit: bool) -> RangeRef {
        let shift = self.config.range_shift;
        let node = &mut self.descriptors[i as usize];
        node.refs += 1;
        let ahead = node.has(flag::AHEAD);
        if ahead {
            // The use that it was set up for is no second visit.
            node.clear(flag::AHEAD);
            self.stats.ahead_used += 1;
        }
        let entry = &self.entries[i as usize];
        entry.count_use(self.guard.watched_epoch(), visit && !ahead);
        if write {
            node.set(flag::DIRTY);
        }
        self.holds += 1;
        RangeRef {
            range: RangeIndex(i),
            window_offset: WindowOffset(u64::from(i) << shift | within),
            file_offset: FileOffset(entry.key().1 << shift | within),
            len,
            writable: node.has(flag::WRITABLE),
            ahead: false,
        }
    }

    /// The chunk is mapped, but read-only or too short.
    #[cold]
    fn upgrade(&mut self, stream: &mut Stream, step: Step, i: u32, cut: Cut<'_>) -> Access {
        let req = cut.req;
        if self.refusals.refuses(req.file.0, req.wants_writable()) {
            return Access::Bypass(self.around(Bypass::Refused));
        }
        let node = &self.descriptors[i as usize];
        if node.has(flag::WRITEBACK) {
            return Access::Wait(self.wait(WaitReason::Writeback));
        }
        let (held, installed) = (node.refs > 0 || node.has(flag::PINNED), node.has(flag::INSTALLED));
        // An earlier request to widen it may still be carried out, after the one that this would be.
        let rule = if node.has(flag::DOOMED) { Upgrade::Remove } else { self.config.host.upgrade };
        let busy = self.is_used(i) || held;
        if rule != Upgrade::Atomic && busy {
            return match req.purpose {
                Purpose::Copy => Access::Bypass(self.around(Bypass::Busy)),
                // Whoever holds it may keep it for long. Both show the host's one copy of the bytes.
                Purpose::Map | Purpose::Fault => match if self.free_len() > 0 { Some(NIL) } else { self.peek_victim() }
                {
                    // Nothing but pinned pages may keep it, and there is no other: whether they do is asked again.
                    Some(victim) if victim == i => self.evict_exactly(i),
                    Some(_) => {
                        self.set_aside(i);
                        stream.hint = NIL;
                        self.absent(stream, step, cut)
                    }
                    None => Access::Wait(self.wait(WaitReason::References)),
                },
            };
        }
        if rule == Upgrade::Remove || (rule == Upgrade::Quiesce && installed) {
            return self.evict_exactly(i);
        }
        let Some(claim) = self.claim(SlotUse::Setup) else {
            return Access::Wait(self.wait(WaitReason::Tickets));
        };
        let writable = req.wants_writable() || self.descriptors[i as usize].has(flag::WRITABLE);
        let wanted = Wanted { within: cut.within, len: req.len, write: req.intent == Intent::Write };
        let mut ticket = SetupTicket::new(claim, req.file, Some(wanted), writable);
        self.park(i);
        self.set_state(i, State::Upgrading);
        let len = self.chunk_len(req, cut.chunk).max(self.mapped_len(i));
        ticket.widened = (len / PAGE_SIZE) as u32;
        self.add_entry(&mut ticket, i, 0);
        self.stats.upgrades += 1;
        Access::Setup(ticket)
    }

    fn evict_exactly(&mut self, i: u32) -> Access {
        match self.remove_exactly(i) {
            Some(ticket) => Access::Evict(ticket),
            None => Access::Wait(self.wait(WaitReason::Tickets)),
        }
    }

    /// The chunk has no range.
    #[inline]
    fn absent(&mut self, stream: &mut Stream, step: Step, cut: Cut<'_>) -> Access {
        let req = cut.req;
        if self.refusals.refuses(req.file.0, req.wants_writable()) {
            return Access::Bypass(self.around(Bypass::Refused));
        }
        let random = req.purpose == Purpose::Copy && !step.sequential && self.guard.small(req.len);
        if self.free_len() == 0 && random && self.guarded(req.file, cut.chunk) {
            return Access::Bypass(self.around(Bypass::Guard));
        }
        // What the request itself goes on to need is no guess.
        let needed = ((cut.within.saturating_add(req.len) - 1) >> self.config.range_shift).min(MAX_AHEAD as u64) as u32;
        let ahead = if step.sequential { stream.ahead(&self.config.read_ahead).max(needed) } else { needed };
        if self.free_len() == 0 && self.config.host.overlap == Overlap::Refuse || self.is_spent() {
            return self.make_room(req, 1 + ahead);
        }
        let Some(mut claim) = self.claim(SlotUse::Setup) else {
            return Access::Wait(self.wait(WaitReason::Tickets));
        };
        let Some((i, replaced)) = self.take_range(self.chunk_len(req, cut.chunk)) else {
            self.close(&mut claim);
            return self.make_room(req, 1 + ahead);
        };
        let wanted = Wanted { within: cut.within, len: req.len, write: req.intent == Intent::Write };
        // Made where it will be returned, since it is large.
        let mut answer = Access::Setup(SetupTicket::new(claim, req.file, Some(wanted), req.wants_writable()));
        if let Access::Setup(ticket) = &mut answer {
            self.begin_setup(ticket, i, req, (cut.chunk, stream.hint), replaced);
            if random {
                self.descriptors[i as usize].set(flag::RANDOM);
            }
            stream.hint = i;
            if ahead > 0 {
                self.add_ahead(ticket, stream, req, ahead);
            }
        }
        answer
    }

    /// Sets up mappings ahead of a stream whose last hold said [`RangeRef::wants_read_ahead`]. Nobody needs to wait for it:
    /// submit it, and report when the replies come. `req` is the request of that access.
    pub fn read_ahead(&mut self, stream: &mut Stream, req: &Request) -> Option<SetupTicket> {
        self.absorb_dropped();
        let ahead = stream.ahead(&self.config.read_ahead);
        if ahead == 0 || self.draining || !self.has_room() {
            return None;
        }
        let claim = self.claim(SlotUse::Setup)?;
        let mut ticket = SetupTicket::new(claim, req.file, None, req.wants_writable());
        self.add_ahead(&mut ticket, stream, req, ahead);
        if ticket.is_empty() {
            self.close(&mut ticket.claim);
            return None;
        }
        Some(ticket)
    }

    /// Whether the chunk some way ahead of the present one lacks a mapping although the stream goes on.
    fn is_ahead_due(&self, stream: &Stream, req: &Request) -> bool {
        let ahead = stream.ahead(&self.config.read_ahead);
        ahead > 0
            && self.has_room()
            && stream.nth(ahead.div_ceil(2)).is_some_and(|next| {
                self.chunk_len(req, next) > 0 && self.index.find(&self.entries, req.file.0, next) == NIL
            })
    }

    /// Whether a range can be had without a removal.
    fn has_room(&self) -> bool {
        self.free_len() > 0 || (self.config.host.overlap == Overlap::Replace && !self.is_spent())
    }

    fn add_ahead(&mut self, ticket: &mut SetupTicket, stream: &Stream, req: &Request, ahead: u32) {
        // What is ahead must not push out what was set up ahead just before.
        let most = ahead.min(newcomers_kept(self.len)).min(self.len - 1);
        let mut near = stream.hint;
        for n in 1..=most {
            let Some(chunk) = stream.nth(n) else { break };
            let len = self.chunk_len(req, chunk);
            if len == 0 || self.freezes.covers(req.file, chunk) {
                break;
            }
            let there = self.index.find(&self.entries, req.file.0, chunk);
            if there != NIL {
                near = there;
                continue;
            }
            let Some((i, replaced)) = self.take_range(len) else { break };
            self.begin_setup(ticket, i, req, (chunk, near), replaced);
            near = i;
            self.descriptors[i as usize].set(flag::AHEAD);
            self.stats.ahead_issued += 1;
        }
    }

    /// Starts setting up range `i`, in no list and without a key, for a chunk that may follow on that of range `near`, over a
    /// mapping of `replaced` pages if that is not 0.
    #[inline]
    fn begin_setup(
        &mut self,
        ticket: &mut SetupTicket,
        i: u32,
        req: &Request,
        (chunk, near): (u64, u32),
        replaced: u32,
    ) {
        self.set_state(i, State::SettingUp);
        let newest_first = self.placement.place_newest_first();
        let len = self.chunk_len(req, chunk);
        let node = &mut self.descriptors[i as usize];
        node.flags = if newest_first { flag::NEWCOMER } else { 0 };
        self.entries[i as usize].set_uses(Uses::default());
        self.entries[i as usize].set_pages((len / PAGE_SIZE) as u32);
        self.enter(i, req.file.0, chunk, near);
        self.add_entry(ticket, i, replaced);
        self.demand.setup(self.accesses());
    }

    #[inline]
    fn add_entry(&mut self, ticket: &mut SetupTicket, i: u32, replaced: u32) {
        self.slots[usize::from(ticket.claim.slot)].list.push_back(&mut self.descriptors, i);
        ticket.push(i, replaced);
        self.stats.setups += 1;
        self.stats.replacements += u64::from(replaced > 0);
    }

    /// How many bytes of a chunk can be mapped: whole pages.
    fn chunk_len(&self, req: &Request, chunk: u64) -> u64 {
        let shift = self.config.range_shift;
        if chunk > u64::MAX >> shift {
            return 0;
        }
        (req.mappable_end.0 & !(PAGE_SIZE - 1)).saturating_sub(chunk << shift).min(1 << shift)
    }

    /// Whether the guard sends a small random access round the window.
    fn guarded(&mut self, file: FileKey, chunk: u64) -> bool {
        if !self.guard.tripped {
            return false;
        }
        let hash = self.index.hash(file.0, chunk);
        let home = self.index.bucket(hash);
        let count = self.guard.count(&mut self.descriptors[home as usize], hash);
        self.show_policy();
        if !self.guard.earns(count, 0) {
            return true;
        }
        let victims = self.peek_victim().map_or(u8::MAX, |i| {
            let uses = self.uses(i);
            Guard::aged(uses.recent, uses.epoch, self.guard.epoch)
        });
        !self.guard.earns(count, victims)
    }
}
