//! Taking mappings out of the window: REMOVEMAPPING, after their pages are out of page tables.

use alloc::vec::Vec;

use dax_window::{Cursor, Outcome, RangeIndex, RemoveEntry, RemoveTicket, Window};
use fs_dax::{FileRange, UnmapCause};
use fuse_proto::MappingRange;

use super::DaxWindow;
use super::setup::outcome;
use crate::rpc::mapping;
use crate::{Error, Lock};

/// What became of the removal of ranges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Removal {
    /// The server was asked, and the allocator knows how it went.
    Sent,
    /// The ranges are as usable as before: the embedder has pages of them pinned.
    Pinned,
    /// The ranges are as usable as before: there is no room for a request.
    NotSent,
}

impl<R: Lock> DaxWindow<R> {
    /// One step of background reclaim: removes a batch of ranges that are not in use, if fewer are free than a busy moment
    /// needs. Returns whether there was something to do.
    pub(crate) fn reclaim_step(&self) -> Result<bool, Error> {
        self.settle_late();
        let Some(ticket) = self.with(Window::reclaim_step) else { return Ok(false) };
        Ok(self.remove(ticket) == Removal::Sent)
    }

    /// Takes the ticket's ranges out of page tables, sends their REMOVEMAPPING and reports how it went.
    pub(crate) fn remove(&self, ticket: RemoveTicket) -> Removal {
        let entries = self.remove_entries(&ticket);
        if let Err(pinned) = self.unmap_pages(&entries) {
            log::debug!("virtio-fs: {} ranges are not removed, pages of {pinned:?} are pinned", entries.len());
            // Not as unmapped: the embedder is to be asked again next time, although no page table has them.
            self.with(|window| window.abort_pinned(ticket, |range| range == pinned));
            return Removal::Pinned;
        }
        let ranges: Vec<MappingRange> = entries
            .iter()
            .map(|entry| MappingRange::new(self.memory.device_offset(entry.window_offset.0), entry.len))
            .collect();
        let op = mapping::removal(&ranges);
        let mut in_flight = match self.rpc.send(self.rpc.credentials(), &op) {
            Ok(in_flight) => in_flight,
            // No answer about anything will ever come.
            Err(Error::Dead | Error::Queue(_)) => {
                self.with(|window| window.complete_remove(ticket, Outcome::Lost));
                return Removal::Sent;
            }
            Err(error) => {
                log::warn!("virtio-fs: REMOVEMAPPING of {} ranges was not sent: {error}", entries.len());
                self.with(|window| window.abort_remove(ticket, true));
                return Removal::NotSent;
            }
        };
        let result = self.rpc.answer(&op, &mut in_flight, &mut [], drop);
        self.counters.remove_requests.add(1);
        self.counters.removed_mappings.add(entries.len() as u64);
        if let Err(error) = &result {
            log::warn!("virtio-fs: REMOVEMAPPING of {} ranges: {error}", entries.len());
        }
        // One range is all or nothing; of several, some may be gone when the server says no.
        let outcome = match outcome(&result) {
            Outcome::Refused(_) if entries.len() > 1 => Outcome::Unknown,
            outcome => outcome,
        };
        if outcome == Outcome::Lost {
            let late = self.with(|window| window.give_up_remove(ticket));
            self.late.keep(in_flight.unique(), late, entries.len());
        } else {
            self.with(|window| window.complete_remove(ticket, outcome));
        }
        // Given up only now, if it is: its answer is waited for.
        drop(in_flight);
        Removal::Sent
    }

    #[inline(never)]
    fn remove_entries(&self, ticket: &RemoveTicket) -> Vec<RemoveEntry> {
        let mut entries = Vec::with_capacity(ticket.len());
        self.with(|window| {
            let mut cursor = Cursor::default();
            while let Some(entry) = window.remove_entry(ticket, &mut cursor) {
                entries.push(entry);
            }
        });
        entries
    }

    /// Takes ranges out of page tables, and waits until the embedder has none of their pages pinned. On an error: the first
    /// range that stayed pinned.
    #[inline(never)]
    fn unmap_pages(&self, entries: &[RemoveEntry]) -> Result<(), RangeIndex> {
        if !entries.iter().any(|entry| entry.installed) {
            return Ok(());
        }
        let Some(page_tables) = self.page_tables() else { return Ok(()) };
        let installed = || entries.iter().filter(|entry| entry.installed);
        let bytes = |entry: &RemoveEntry| {
            FileRange::between(entry.file_offset.0, entry.file_offset.0.saturating_add(entry.len))
        };
        for entry in installed() {
            page_tables.unmap(entry.file, bytes(entry), UnmapCause::Reclaim);
        }
        let pinned = installed().find(|entry| page_tables.wait_for_pins(entry.file, bytes(entry)).is_err());
        pinned.map_or(Ok(()), |entry| Err(entry.range))
    }
}
