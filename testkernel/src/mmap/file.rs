//! Files as page faults see them, whatever file system they are of.

use crate::memory::paging::MapError;
use fs_dax::{Errno, Fault, FileKey, Page};

/// A file that can be mapped.
pub(crate) trait Mapped: Send + Sync {
    /// By what the file system knows the file when it has pages taken away.
    fn key(&self) -> FileKey;

    /// Answers a fault: asks the file system, and has a page installed. `may_store` says whether the mapping permits stores.
    ///
    /// # Errors
    /// Why there is no page.
    fn answer(&self, fault: &Fault, may_store: bool, pages: &dyn Pages) -> Result<(), Refusal>;
}

/// The page tables of whoever faulted.
pub(crate) trait Pages {
    /// Installs a page of the file's own memory, unless it is stale.
    fn install(&self, page: &Page, writable: bool, guard: &mut dyn Guard) -> Result<(), Refusal>;

    /// Installs a copy of a page of the file's memory.
    fn copy(&self, page: &Page, guard: &dyn Guard) -> Result<(), Refusal>;

    /// Fills a page that cannot be mapped by reading the file, if nobody can mistake it for the file itself.
    fn fill(&self, fault: &Fault, file: &dyn Read) -> Result<(), Refusal>;
}

/// What a file system gives with a page.
pub(crate) trait Guard {
    /// Whether the page is still the file's.
    fn is_current(&self) -> bool;

    /// The page is in the page tables now, which are still locked.
    fn installed(&mut self, page: &Page, writable: bool);
}

/// A file that is read into a page.
pub(crate) trait Read {
    /// Reads from `offset` on; 0 bytes at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Whether what was read is still the file's.
    fn is_current(&self) -> bool;
}

/// Why there is no page.
pub(crate) enum Refusal {
    /// A large page is in the way of nothing but small ones.
    SmallOnly,
    /// A bus error.
    Bus(Errno),
}

impl From<MapError> for Refusal {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Conflict(_) => Self::SmallOnly,
            _ => Self::Bus(Errno::ENOMEM),
        }
    }
}
