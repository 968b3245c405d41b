//! A page fault on a file mapping, and what becomes of it.

use crate::sync::{Action, AllocateFault, Decision, SyncFault};
use crate::{
    AccessFlags, Area, Errno, FileRange, MappedRun, MetadataState, Page, PageSizes, Placement, Sharing, SyncMode,
    VirtAddr, Wanted,
};

/// What the processor was doing when it faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultAccess {
    /// It loaded, or fetched an instruction.
    Read,
    /// It stored: to a page that was not mapped, or to one that was mapped for reading.
    Write,
}

/// A page fault on a file mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The mapping.
    pub area: Area,
    /// The address that faulted.
    pub at: VirtAddr,
    /// What the processor was doing.
    pub access: FaultAccess,
    /// Whether stores of this mapping reach the file.
    pub sharing: Sharing,
    /// What a write fault of this mapping has to wait for.
    pub sync: SyncMode,
    /// The page size to answer with.
    pub wanted: Wanted,
}

/// What a file system knows about the bytes around a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backing {
    /// The file's size in bytes.
    pub eof: u64,
    /// The memory that holds the bytes, if any does.
    pub run: Option<MappedRun>,
    /// Whether that memory may be written (a range of a window can be set up for reading only).
    pub writable: bool,
    /// Whether the file's metadata is durable, taken before `run` was looked up.
    pub metadata: MetadataState,
}

/// What becomes of a fault. `G` keeps the memory from being reclaimed; it is dropped with the outcome, so that the
/// embedder holds on to it until the page-table entry is installed.
#[derive(Debug)]
#[must_use]
pub enum FaultOutcome<G = ()> {
    /// Install this page.
    Map(PageMapping<G>),
    /// Copy this page, a base page, into private memory and install the copy, writable. The page itself is not stored
    /// to.
    Copy(PageMapping<G>),
    /// Sync first; nothing is installed yet.
    NeedsSync(SyncFault<G>),
    /// Have the blocks allocated first, then sync; nothing is installed yet.
    NeedsAllocation(AllocateFault<G>),
    /// The memory holds the page for reading only and the fault is a store: make it writable, then ask again.
    NeedsWritable,
    /// No huge page fits; ask for a base page.
    SmallerPage,
    /// The file has the page, and nothing in memory holds it: have it mapped, then ask again.
    Hole,
    /// Something raced. Install nothing; the processor faults again.
    Retry,
    /// Install nothing; the program gets a bus error.
    BusError(Errno),
}

/// A page to be installed.
#[derive(Debug)]
#[must_use]
pub struct PageMapping<G = ()> {
    /// Which page, with its addresses and its size.
    pub page: Page,
    /// Whether stores may go to it. If so it has to be marked dirty before it is installed.
    pub writable: bool,
    /// What keeps the memory until the entry is installed.
    pub guard: G,
}

impl<G> PageMapping<G> {
    /// The hints for a [`direct_access`](crate::MemoryDevice::direct_access) to the page: dirty exactly when it is
    /// installed writable.
    #[must_use]
    pub const fn access_flags(&self) -> AccessFlags {
        if self.writable { AccessFlags::DIRTY } else { AccessFlags::empty() }
    }
}

impl Page {
    /// The bytes of the file that the page shows. The last page of a file may show bytes past its end.
    #[must_use]
    pub const fn range(&self) -> FileRange {
        // A page is placed so that its last base page begins before the end of a file, and a file's size fits in 64 bits.
        match FileRange::new(self.file_offset, self.len) {
            Ok(range) => range,
            Err(_) => FileRange::between(self.file_offset, u64::MAX),
        }
    }
}

impl Fault {
    /// The offset in the file of the byte that faulted, or `None` if the address is not in the area.
    #[must_use]
    pub const fn file_offset(&self) -> Option<u64> {
        self.area.file_offset_of(self.at)
    }

    /// Whether the fault is a store that reaches the file.
    #[must_use]
    pub const fn is_shared_write(&self) -> bool {
        matches!((self.access, self.sharing), (FaultAccess::Write, Sharing::Shared))
    }

    /// Whether the fault is a store that goes to a private copy.
    #[must_use]
    pub const fn is_private_write(&self) -> bool {
        matches!((self.access, self.sharing), (FaultAccess::Write, Sharing::Private))
    }

    /// The same fault for a file system that tracks no dirt: nobody needs the first store to a page to fault, so a load
    /// from a shared mapping is resolved like a store if `may_store`, and its page is installed writable at once.
    ///
    /// `may_store` says whether both the mapping and the file permit stores.
    #[must_use]
    pub const fn untracked(&self, may_store: bool) -> Self {
        match (may_store, self.sharing) {
            (true, Sharing::Shared) => Self { access: FaultAccess::Write, ..*self },
            _ => *self,
        }
    }

    /// Decides what becomes of the fault. Pure; touches nothing.
    ///
    /// Bus errors: [`Errno::ERANGE`] past the end of the file, [`Errno::EFAULT`] for an address outside the area,
    /// [`Errno::EINVAL`] if area, file and memory are not whole pages apart.
    pub fn resolve<G>(&self, sizes: PageSizes, backing: &Backing, guard: G) -> FaultOutcome<G> {
        // What is copied is one base page: 2 MiB is too much to copy for a store of one byte.
        let wanted = match (self.is_private_write(), self.wanted) {
            (true, Wanted::Largest) => Wanted::Base,
            (true, Wanted::Huge) => return FaultOutcome::SmallerPage,
            (_, wanted) => wanted,
        };
        let page = match sizes.place(&self.area, self.at, backing.eof, backing.run.as_ref(), wanted) {
            Placement::Page(page) => page,
            Placement::Smaller => return FaultOutcome::SmallerPage,
            Placement::Hole => return FaultOutcome::Hole,
            Placement::PastEof => return FaultOutcome::BusError(Errno::ERANGE),
            Placement::OutsideArea => return FaultOutcome::BusError(Errno::EFAULT),
            Placement::Misaligned => return FaultOutcome::BusError(Errno::EINVAL),
        };
        if self.is_private_write() {
            return FaultOutcome::Copy(PageMapping { page, writable: false, guard });
        }
        if self.is_shared_write() && !backing.writable {
            return FaultOutcome::NeedsWritable;
        }
        let sync = self.sync != SyncMode::None;
        match Decision::of(self.is_shared_write(), sync, backing.metadata.is_dirty(self.sync)).action {
            Action::InstallReadOnly => FaultOutcome::Map(PageMapping { page, writable: false, guard }),
            Action::InstallWritable => FaultOutcome::Map(PageMapping { page, writable: true, guard }),
            Action::NeedsSync => {
                let fault = SyncFault::new(page, backing.metadata.seen(), guard);
                if backing.metadata.needs_allocation(self.sync) {
                    FaultOutcome::NeedsAllocation(AllocateFault::new(fault))
                } else {
                    FaultOutcome::NeedsSync(fault)
                }
            }
        }
    }
}

impl<G> From<crate::Error> for FaultOutcome<G> {
    fn from(error: crate::Error) -> Self {
        Self::BusError(error.errno())
    }
}
