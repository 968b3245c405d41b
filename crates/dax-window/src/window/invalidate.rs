//! Truncation, hole punching, forgetting a file, unmount: keeping newcomers out and getting mappings out.

use super::freezes::{Freeze, InvalidateKind};
use super::{SlotUse, Window};
use crate::access::{Wait, WaitReason};
use crate::descriptor::{NIL, State, flag};
use crate::ticket::{Frozen, RemoveTicket};
use crate::tree::Tree;
use crate::units::{RangeIndex, chunks};
use fs_dax::{FileKey, FileRange};

/// How many ranges one step looks at.
const MAX_LOOKED_AT: u32 = 512;

/// How many of a range's references are for other bytes.
type Elsewhere<'e> = &'e dyn Fn(RangeIndex) -> u32;

/// What to do next in an invalidation or a drain.
#[derive(Debug)]
#[must_use = "the answer may hold a ticket"]
pub enum Step {
    /// Remove these, report, ask again.
    Remove(RemoveTicket),
    /// Others must finish first: ask again when the event counter has changed.
    Wait(Wait),
    /// Nothing is left.
    Clear,
}

impl Window {
    /// Freezes the bytes: from now on accesses to any range that shares a byte with them wait. Then call
    /// [`Window::invalidate_step`] until it says [`Step::Clear`], change the file, and [`Window::end_invalidate`].
    ///
    /// Whoever calls this must not hold a reference to these bytes: it would wait for itself.
    ///
    /// # Errors
    /// A [`Wait`] when another invalidation of these bytes is under way, or too many are.
    pub fn begin_invalidate(&mut self, file: FileKey, range: FileRange, kind: InvalidateKind) -> Result<Frozen, Wait> {
        self.absorb_dropped();
        let chunks = chunks(range, self.config.range_shift);
        if self.freezes.overlaps(file, chunks.start, chunks.end) {
            return Err(self.wait(WaitReason::Frozen));
        }
        let Some(mut claim) = self.claim(SlotUse::Freeze) else { return Err(self.wait(WaitReason::Tickets)) };
        let freeze =
            Freeze { slot: claim.slot, file, kind, start: chunks.start, end: chunks.end, clear_to: chunks.start };
        if !self.freezes.add(freeze) {
            self.close(&mut claim);
            return Err(self.wait(WaitReason::Tickets));
        }
        self.forget_refusals(file);
        Ok(Frozen { claim, file, range })
    }

    /// Has the host asked again whether it maps the file, at the next access that misses: for who has reason to think that
    /// an earlier refusal is of no importance any more.
    pub fn forget_refusals(&mut self, file: FileKey) {
        self.refusals.forget(file.0, false);
        self.refusals.forget(file.0, true);
    }

    /// Freezes all of a file, to take it out of the window: as [`Window::begin_invalidate`] of everything.
    ///
    /// # Errors
    /// As [`Window::begin_invalidate`].
    pub fn forget_file(&mut self, file: FileKey) -> Result<Frozen, Wait> {
        self.begin_invalidate(file, FileRange::ALL, InvalidateKind::Remove)
    }

    /// What must happen next before the frozen bytes are clear.
    pub fn invalidate_step(&mut self, frozen: &Frozen) -> Step {
        self.invalidate_step_past(frozen, |_| 0)
    }

    /// As [`Window::invalidate_step`] for an embedder who knows which bytes long references are for: `elsewhere` says how
    /// many of a range's references are for none of the frozen bytes. A range with no others is passed by: it is set
    /// aside, so that its chunk is mapped anew for newcomers, and goes with its last reference.
    ///
    /// When references come to be counted there that were not before, call [`Window::recheck_references`].
    pub fn invalidate_step_past(&mut self, frozen: &Frozen, elsewhere: impl Fn(RangeIndex) -> u32) -> Step {
        self.absorb_dropped();
        if !self.ours(&frozen.claim) {
            return Step::Clear;
        }
        let Some(freeze) = self.freezes.get(frozen.claim.slot) else { return Step::Clear };
        let first = self.tree.lower_bound(&self.descriptors, &self.entries, (freeze.file.0, freeze.clear_to));
        self.sweep(first, Some((freeze, &elsewhere)), freeze.kind)
    }

    /// Lets newcomers in again.
    pub fn end_invalidate(&mut self, mut frozen: Frozen) {
        self.absorb_dropped();
        if self.ours(&frozen.claim) {
            self.freezes.thaw(frozen.claim.slot);
            self.close(&mut frozen.claim);
        }
    }

    /// Starts the teardown: from now on every access goes round the window.
    pub fn begin_drain(&mut self) {
        self.draining = true;
        self.notify_waiters();
    }

    /// What must happen next before nothing is mapped any more; starts the teardown if [`Window::begin_drain`] did not.
    pub fn drain_step(&mut self) -> Step {
        self.absorb_dropped();
        if !self.draining {
            self.begin_drain();
        }
        if self.suspects.head != NIL {
            return match self.suspect_ticket(self.suspects.head) {
                Some(ticket) => Step::Remove(ticket),
                None => Step::Wait(self.wait(WaitReason::Tickets)),
            };
        }
        let first = self.tree.lower_bound(&self.descriptors, &self.entries, (0, 0));
        let step = self.sweep(first, None, InvalidateKind::Remove);
        match step {
            Step::Clear if self.unclean.head != NIL => self.drain_unclean(),
            step => step,
        }
    }

    /// What could have been mapped over must be removed now.
    fn drain_unclean(&mut self) -> Step {
        let Some(claim) = self.claim(SlotUse::Remove) else { return Step::Wait(self.wait(WaitReason::Tickets)) };
        let mut ticket = RemoveTicket { claim, len: 0, retry: false };
        while usize::from(ticket.len) < self.config.max_batch {
            let Some(i) = self.unclean.pop_front(&mut self.descriptors) else { break };
            self.add_removal(&mut ticket, i);
        }
        self.stats.batches += 1;
        Step::Remove(ticket)
    }

    /// Ends the teardown: accesses use the window again.
    pub fn end_drain(&mut self) {
        self.draining = false;
    }

    /// Goes through the ranges from `first` to the end of a file's chunks, or of everything.
    // Long: one walk over the ranges, with what each state of a range asks for.
    fn sweep(&mut self, first: u32, freeze: Option<(Freeze, Elsewhere<'_>)>, kind: InvalidateKind) -> Step {
        let mut ticket = None;
        let mut blocked = None;
        let (mut looked_at, mut last) = (0, None);
        let mut at = first;
        while at != NIL {
            let key = self.entries[at as usize].key();
            if freeze.is_some_and(|(freeze, _)| key >= (freeze.file.0, freeze.end)) {
                break;
            }
            // A chunk's ranges are looked at together: the next step begins with a chunk.
            if looked_at >= MAX_LOOKED_AT && last != Some(key) {
                if ticket.is_none() && blocked.is_none() {
                    // Nobody can enter what was looked at, so it stays clear.
                    if let Some((freeze, _)) = freeze {
                        self.freezes.advance(freeze.slot, key.1);
                    }
                    let wait = self.wait(WaitReason::References);
                    self.notify_waiters();
                    return Step::Wait(wait);
                }
                break;
            }
            last = Some(key);
            looked_at += 1;
            let i = at;
            at = Tree::next(&self.descriptors, at);
            let used = self.descriptors[i as usize].state == State::Mapped && self.is_used(i);
            let node = &self.descriptors[i as usize];
            let elsewhere = freeze.map_or(0, |(_, elsewhere)| if node.refs > 0 { elsewhere(RangeIndex(i)) } else { 0 });
            let passed = node.refs > 0 && node.refs == elsewhere;
            // The embedder has seen to it that none of the frozen bytes is pinned.
            let pinned = freeze.is_some() && node.refs == 0 && node.has(flag::PINNED);
            match node.state {
                State::Mapped if used || node.refs > 0 && !passed => blocked = Some(WaitReason::References),
                State::Mapped if kind == InvalidateKind::Quiesce => {}
                State::Mapped if node.has(flag::WRITEBACK) => blocked = blocked.or(Some(WaitReason::Writeback)),
                State::Mapped if passed || pinned => self.set_aside(i),
                State::Mapped => {
                    if ticket.is_none() {
                        let Some(claim) = self.claim(SlotUse::Remove) else {
                            return Step::Wait(self.wait(WaitReason::Tickets));
                        };
                        ticket = Some(RemoveTicket { claim, len: 0, retry: false });
                    }
                    if let Some(ticket) = &mut ticket {
                        self.begin_remove(ticket, i);
                        if usize::from(ticket.len) == self.config.max_batch {
                            break;
                        }
                    }
                }
                State::Suspect if ticket.is_none() => {
                    return match self.suspect_ticket(i) {
                        Some(ticket) => Step::Remove(ticket),
                        None => Step::Wait(self.wait(WaitReason::Tickets)),
                    };
                }
                State::Suspect => break,
                State::Removing => blocked = blocked.or(Some(WaitReason::Removal)),
                State::SettingUp | State::Upgrading => blocked = blocked.or(Some(WaitReason::Setup)),
                // Neither is in the tree.
                State::Free | State::Retired => {}
            }
        }
        match (ticket, blocked) {
            (Some(ticket), _) => {
                self.stats.batches += 1;
                Step::Remove(ticket)
            }
            (None, Some(reason)) => Step::Wait(self.wait(reason)),
            (None, None) => Step::Clear,
        }
    }
}
