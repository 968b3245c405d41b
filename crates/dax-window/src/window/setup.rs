//! How set-ups went.

use super::Window;
use crate::access::Hold;
use crate::config::Upgrade;
use crate::descriptor::{State, flag};
use crate::ticket::{Outcome, SetupEntry, SetupTicket};
use crate::units::PAGE;

impl Window {
    /// Reports how one entry of a ticket went; entries may come in any order, each once. Gives the hold when it was the
    /// wanted one and it is [`Outcome::Done`]. When all are reported the ticket is spent.
    pub fn report_setup(&mut self, ticket: &mut SetupTicket, entry: usize, outcome: Outcome) -> Option<Hold> {
        self.absorb_dropped();
        if !self.ours(&ticket.claim) {
            return None;
        }
        if entry >= usize::from(ticket.len) || ticket.pending & (1 << entry) == 0 {
            self.stats.misuse += 1;
            return None;
        }
        ticket.pending &= !(1 << entry);
        let what = ticket.entries[entry];
        let i = what.range.0;
        self.slots[usize::from(ticket.claim.slot)].list.unlink(&mut self.d, i);
        let usable = match self.d[i as usize].state {
            State::SettingUp => self.new_mapping(&what, outcome),
            _ => self.upgraded(&what, outcome),
        };
        let hold = match ticket.wanted {
            Some(wanted) if entry == 0 && usable => {
                // The first use of a mapping is not a second visit.
                let len = wanted.len.min(what.len - wanted.within);
                Some(self.hold(i, wanted.within, len, wanted.write, false))
            }
            _ => None,
        };
        self.settle(i);
        if ticket.pending == 0 {
            ticket.claim.open = false;
            self.free_slot(ticket.claim.slot);
        } else {
            self.shared.bump();
        }
        hold
    }

    /// Reports all entries of a ticket at once, in their order; those without an outcome count as
    /// [`Outcome::Unknown`]. Gives the hold of the wanted range, or why there is none.
    ///
    /// # Errors
    /// The outcome of the wanted entry when it was not [`Outcome::Done`].
    pub fn complete_setup(&mut self, mut ticket: SetupTicket, outcomes: &[Outcome]) -> Result<Option<Hold>, Outcome> {
        let mut hold = None;
        for entry in 0..usize::from(ticket.len) {
            let outcome = outcomes.get(entry).copied().unwrap_or(Outcome::Unknown);
            if ticket.pending & (1 << entry) != 0 {
                hold = hold.or(self.report_setup(&mut ticket, entry, outcome));
            }
        }
        match (hold, outcomes.first()) {
            (None, first) if !ticket.is_ahead() => Err(first.copied().unwrap_or(Outcome::Unknown)),
            (hold, _) => Ok(hold),
        }
    }

    fn new_mapping(&mut self, what: &SetupEntry, outcome: Outcome) -> bool {
        let i = what.range.0;
        match outcome {
            Outcome::Done => {
                self.map(what);
                return true;
            }
            Outcome::Refused(_) => {
                self.stats.setups_refused += 1;
                let inode = self.d[i as usize].inode;
                self.refusals.note(inode, what.writable);
                self.free_range(i, what.kind == crate::SetupKind::Replace);
            }
            Outcome::Unknown => {
                self.stats.setups_unknown += 1;
                self.d[i as usize].pages = (what.len / PAGE) as u32;
                self.quarantine(i);
            }
            Outcome::Lost => {
                self.stats.setups_unknown += 1;
                self.retire(i);
            }
        }
        false
    }

    fn upgraded(&mut self, what: &SetupEntry, outcome: Outcome) -> bool {
        let i = what.range.0;
        // Where the host replaces atomically, the old mapping or the wider one is there, and both show the same bytes.
        let intact = self.config.host.upgrade == Upgrade::Atomic;
        match outcome {
            Outcome::Done => {
                self.map(what);
                return true;
            }
            Outcome::Refused(_) => {
                self.stats.setups_refused += 1;
                let inode = self.d[i as usize].inode;
                self.refusals.note(inode, what.writable);
            }
            Outcome::Unknown | Outcome::Lost => self.stats.setups_unknown += 1,
        }
        if intact {
            self.set_state(i, State::Mapped);
            if outcome == Outcome::Lost {
                self.d[i as usize].set(flag::DOOMED);
            }
        } else if outcome != Outcome::Lost {
            self.doubt(i);
        } else if self.d[i as usize].has(flag::DIRTY) {
            self.d[i as usize].set(flag::DOOMED);
            self.doubt(i);
        } else {
            self.retire(i);
        }
        false
    }

    /// The mapping is there. The range is in no list afterwards.
    fn map(&mut self, what: &SetupEntry) {
        let i = what.range.0;
        self.set_state(i, State::Mapped);
        let node = &mut self.d[i as usize];
        node.pages = (what.len / PAGE) as u32;
        node.set(flag::PARKED | if what.writable { flag::WRITABLE } else { 0 });
        let inode = node.inode;
        self.refusals.forget(inode, what.writable);
    }

    /// A ticket fell into the box: what it had not reported is unknown.
    pub(super) fn setup_dropped(&mut self, slot: u8) {
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.d) {
            self.stats.setups_unknown += 1;
            let upgrading = self.d[i as usize].state == State::Upgrading;
            if upgrading && self.config.host.upgrade == Upgrade::Atomic {
                self.set_state(i, State::Mapped);
                self.settle(i);
            } else {
                self.doubt(i);
            }
        }
    }
}
