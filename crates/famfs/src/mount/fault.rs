//! Page faults on mappings of files.

use fs_dax::{
    Backing, Fault, FaultCounters, FaultOutcome, LayoutSeen, MappedRun, MetadataState, PAGE_SIZE, Page, PageSizes,
    SharedMemory, Wanted, WindowMemory,
};
use lock_api::RawMutex;

use super::error::Error;
use super::file::File;
use super::state::Mount;

/// What goes with a page until it is installed.
///
/// Under the page-table lock: install the page if [`is_current`](Self::is_current), then call
/// [`installed`](Self::installed). If it is not current install nothing; the processor faults again.
#[derive(Debug)]
pub struct FaultGuard<'f, M, L: RawMutex> {
    file: &'f File<M, L>,
    seen: LayoutSeen,
    wanted: Wanted,
}

impl<M, L: RawMutex> FaultGuard<'_, M, L> {
    /// Whether the page is still the file's: the file system was not made anew, and no memory failed, since the fault
    /// was looked up.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.file.mount.layout.unchanged(self.seen)
    }

    /// Counts the page.
    pub fn installed(self, page: &Page) {
        self.file.mount.faults.installed(page, self.wanted);
    }
}

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// How many faults there were, and which pages were installed for them.
    #[must_use]
    pub fn faults(&self) -> &FaultCounters {
        &self.inner.faults
    }
}

impl<M: SharedMemory, L: RawMutex> File<M, L> {
    /// Answers a page fault; see [`FaultGuard`] for what to do with the page.
    ///
    /// `may_store` says whether the mapping permits stores. If so, and if the file does too, the page of a shared
    /// mapping is writable at once, whatever the access was: nobody here needs to know which pages are dirty.
    ///
    /// Bus errors: as [`check`](Self::check), and EIO for a damaged page; for a store to a shared mapping EROFS and EACCES as
    /// [`check_writable`](Self::check_writable); the others of [`Fault::resolve`].
    pub fn fault(&self, fault: &Fault, may_store: bool, sizes: PageSizes) -> FaultOutcome<FaultGuard<'_, M, L>> {
        self.mount.faults.faulted();
        // Before the look-up, so that what changes after it shows.
        let guard = FaultGuard { file: self, seen: self.mount.layout.seen(), wanted: fault.wanted };
        let writable = self.check_writable();
        if fault.is_shared_write()
            && let Err(error) = writable
        {
            return FaultOutcome::BusError(error.errno());
        }
        match self.backing(fault, writable.is_ok()) {
            Ok(backing) => fault.untracked(may_store && backing.writable).resolve(sizes, &backing, guard),
            Err(error) => FaultOutcome::BusError(error.errno()),
        }
    }

    fn backing(&self, fault: &Fault, writable: bool) -> Result<Backing, Error> {
        self.check()?;
        let map = self.node.mapped().map()?;
        // Nothing is ever allocated after a file was made, and its record was durable before it was visible.
        let metadata = MetadataState::DURABLE;
        let mut backing = Backing { eof: map.size(), run: None, writable, metadata };
        let Some((file_offset, segment)) = fault.file_offset().and_then(|offset| map.run_around(offset)) else {
            return Ok(backing);
        };
        let memory = self.memory(&segment)?;
        memory.capabilities().check_faults()?;
        let phys = memory.phys(segment.offset, segment.len)?;
        let run = MappedRun { file_offset, phys, len: segment.len };
        let page = fault.file_offset().unwrap_or(file_offset) & !(PAGE_SIZE - 1);
        backing.run = Some(self.mount.damage.run(&segment, run, page)?);
        Ok(backing)
    }
}
