//! Synchronous faults: a page becomes writable only once the metadata it needs is durable.

use crate::epoch::EpochSeen;
use crate::{Errno, FileRange, MetadataEpoch, Page, SyncMode};

/// What a fault on a mapped page leads to, before the page tables are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether the page is to be marked dirty now. Not while a sync is needed: it is marked when it becomes writable.
    pub entry_dirty: bool,
    /// What to do.
    pub action: Action,
}

/// The action of a [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Install the page read-only, so that the first store is a fault of its own.
    InstallReadOnly,
    /// Install the page writable.
    InstallWritable,
    /// Leave the page tables untouched and sync first.
    NeedsSync,
}

impl Decision {
    /// Decides for a page of a shared mapping. All of the truth there is about it:
    ///
    /// | write | sync | metadata dirty | entry dirty | action |
    /// | --- | --- | --- | --- | --- |
    /// | no | any | any | no | install read-only |
    /// | yes | no | any | yes | install writable |
    /// | yes | yes | no | yes | install writable |
    /// | yes | yes | yes | no | needs sync |
    ///
    /// A store to a page that is mapped for reading is a write like any other and takes the same way.
    #[must_use]
    pub const fn of(write: bool, sync: bool, metadata_dirty: bool) -> Self {
        match (write, sync && metadata_dirty) {
            (false, _) => Self { entry_dirty: false, action: Action::InstallReadOnly },
            (true, false) => Self { entry_dirty: true, action: Action::InstallWritable },
            (true, true) => Self { entry_dirty: false, action: Action::NeedsSync },
        }
    }
}

/// What is known about the durability of a file's metadata at the time of a fault. To be taken before the page is
/// looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataState {
    seen: EpochSeen,
    dirty: bool,
    may_be_hole: bool,
}

impl MetadataState {
    /// For files with blocks and metadata that are durable by construction, so that no fault ever needs a sync.
    pub const DURABLE: Self = Self { seen: EpochSeen::NEVER, dirty: false, may_be_hole: false };

    /// The state by the inode's epoch. The page is taken to be a possible hole; see [`allocated`](Self::allocated).
    #[must_use]
    pub fn of(epoch: &MetadataEpoch) -> Self {
        Self::of_while(epoch, || ())
    }

    /// The moment comes first, so that a change between the two looks shows as dirty. `meanwhile` is what others do there.
    fn of_while(epoch: &MetadataEpoch, meanwhile: impl FnOnce()) -> Self {
        let seen = epoch.seen();
        meanwhile();
        Self { seen, dirty: epoch.is_dirty(), may_be_hole: true }
    }

    /// The same, for a page with blocks that are known to be allocated on the host.
    #[must_use]
    pub const fn allocated(self) -> Self {
        Self { may_be_hole: false, ..self }
    }

    /// Whether a write fault in this mode has to wait for a sync.
    ///
    /// In [`SyncMode::MetadataDurable`] a possible hole counts as dirty: the host allocates it at the first store,
    /// which is after any fsync that the fault could have waited for.
    #[must_use]
    pub const fn is_dirty(&self, mode: SyncMode) -> bool {
        match mode {
            SyncMode::MetadataDurable => self.dirty || self.may_be_hole,
            SyncMode::None | SyncMode::Persistent => self.dirty,
        }
    }

    pub(crate) const fn needs_allocation(&self, mode: SyncMode) -> bool {
        matches!(mode, SyncMode::MetadataDurable) && self.may_be_hole
    }

    pub(crate) const fn seen(&self) -> EpochSeen {
        self.seen
    }
}

/// A write fault that needs blocks allocated before it can be synced: send FUSE_FALLOCATE (mode "keep size") for
/// [`range`](Self::range), then go on with [`allocated`](Self::allocated).
///
/// Move-only; `G` keeps the memory from being reclaimed and is dropped with it.
#[derive(Debug)]
#[must_use = "the fault is not answered until the protocol is finished"]
pub struct AllocateFault<G> {
    sync: SyncFault<G>,
}

impl<G> AllocateFault<G> {
    /// The bytes to allocate: all of the page.
    #[must_use]
    pub const fn range(&self) -> FileRange {
        self.sync.range()
    }

    /// Goes on after the reply to FUSE_FALLOCATE. The request has to have been counted as
    /// [`MetadataChange::Allocate`](crate::MetadataChange::Allocate).
    ///
    /// # Errors
    /// The fault is a bus error if nothing was allocated, be it that the server cannot (ENOSYS, EOPNOTSUPP).
    pub fn allocated(self, reply: Result<(), Errno>) -> Result<SyncFault<G>, BusError<G>> {
        match reply {
            Ok(()) => Ok(self.sync),
            Err(errno) => Err(BusError { errno, guard: self.sync.guard }),
        }
    }

    pub(crate) const fn new(sync: SyncFault<G>) -> Self {
        Self { sync }
    }
}

/// A write fault that has to be synced first: [`start`](Self::start), send FUSE_FSYNC, [`answered`](Syncing::answered),
/// look the page up again, [`finish`](Synced::finish).
///
/// Locks are to be dropped before the request is sent. Move-only; `G` keeps the memory from being reclaimed.
#[derive(Debug)]
#[must_use = "the fault is not answered until the protocol is finished"]
pub struct SyncFault<G> {
    page: Page,
    seen: EpochSeen,
    guard: G,
}

impl<G> SyncFault<G> {
    /// The page, with its physical address.
    #[must_use]
    pub const fn page(&self) -> &Page {
        &self.page
    }

    /// What keeps the memory.
    #[must_use]
    pub const fn guard(&self) -> &G {
        &self.guard
    }

    /// The bytes to sync: the base page, or the whole huge page from its boundary, not from the address that faulted.
    ///
    /// FUSE_FSYNC covers the whole file; others can be given a range.
    #[must_use]
    pub const fn range(&self) -> FileRange {
        self.page.range()
    }

    /// Takes the inode's epoch. To be called right before FUSE_FSYNC (data only) is sent.
    pub fn start(self, epoch: &MetadataEpoch) -> Syncing<G> {
        Syncing { sent: epoch.seen(), fault: self }
    }

    pub(crate) const fn new(page: Page, seen: EpochSeen, guard: G) -> Self {
        Self { page, seen, guard }
    }
}

/// A synchronous fault with its FUSE_FSYNC under way.
#[derive(Debug)]
#[must_use = "the fault is not answered until the protocol is finished"]
pub struct Syncing<G> {
    sent: EpochSeen,
    fault: SyncFault<G>,
}

impl<G> Syncing<G> {
    /// The page, with its physical address.
    #[must_use]
    pub const fn page(&self) -> &Page {
        &self.fault.page
    }

    /// Takes the server's reply, and calls the inode clean if no metadata changed meanwhile.
    ///
    /// # Errors
    /// Any error is a bus error, ENOSYS too: a server that does not know FUSE_FSYNC has made nothing durable. (An
    /// ordinary fsync may take that for success; pass the reply itself, not what fsync made of it.)
    pub fn answered(self, reply: Result<(), Errno>, epoch: &MetadataEpoch) -> Result<Synced<G>, BusError<G>> {
        match reply {
            Ok(()) => {
                epoch.synced(self.sent);
                Ok(Synced { fault: self.fault })
            }
            Err(errno) => Err(BusError { errno, guard: self.fault.guard }),
        }
    }
}

/// A synchronous fault with durable metadata. What is left is to see whether the page is still the same one.
#[derive(Debug)]
#[must_use = "the fault is not answered until the protocol is finished"]
pub struct Synced<G> {
    fault: SyncFault<G>,
}

impl<G> Synced<G> {
    /// Ends the protocol. `now` is what the look-up and [`PageSizes::place`](crate::PageSizes::place) give *now*, for
    /// the same fault; `None` if there is no page any more.
    ///
    /// The fault is to be retried if the page is gone, lies elsewhere or changed size, or if blocks may have moved
    /// since the fault began: a truncate and a write that makes the file as long as before leave the same page over
    /// other blocks. A file that only grew meanwhile is no reason to retry: what the page needs was there when the
    /// FSYNC was sent.
    pub fn finish(self, epoch: &MetadataEpoch, now: Option<&Page>) -> SyncOutcome<G> {
        let SyncFault { page, seen, guard } = self.fault;
        if now == Some(&page) && epoch.blocks_stayed(seen) {
            SyncOutcome::InstallWritable { page, guard }
        } else {
            SyncOutcome::Retry { guard }
        }
    }
}

/// How a synchronous fault ends.
#[derive(Debug)]
#[must_use]
pub enum SyncOutcome<G> {
    /// Mark the page dirty, then install it writable, before the lock of the address space is released.
    InstallWritable {
        /// The page.
        page: Page,
        /// What keeps the memory until the entry is installed.
        guard: G,
    },
    /// Install nothing; the processor faults again.
    Retry {
        /// To be dropped.
        guard: G,
    },
}

/// A synchronous fault that failed: nothing is installed, the program gets a bus error.
#[derive(Debug)]
#[must_use]
pub struct BusError<G> {
    /// Why.
    pub errno: Errno,
    /// What kept the memory.
    pub guard: G,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetadataChange;

    #[test]
    fn a_change_between_the_two_looks_counts_as_dirty_and_as_not_seen() {
        let epoch = MetadataEpoch::new();
        assert!(epoch.synced(epoch.seen()));
        let state = MetadataState::of_while(&epoch, || epoch.noticed(MetadataChange::SizeChange));
        assert!(state.is_dirty(SyncMode::Persistent));
        assert!(!epoch.blocks_stayed(state.seen()));
        // An FSYNC in between makes clean only what it covers.
        let before = epoch.seen();
        let state = MetadataState::of_while(&epoch, || {
            epoch.synced(before);
            epoch.noticed(MetadataChange::ExtendingWrite);
        });
        assert!(state.is_dirty(SyncMode::Persistent));
        assert!(epoch.blocks_stayed(state.seen()), "growth moves nothing");
    }
}
