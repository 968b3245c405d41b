//! Write-back: which mapped ranges have stores that are not durable yet.
//!
//! Stores into the window are in the host's page cache already; what is left is FSYNC, which the caller sends.

use alloc::vec::Vec;

use dax_window::{Cursor, Writeback, WritebackTicket};
use fs_dax::{FileKey, FileRange, PAGE_SIZE};
use fuse_proto::Errno;

use super::DaxWindow;
use super::base::PINNED;
use super::remove::Removal;
use crate::{Error, Lock};

/// Write-backs that one FSYNC covers at most; more dirty ranges take another FSYNC.
const AT_ONCE: usize = 8;

/// Dirty ranges that are being written back.
#[must_use = "ranges stay in write-back until it ends"]
pub(crate) struct DirtyRanges {
    tickets: Vec<WritebackTicket>,
    /// Where to go on; `None`: there are no more.
    rest: Option<u64>,
}

impl DirtyRanges {
    /// Where the next write-back goes on; `None`: everything that was asked for is taken.
    pub(crate) fn rest(&self) -> Option<u64> {
        self.rest
    }
}

impl<R: Lock> DaxWindow<R> {
    /// Takes dirty ranges of a file for write-back. Waits for write-backs of others. On an error nothing is taken.
    pub(crate) fn begin_writeback(&self, file: FileKey, bytes: FileRange) -> Result<DirtyRanges, Error> {
        let mut taken = DirtyRanges { tickets: Vec::new(), rest: Some(bytes.start()) };
        match self.collect(file, bytes.end(), &mut taken) {
            Ok(()) => Ok(taken),
            Err(error) => {
                self.end_writeback(taken, false);
                Err(error)
            }
        }
    }

    fn collect(&self, file: FileKey, end: u64, taken: &mut DirtyRanges) -> Result<(), Error> {
        let patience = self.patience();
        while taken.tickets.len() < AT_ONCE {
            let Some(from) = taken.rest else { return Ok(()) };
            match self.with(|window| window.begin_writeback(file, FileRange::between(from, end))) {
                Writeback::Clean => taken.rest = None,
                Writeback::Further(offset) => taken.rest = Some(offset.0),
                Writeback::Ranges(ticket) => {
                    taken.rest = ticket.rest().map(|offset| offset.0);
                    taken.tickets.push(ticket);
                }
                Writeback::Remove(ticket) => {
                    if self.remove(ticket) != Removal::Sent {
                        return Err(PINNED);
                    }
                }
                // Others write the rest back or remove it: what was taken so far goes first.
                Writeback::Wait(_) if !taken.tickets.is_empty() => return Ok(()),
                Writeback::Wait(wait) => {
                    if !self.wait(wait, &patience)? {
                        return Err(Error::refused(Errno::EBUSY, "a write-back did not end before the deadline"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Stores to pages of ranges that are being written back what is there: to those of the file's bytes that `pieces` gives.
    pub(crate) fn touch_dirty(&self, taken: &DirtyRanges, pieces: impl Fn(FileRange) -> Vec<FileRange>) {
        for ticket in &taken.tickets {
            let mut cursor = Cursor::default();
            while let Some(entry) = self.with(|window| window.writeback_entry(ticket, &mut cursor)) {
                let start = entry.file_offset.0;
                let phys = self.memory.phys(entry.window_offset.0);
                for piece in pieces(FileRange::between(start, start.saturating_add(entry.len))) {
                    // What is written back stays mapped, and was mapped for writing to become dirty.
                    self.touch(phys + (piece.start() - start), piece.len());
                }
            }
        }
    }

    /// Ends a write-back: the ranges are clean, or dirty again.
    pub(crate) fn end_writeback(&self, taken: DirtyRanges, durable: bool) {
        for ticket in taken.tickets {
            self.with(|window| window.end_writeback(ticket, durable));
        }
    }

    /// Makes pages read-only in all page tables: the next store to one is a fault.
    pub(crate) fn write_protect(&self, file: FileKey, runs: &[FileRange]) {
        let Some(page_tables) = self.page_tables() else { return };
        self.counters.protected_pages.add(runs.iter().map(|run| run.len().div_ceil(PAGE_SIZE)).sum());
        page_tables.write_protect_all(file, runs);
    }
}
