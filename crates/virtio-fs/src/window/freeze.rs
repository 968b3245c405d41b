//! Freeze and thaw: keeping everybody out of bytes while they are taken away from a file.

use dax_window::{Frozen, InvalidateKind, Step};
use fs_dax::{FileKey, FileRange, UnmapCause};
use fuse_proto::Errno;

use super::DaxWindow;
use super::base::PINNED;
use super::remove::Removal;
use crate::volume::mapped_bytes::{Freeze, MappedBytes};
use crate::{Error, Lock};

const BUSY: Error = Error::refused(Errno::EBUSY, "the bytes stayed in use until the deadline");

impl<R: Lock> MappedBytes for DaxWindow<R> {
    /// Freezes the bytes, takes them out of page tables, waits until nobody holds their ranges, and removes their mappings
    /// unless they are punched.
    fn freeze(&self, file: FileKey, bytes: FileRange, why: Freeze) -> Result<Frozen, Error> {
        self.settle_late();
        let patience = self.patience();
        let kind = if why == Freeze::Punch { InvalidateKind::Quiesce } else { InvalidateKind::Remove };
        let frozen = loop {
            match self.with(|window| window.begin_invalidate(file, bytes, kind)) {
                Ok(frozen) => break frozen,
                Err(wait) if self.wait(wait, &patience)? => {}
                Err(_) => return Err(BUSY),
            }
        };
        // Ranges of a file that nobody uses are unmapped one by one, those that are in page tables; a change of the file
        // concerns private copies too, which the allocator knows nothing of.
        if why != Freeze::Drop
            && let Some(page_tables) = self.page_tables()
        {
            // Private copies only go with the bytes: nothing brings them back if this comes to nothing.
            page_tables.unmap(file, bytes, UnmapCause::Punch);
            page_tables.wait_for_pins(file, bytes).map_err(|_| PINNED)?;
        }
        loop {
            match self.invalidate_step(&frozen) {
                Step::Clear => return Ok(frozen),
                Step::Remove(ticket) => match self.remove(ticket) {
                    Removal::Sent => {}
                    // Others of their pages, since none of the frozen bytes is: the next step passes by.
                    Removal::Pinned if why != Freeze::Drop => {}
                    Removal::Pinned | Removal::NotSent => return Err(PINNED),
                },
                Step::Wait(wait) => {
                    if !self.wait(wait, &patience)? {
                        return Err(BUSY);
                    }
                }
            }
        }
    }

    fn protect(&self, file: FileKey, bytes: FileRange) {
        if let Some(page_tables) = self.page_tables() {
            page_tables.write_protect(file, bytes);
        }
    }

    fn take_copies(&self, file: FileKey, bytes: FileRange) {
        if let Some(page_tables) = self.page_tables() {
            page_tables.unmap(file, bytes, UnmapCause::Truncate);
        }
    }

    fn take_filled(&self, file: FileKey) {
        if let Some(page_tables) = self.page_tables() {
            page_tables.unmap(file, FileRange::ALL, UnmapCause::Change);
        }
    }

    fn thaw(&self, frozen: Frozen) {
        self.with(|window| window.end_invalidate(frozen));
    }

    fn unmap_failed(&self, file: FileKey, bytes: FileRange) {
        if let Some(page_tables) = self.page_tables() {
            page_tables.unmap(file, bytes, UnmapCause::Failure);
        }
    }

    fn settle_late(&self) {
        Self::settle_late(self);
    }

    fn shut_down(&self, files: &[FileKey]) -> Result<(), Error> {
        self.settle_late();
        self.with(|window| window.begin_drain());
        let drained = self.drain(files);
        match drained {
            // Nobody has a reference, and nobody gets one any more.
            Ok(()) => self.memory.unmap(self.platform()),
            Err(_) => self.with(|window| window.end_drain()),
        }
        drained
    }
}

impl<R: Lock> DaxWindow<R> {
    /// The next step of an invalidation, past views of other bytes.
    fn invalidate_step(&self, frozen: &Frozen) -> Step {
        let elsewhere = |range| self.views.lock().elsewhere(range, frozen.range());
        self.with(|window| window.invalidate_step_past(frozen, elsewhere))
    }

    /// Removes all mappings, while everybody goes by requests.
    fn drain(&self, files: &[FileKey]) -> Result<(), Error> {
        let patience = self.patience();
        if let Some(page_tables) = self.page_tables() {
            for &file in files {
                page_tables.unmap(file, FileRange::ALL, UnmapCause::Reclaim);
            }
            files.iter().try_for_each(|&file| page_tables.wait_for_pins(file, FileRange::ALL)).map_err(|_| PINNED)?;
        }
        loop {
            match self.with(|window| window.drain_step()) {
                Step::Clear => return Ok(()),
                Step::Remove(ticket) => {
                    if self.remove(ticket) != Removal::Sent {
                        return Err(PINNED);
                    }
                }
                Step::Wait(wait) => {
                    if !self.wait(wait, &patience)? {
                        return Err(Error::refused(Errno::EBUSY, "ranges of the window stayed in use"));
                    }
                }
            }
        }
    }
}
