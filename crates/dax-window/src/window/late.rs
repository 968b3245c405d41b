//! Answers that come after their requests were given up.

use super::Window;
use crate::descriptor::{NIL, State, flag};
use crate::ticket::{Late, LateKind, Outcome, RemoveTicket, SetupKind, SetupTicket};

impl Window {
    /// Reports one entry of a set-up as given up, as [`Outcome::Lost`] does, and returns what to keep until its answer comes
    /// after all: then [`Window::late`] puts the range to use again. `None` if the entry was reported before.
    ///
    /// Of an upgrade on a host that replaces atomically the old mapping stays in use meanwhile, and is not widened again.
    pub fn give_up_setup(&mut self, ticket: &mut SetupTicket, entry: usize) -> Option<Late> {
        let i = ticket.range(entry).filter(|_| ticket.is_pending(entry))?;
        if !self.ours(&ticket.claim) {
            return None;
        }
        let kind = match ticket.kind(entry) {
            SetupKind::Upgrade => LateKind::Upgrade {
                pages: ticket.widened,
                writable: ticket.writable,
                longer: self.descriptors[i as usize].has(flag::LONGER),
            },
            SetupKind::New | SetupKind::Replace => LateKind::Setup { replaced: ticket.replaced(entry) },
        };
        self.report_setup(ticket, entry, Outcome::Lost);
        self.await_answer(i);
        Some(Late { shared: self.shared.clone(), head: i, kind })
    }

    /// Reports a removal as given up, as [`Outcome::Lost`] does, and returns what to keep until its answer comes after all:
    /// then [`Window::late`] puts all of its ranges to use again. `None` for a ticket of another window.
    pub fn give_up_remove(&mut self, ticket: RemoveTicket) -> Option<Late> {
        self.absorb_dropped();
        if !self.ours(&ticket.claim) {
            return None;
        }
        let slot = usize::from(ticket.claim.slot);
        let mut head = NIL;
        while let Some(i) = self.slots[slot].list.pop_front(&mut self.descriptors) {
            let answered = self.descriptors[i as usize].has(flag::ANSWERED);
            self.lost_removal(i);
            self.await_answer(i);
            let node = &mut self.descriptors[i as usize];
            node.set(if answered { flag::MIXED } else { 0 });
            // A retired range is in no list, so that its link is free for this chain.
            node.next = head;
            head = i;
        }
        self.complete_remove(ticket, Outcome::Lost);
        Some(Late { shared: self.shared.clone(), head, kind: LateKind::Removal })
    }

    /// Reports the answer to a request that was given up. Returns how many ranges are free by it; others may have to be
    /// removed once more first, which [`Window::reclaim_step`] and whoever needs room see to.
    ///
    /// [`Outcome::Lost`] says that no answer will ever come: the ranges stay out of use for good.
    pub fn late(&mut self, late: Late, outcome: Outcome) -> usize {
        self.absorb_dropped();
        if !late.belongs_to(&self.shared) {
            self.stats.misuse += 1;
            return 0;
        }
        if outcome == Outcome::Lost {
            return 0;
        }
        let (mut at, mut freed) = (late.head, 0);
        while at != NIL {
            let i = at;
            let node = &mut self.descriptors[i as usize];
            at = if late.kind == LateKind::Removal { core::mem::replace(&mut node.next, NIL) } else { NIL };
            if node.has(flag::LOST_TWO) {
                // The range stays out of use until the other answer comes too.
                node.clear(flag::LOST_TWO);
                node.set(flag::MIXED);
                continue;
            }
            node.clear(flag::LOST);
            match node.state {
                State::Retired if node.has(flag::MIXED) => {
                    node.clear(flag::MIXED);
                    self.quarantine(i);
                }
                State::Retired => self.late_retired(i, late.kind, outcome),
                // The answer to the removal under way may be older than the answer that came now, whose effect may be newer.
                State::Removing => node.set(flag::ANSWERED),
                State::Mapped | State::Upgrading | State::Suspect => {
                    node.clear(flag::DOOMED);
                    if let LateKind::Upgrade { pages, writable, longer } = late.kind
                        && outcome != Outcome::Unknown
                    {
                        node.clear(if longer { 0 } else { flag::LONGER });
                        if outcome == Outcome::Done {
                            self.entries[i as usize].set_pages(pages);
                            node.set(if writable { flag::WRITABLE } else { 0 });
                        }
                    }
                }
                // No range is used again while its answer is awaited.
                State::Free | State::SettingUp => self.stats.misuse += 1,
            }
            freed += usize::from(self.descriptors[i as usize].state == State::Free);
        }
        self.stats.late_answers += 1;
        self.notify_waiters();
        freed
    }

    fn await_answer(&mut self, i: u32) {
        let node = &mut self.descriptors[i as usize];
        node.set(if node.has(flag::LOST) { flag::LOST_TWO } else { flag::LOST });
    }

    fn late_retired(&mut self, i: u32, kind: LateKind, outcome: Outcome) {
        match (kind, outcome) {
            (LateKind::Removal, Outcome::Done) => {
                self.stats.removals += 1;
                self.free_range(i, false);
            }
            (LateKind::Setup { replaced }, Outcome::Refused(_)) => self.unchanged(i, replaced),
            // What was mapped may have been cut or forgotten since: it is removed, not used.
            _ => self.quarantine(i),
        }
    }
}
