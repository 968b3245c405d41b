//! How set-ups went.

use super::Window;
use crate::access::RangeRef;
use crate::config::Upgrade;
use crate::descriptor::{State, flag};
use crate::ticket::{Outcome, SetupEntry, SetupTicket};
use crate::units::RangeIndex;
use fs_dax::PAGE_SIZE;

impl Window {
    /// One entry of a ticket, until it is reported. The first is the one that is wanted (see [`SetupTicket::is_ahead`]).
    #[inline]
    pub fn setup_entry(&self, ticket: &SetupTicket, entry: usize) -> Option<SetupEntry> {
        if !ticket.is_pending(entry) || !ticket.claim.belongs_to(&self.shared) {
            return None;
        }
        let i = ticket.range(entry)?;
        let pages = if ticket.widened > 0 { ticket.widened } else { self.entries[i as usize].pages() };
        Some(SetupEntry {
            range: RangeIndex(i),
            window_offset: self.window_offset(i),
            file_offset: self.file_offset(i),
            len: u64::from(pages) * PAGE_SIZE,
            writable: ticket.writable,
            kind: ticket.kind(entry),
        })
    }

    /// All entries of a ticket that were not reported yet.
    pub fn setup_entries<'a>(&'a self, ticket: &'a SetupTicket) -> impl Iterator<Item = SetupEntry> + 'a {
        (0..ticket.len()).filter_map(|entry| self.setup_entry(ticket, entry))
    }

    /// Reports how one entry of a ticket went; entries may come in any order, each once. Gives the hold when it was the
    /// wanted one and it is [`Outcome::Done`]. When all are reported the ticket is spent.
    pub fn report_setup(&mut self, ticket: &mut SetupTicket, entry: usize, outcome: Outcome) -> Option<RangeRef> {
        self.absorb_dropped();
        if !self.ours(&ticket.claim) {
            return None;
        }
        let Some(i) = ticket.take(entry) else {
            self.stats.misuse += 1;
            return None;
        };
        self.slots[usize::from(ticket.claim.slot)].list.unlink(&mut self.descriptors, i);
        let usable = match self.descriptors[i as usize].state {
            State::SettingUp => self.new_mapping(ticket, entry, i, outcome),
            _ => self.upgraded(ticket, i, outcome),
        };
        let hold = match ticket.wanted {
            Some(wanted) if entry == 0 && usable => {
                // The first use of a mapping is not a second visit.
                let len = wanted.len.min(self.mapped_len(i) - wanted.within);
                Some(self.hold(i, wanted.within, len, wanted.write, false))
            }
            _ => None,
        };
        if !usable {
            self.settle(i);
        } else if self.freezes.is_empty() && !self.draining {
            self.open(i);
        }
        if ticket.is_complete() {
            self.close(&mut ticket.claim);
        } else {
            self.notify_waiters();
        }
        hold
    }

    /// Reports all entries of a ticket at once, in their order; those without an outcome count as
    /// [`Outcome::Unknown`]. Gives the hold of the wanted range, or why there is none.
    ///
    /// # Errors
    /// The outcome of the wanted entry when it was not [`Outcome::Done`].
    pub fn complete_setup(
        &mut self,
        mut ticket: SetupTicket,
        outcomes: &[Outcome],
    ) -> Result<Option<RangeRef>, Outcome> {
        let mut hold = None;
        for entry in 0..ticket.len() {
            let outcome = outcomes.get(entry).copied().unwrap_or(Outcome::Unknown);
            if ticket.is_pending(entry) {
                hold = hold.or(self.report_setup(&mut ticket, entry, outcome));
            }
        }
        match (hold, outcomes.first()) {
            (None, first) if !ticket.is_ahead() => Err(first.copied().unwrap_or(Outcome::Unknown)),
            (hold, _) => Ok(hold),
        }
    }

    fn new_mapping(&mut self, ticket: &SetupTicket, entry: usize, i: u32, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Done => {
                self.map(i, ticket.writable);
                return true;
            }
            Outcome::Refused(_) => {
                self.stats.setups_refused += 1;
                let file = self.file(i).0;
                self.refusals.note(file, ticket.writable);
                self.unchanged(i, ticket.replaced(entry));
            }
            Outcome::Unknown => {
                // No shorter than what was there.
                self.stats.setups_unknown += 1;
                self.quarantine(i);
            }
            Outcome::Lost => {
                self.stats.setups_unknown += 1;
                self.retire(i);
            }
        }
        false
    }

    /// A set-up was refused: frees its range, in no list, where the host has so many pages mapped as before.
    pub(super) fn unchanged(&mut self, i: u32, replaced: u32) {
        self.entries[i as usize].set_pages(replaced);
        self.free_range(i, replaced > 0);
    }

    fn upgraded(&mut self, ticket: &SetupTicket, i: u32, outcome: Outcome) -> bool {
        // Where the host replaces atomically, the old mapping or the wider one is there, and both show the same bytes.
        let intact = self.config.host.upgrade == Upgrade::Atomic;
        match outcome {
            Outcome::Done => {
                self.entries[i as usize].set_pages(ticket.widened);
                self.map(i, ticket.writable);
                return true;
            }
            Outcome::Refused(_) => {
                self.stats.setups_refused += 1;
                let file = self.file(i).0;
                self.refusals.note(file, ticket.writable);
            }
            Outcome::Unknown | Outcome::Lost => {
                self.stats.setups_unknown += 1;
                self.may_be_longer(i, ticket.widened);
            }
        }
        if intact {
            self.set_state(i, State::Mapped);
            if outcome == Outcome::Lost {
                self.descriptors[i as usize].set(flag::DOOMED);
            }
        } else if outcome != Outcome::Lost {
            self.doubt(i);
        } else if self.descriptors[i as usize].has(flag::DIRTY) {
            self.descriptors[i as usize].set(flag::DOOMED);
            self.doubt(i);
        } else {
            self.retire(i);
        }
        false
    }

    /// The mapping is there.
    fn map(&mut self, i: u32, writable: bool) {
        self.set_state(i, State::Mapped);
        let node = &mut self.descriptors[i as usize];
        if writable {
            node.set(flag::WRITABLE);
        }
        let file = self.file(i).0;
        self.enqueue(i);
        self.refusals.forget(file, writable);
    }
}
