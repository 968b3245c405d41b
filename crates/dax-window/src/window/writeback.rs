//! Which ranges hold stores, and their write-back.

use super::{SlotUse, Window};
use crate::access::{Wait, WaitReason};
use crate::descriptor::{NIL, State, flag};
use crate::ticket::{Cursor, RemoveTicket, WritebackEntry, WritebackTicket};
use crate::tree::Tree;
use crate::units::{FileOffset, RangeIndex, chunks};
use fs_dax::{FileKey, FileRange};

/// How many ranges one call looks at.
const MAX_LOOKED_AT: u32 = 1024;

/// What there is to write back.
#[derive(Debug)]
#[must_use = "the answer may hold a ticket"]
pub enum Writeback {
    /// Write these back and report; then go on at [`WritebackTicket::rest`] if there is one.
    Ranges(WritebackTicket),
    /// A dirty range was left behind by a removal that nobody finished: write it back and remove it, report, ask again.
    Remove(RemoveTicket),
    /// Nothing is dirty up to here: go on from this byte.
    Further(FileOffset),
    /// Nothing is dirty.
    Clean,
    /// Some of the bytes are being written back or removed by another caller, and are clean only after that.
    Wait(Wait),
}

impl Window {
    /// The dirty ranges of some bytes of a file, marked as being written back. From now on they count as clean, and a
    /// new hold for writing makes them dirty again; those that are held at this moment stay dirty. Write-protect the
    /// installed ones before cleaning, or mark them dirty again: stores through page tables are not seen from here.
    // Long: one walk over the ranges, with what each state of a range asks for.
    pub fn begin_writeback(&mut self, file: FileKey, range: FileRange) -> Writeback {
        self.absorb_dropped();
        let shift = self.config.range_shift;
        let chunks = chunks(range, shift);
        let mut at = self.tree.lower_bound(&self.descriptors, &self.entries, (file.0, chunks.start));
        let mut ticket: Option<WritebackTicket> = None;
        let (mut looked_at, mut last) = (0, None);
        while at != NIL && self.entries[at as usize].key() < (file.0, chunks.end) {
            let i = at;
            let here = self.file_offset(i);
            let full = ticket.as_ref().is_some_and(|ticket| ticket.len() >= self.config.max_batch);
            // A chunk's ranges go together: the rest begins with a chunk, and some are dirty for as long as they are held.
            if (full || looked_at >= MAX_LOOKED_AT) && last != Some(here) {
                return match ticket {
                    Some(ticket) => Writeback::Ranges(WritebackTicket { rest: Some(here), ..ticket }),
                    None => Writeback::Further(here),
                };
            }
            last = Some(here);
            looked_at += 1;
            at = Tree::next(&self.descriptors, at);
            let node = &self.descriptors[i as usize];
            let blocked = match node.state {
                _ if node.has(flag::WRITEBACK) => Some(WaitReason::Writeback),
                _ if !node.has(flag::DIRTY) => None,
                State::Suspect if ticket.is_none() => {
                    return match self.suspect_ticket(i) {
                        Some(ticket) => Writeback::Remove(ticket),
                        None => Writeback::Wait(self.wait(WaitReason::Tickets)),
                    };
                }
                State::Removing | State::Suspect => Some(WaitReason::Removal),
                State::Upgrading => Some(WaitReason::Setup),
                _ => None,
            };
            if let Some(reason) = blocked {
                // What was found so far goes first; the rest begins here.
                return match ticket {
                    Some(ticket) => Writeback::Ranges(WritebackTicket { rest: Some(here), ..ticket }),
                    None => Writeback::Wait(self.wait(reason)),
                };
            }
            if !node.has(flag::DIRTY) {
                continue;
            }
            if ticket.is_none() {
                let Some(claim) = self.claim(SlotUse::Writeback) else {
                    return Writeback::Wait(self.wait(WaitReason::Tickets));
                };
                ticket = Some(WritebackTicket { claim, len: 0, rest: None });
            }
            if let Some(ticket) = &mut ticket {
                self.park(i);
                let used = self.is_used(i);
                let node = &mut self.descriptors[i as usize];
                // Whoever holds it may go on storing after this write-back has passed: it stays dirty.
                if node.refs == 0 && !used {
                    node.clear(flag::DIRTY);
                }
                node.set(flag::WRITEBACK);
                self.slots[usize::from(ticket.claim.slot)].list.push_back(&mut self.descriptors, i);
                ticket.len += 1;
            }
        }
        ticket.map_or(Writeback::Clean, Writeback::Ranges)
    }

    /// The next range of a ticket. The lock may be dropped between two calls.
    pub fn writeback_entry(&self, ticket: &WritebackTicket, cursor: &mut Cursor) -> Option<WritebackEntry> {
        if !ticket.claim.belongs_to(&self.shared) {
            return None;
        }
        let i = self.next_in_slot(ticket.claim.slot, cursor)?;
        Some(WritebackEntry {
            range: RangeIndex(i),
            window_offset: self.window_offset(i),
            file_offset: self.file_offset(i),
            len: self.mapped_len(i),
            installed: self.descriptors[i as usize].has(flag::INSTALLED),
        })
    }

    /// Reports a write-back: if it failed the ranges are dirty again.
    pub fn end_writeback(&mut self, mut ticket: WritebackTicket, done: bool) {
        self.absorb_dropped();
        if self.ours(&ticket.claim) {
            self.finish_writeback(ticket.claim.slot, done);
            self.close(&mut ticket.claim);
        }
    }
}
