//! Page faults on file mappings.
//!
//! The embedder's fault handler asks [`File::fault`], installs what it says, and calls [`FaultGuard::installed`]. Its part of
//! the bargain is [`fs_dax::Mappings`], given to [`crate::VirtioFs::set_mappings`] beforehand:
//!
//! 1. The handler finds the mapping of the address, drops its page-table lock, and calls [`File::fault`].
//! 2. [`FaultOutcome::Map`]: it takes its page-table lock, checks [`FaultGuard::is_current`], installs the page with the
//!    permission given, calls [`FaultGuard::installed`], drops the lock. If not current: it installs nothing and returns, the
//!    processor faults again.
//! 3. [`FaultOutcome::Copy`]: it copies the page under the guard and installs the copy, by the same steps; the guard is
//!    dropped without calling `installed()`.
//! 4. [`FaultOutcome::NeedsSync`] and [`FaultOutcome::NeedsAllocation`]: [`File::finish_sync`], [`File::finish_allocation`].
//! 5. [`FaultOutcome::Hole`]: the file has the page but the host cannot map it (the last, partial page of a file on stock
//!    QEMU; any page without a window). A private or read-only mapping may be served by a page filled with
//!    [`File::read_at`], if [`File::unchanged_since`] says so when it is installed; a shared writable one is a bus error.
//!
//! A page mapped for reading is not writable even where the program may write: the first store is a fault of its own, which
//! is how dirty pages are known.

use fs_dax::{AllocateFault, Fault, FaultOutcome, FileKey, FileRange, LayoutSeen, SyncFault};

pub use crate::io::fault::FaultGuard;
use crate::io::fault::failed;
use crate::{DefaultLock, Error, File, Lock};

/// A moment in the history of a file's layout, for pages that the embedder fills itself ([`FaultOutcome::Hole`]): taken before
/// [`File::fault`] is asked, it shows under the page-table lock whether the file was cut or punched since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutWatch(LayoutSeen);

/// A pin: a part of the window that stays where it is for as long as this lives, for DMA or a device of the guest's own.
pub type Pinned<R = DefaultLock> = crate::Map<R>;

impl<R: Lock> File<R> {
    /// Answers a page fault on a mapping of this file; see the [module](self) for what to do with the answer.
    ///
    /// Bus errors: ERANGE past the end of the file, EFAULT outside the mapping, EACCES for a shared store to a file that is not
    /// open for writing, ENOSPC for a store into a hole on a full disk, EIO for a failed file and a dead device, and the
    /// server's own errors. What passes (all ranges of the window in use, a host that is slow, a wait that was cancelled) is
    /// [`FaultOutcome::Retry`] after the usual deadlines: to be tried again, unless the task was killed meanwhile.
    pub fn fault(&self, fault: &Fault) -> FaultOutcome<FaultGuard<R>> {
        let _call = self.mounted.rpc().connection().begin_call();
        match self.mounted.io.fault(&self.open, fault) {
            Ok(outcome) => outcome,
            Err(error) => failed(error.errno()),
        }
    }

    /// The driver's own name for the file, never used again for another: by it the embedder's page tables know the file
    /// (see [`fs_dax::Mappings`]).
    pub fn key(&self) -> FileKey {
        self.open.inode.key
    }

    /// Returns this moment in the history of the file's layout; see [`File::unchanged_since`].
    pub fn watch(&self) -> LayoutWatch {
        LayoutWatch(self.open.inode.layout.seen())
    }

    /// Returns whether the file was neither cut nor punched nor marked failed since `watch`, and nobody is changing it. To be
    /// asked under the page-table lock, before a page that the embedder filled itself is installed.
    pub fn unchanged_since(&self, watch: LayoutWatch) -> bool {
        self.mounted.io.is_unchanged(&self.open.inode, watch.0)
    }

    /// Goes on with a synchronous fault: FSYNC, then a second look. No lock of the embedder's may be held.
    pub fn finish_sync(&self, fault: &Fault, sync: SyncFault<FaultGuard<R>>) -> FaultOutcome<FaultGuard<R>> {
        let _call = self.mounted.rpc().connection().begin_call();
        self.mounted.io.finish_sync(&self.open, fault, sync)
    }

    /// Goes on with a synchronous fault that needs blocks allocated first: FALLOCATE, then as [`File::finish_sync`].
    pub fn finish_allocation(
        &self,
        fault: &Fault,
        allocate: AllocateFault<FaultGuard<R>>,
    ) -> FaultOutcome<FaultGuard<R>> {
        let _call = self.mounted.rpc().connection().begin_call();
        self.mounted.io.finish_allocation(&self.open, fault, allocate)
    }

    /// Pins bytes in the window, for memory that a device of the guest's own is to reach. Reclaim, and what takes these bytes from the file, wait for it.
    /// The device may store to them if the file is open for writing.
    ///
    /// # Errors
    ///
    /// As [`File::map`]; as [`File::map_mut`] if the file is open for writing.
    pub fn pin(&self, offset: u64, len: usize) -> Result<Pinned<R>, Error> {
        self.view(offset, len, self.open.options.is_writable())
    }

    /// Returns how many pages of this file were stored to through page tables and are not durable yet.
    pub fn dirty_pages(&self) -> usize {
        self.open.inode.dirty_pages.lock().pages()
    }

    /// Makes the stores to `len` bytes at `offset` durable (msync): exactly the dirty pages there are write-protected and
    /// cleaned, then FSYNC.
    ///
    /// # Errors
    ///
    /// As [`File::sync_all`]; the pages are dirty again then.
    pub fn sync_range(&self, offset: u64, len: u64) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.sync(&self.open, FileRange::between(offset, offset.saturating_add(len)), true)
    }
}
