//! Files on memory that several machines share.

use super::file::{Guard, Mapped, Pages, Refusal};
use crate::region::Memory;
use famfs::FaultGuard;
use fs_dax::{Errno, Fault, FaultOutcome, FileKey, Page, PageMapping, PageSizes};

/// A file of famfs.
pub(crate) type SharedFile = famfs::File<Memory, spin::Mutex<()>>;

impl Mapped for SharedFile {
    fn key(&self) -> FileKey {
        Self::key(self)
    }

    /// Nobody tracks dirt: what the program may store to is writable at once. All of a file is in memory at all times, so
    /// that nothing is ever filled, synchronised or allocated.
    fn answer(&self, fault: &Fault, may_store: bool, pages: &dyn Pages) -> Result<(), Refusal> {
        match self.fault(fault, may_store, PageSizes::SMALL_4K) {
            FaultOutcome::Map(PageMapping { page, writable, guard }) => {
                pages.install(&page, writable, &mut Some(guard))
            }
            FaultOutcome::Copy(PageMapping { page, guard, .. }) => pages.copy(&page, &Some(guard)),
            FaultOutcome::SmallerPage => Err(Refusal::SmallOnly),
            FaultOutcome::Retry => Ok(()),
            FaultOutcome::BusError(errno) => Err(Refusal::Bus(errno)),
            FaultOutcome::NeedsSync(_)
            | FaultOutcome::NeedsAllocation(_)
            | FaultOutcome::Hole
            | FaultOutcome::NeedsWritable => Err(Refusal::Bus(Errno::EIO)),
        }
    }
}

/// Gone once the page is installed.
impl Guard for Option<FaultGuard<'_, Memory, spin::Mutex<()>>> {
    fn is_current(&self) -> bool {
        self.as_ref().is_some_and(FaultGuard::is_current)
    }

    fn installed(&mut self, page: &Page, _writable: bool) {
        if let Some(guard) = self.take() {
            guard.installed(page);
        }
    }
}
