//! Page faults on file mappings.
//!
//! The embedder's fault handler asks [`File::fault`], installs what it says, and tells [`FaultGuard::installed`]. Its part of
//! the bargain is [`fs_dax::Mappings`], given to [`crate::VirtioFs::set_mappings`] beforehand:
//!
//! 1. The handler finds the mapping of the address, drops its page-table lock, and calls [`File::fault`].
//! 2. [`FaultOutcome::Map`]: it takes its page-table lock, checks [`FaultGuard::is_current`], installs the page with the
//!    permission given, calls [`FaultGuard::installed`], drops the lock. If not current: it installs nothing and returns, the
//!    processor faults again.
//! 3. [`FaultOutcome::Copy`]: it copies the page under the guard and installs the copy, by the same steps; the guard is
//!    dropped, not told.
//! 4. [`FaultOutcome::NeedsSync`] and [`FaultOutcome::NeedsAllocation`]: [`File::finish_sync`], [`File::finish_allocation`].
//! 5. [`FaultOutcome::Hole`]: the file has the page but the host cannot map it (the last, partial page of a file on stock
//!    QEMU; any page without a window). A private or read-only mapping may be served by a page filled with
//!    [`File::read_at`], if [`File::unchanged_since`] says so when it is installed; a shared writable one is a bus error.
//!
//! A page mapped for reading is not writable even where the program may write: the first store is a fault of its own, which
//! is how dirty pages are known.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use dax_window::{Purpose, RangeRef, Request, Stream};
use fs_dax::{
    AllocateFault, Backing, Fault, FaultOutcome, FileRange, LayoutSeen, MappedRun, MetadataChange, MetadataState, Page,
    PageMapping, PageSizes, PhysAddr, Placement, SyncFault, SyncOutcome, Wanted,
};
use fuse_proto::{FallocateMode, NodeId};
use lock_api::RawMutex;

use crate::dax_io::{Acquired, Dax};
use crate::inode::Inode;
use crate::shared::Shared;
use crate::stats::Counters;
use crate::{Credentials, Error, File, WindowAccess};

/// What keeps a page of the window where it is until the embedder has installed it.
pub struct FaultGuard<R: RawMutex + Send + Sync + 'static> {
    shared: Arc<Shared<R>>,
    inode: Arc<Inode<R>>,
    hold: Option<RangeRef>,
    /// Which bytes the hold keeps where.
    run: Option<MappedRun>,
    seen: LayoutSeen,
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for FaultGuard<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FaultGuard").field("hold", &self.hold).finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> FaultGuard<R> {
    /// Whether the file was not cut or punched since the fault was looked up. To be asked under the page-table lock, before
    /// the page is installed; if not, install nothing.
    pub fn is_current(&self) -> bool {
        self.inode.layout.unchanged(self.seen) && self.shared.check_alive(&self.inode).is_ok()
    }

    /// Says that `page` is in a page table now, writable or not, and gives the reference back: from here on the range can be
    /// reclaimed, after [`fs_dax::Mappings::unmap`]. To be called under the page-table lock under which it was installed.
    pub fn installed(mut self, page: &Page, writable: bool) {
        let (Some(dax), Some(hold)) = (&self.shared.dax, self.hold.take()) else { return };
        if writable {
            self.inode.dirt.lock().mark(page.range());
        }
        let counter = match (page.size, writable) {
            (fs_dax::PageSize::Huge, _) => &self.shared.counters.faults_huge,
            (fs_dax::PageSize::Base, _) => &self.shared.counters.faults_base,
        };
        Counters::add(counter, 1);
        dax.with(|window| window.install(hold, writable));
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for FaultGuard<R> {
    fn drop(&mut self) {
        if let (Some(dax), Some(hold)) = (&self.shared.dax, self.hold.take()) {
            dax.release(hold);
        }
        self.shared.maps.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A moment in the history of a file's layout, for pages that the embedder fills itself ([`FaultOutcome::Hole`]): taken before
/// [`File::fault`] is asked, it tells under the page-table lock whether the file was cut or punched since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutWatch(LayoutSeen);

/// A pin: a part of the window that stays where it is for as long as this lives, for DMA or a device of the guest's own.
pub type Pinned<R> = crate::Map<R>;

impl<R: RawMutex + Send + Sync + 'static> File<R> {
    /// Answers a page fault on a mapping of this file; see the [module](self) for what to do with the answer.
    ///
    /// Bus errors: ERANGE past the end of the file, EFAULT outside the mapping, EACCES for a shared store to a file that is not
    /// open for writing, ENOSPC for a store into a hole on a full disk, EAGAIN when no range of the window became free before
    /// the deadline, EIO for a failed file, and what the server says.
    pub fn fault(&self, fault: &Fault) -> FaultOutcome<FaultGuard<R>> {
        match self.shared.fault(self, fault) {
            Ok(outcome) => outcome,
            Err(error) => bus_error(&error),
        }
    }

    /// The driver's own name for the file, never used again for another: by it the embedder's page tables know the file
    /// (see [`fs_dax::Mappings`]).
    pub fn key(&self) -> fs_dax::FileKey {
        fs_dax::FileKey(self.inode.key.0)
    }

    /// This moment in the history of the file's layout; see [`File::unchanged_since`].
    pub fn watch(&self) -> LayoutWatch {
        LayoutWatch(self.inode.layout.seen())
    }

    /// Whether the file was neither cut nor punched nor marked failed since `watch`, and nobody is at it. To be asked under
    /// the page-table lock, before a page that the embedder filled itself is installed.
    pub fn unchanged_since(&self, watch: LayoutWatch) -> bool {
        self.inode.layout.unchanged(watch.0) && self.shared.check_alive(&self.inode).is_ok()
    }

    /// Goes on with a synchronous fault: FSYNC, then a second look. No lock of the embedder's may be held.
    pub fn finish_sync(&self, fault: &Fault, sync: SyncFault<FaultGuard<R>>) -> FaultOutcome<FaultGuard<R>> {
        let epoch = &self.inode.epoch;
        // The guard keeps these bytes where they are. To ask the window once more could be to wait for somebody who cuts the
        // file and waits for the guard.
        let run = sync.guard().run;
        let syncing = sync.start(epoch);
        // The answer itself: a server that does not know FSYNC has made nothing durable.
        let reply = self.shared.op_fsync_raw(self.who, self.inode.nodeid, self.fh.unwrap_or_default(), true);
        Counters::add(&self.shared.counters.sync_faults, 1);
        let synced = match syncing.answered(reply.as_ref().copied().map_err(errno), epoch) {
            Ok(synced) => synced,
            Err(error) => return FaultOutcome::BusError(error.errno),
        };
        let eof = self.inode.size();
        let now = match PageSizes::SMALL_4K.place(&fault.area, fault.at, eof, run.as_ref(), fault.wanted) {
            Placement::Page(page) => Some(page),
            _ => None,
        };
        match synced.finish(epoch, now.as_ref()) {
            SyncOutcome::InstallWritable { page, guard } => {
                FaultOutcome::Map(PageMapping { page, writable: true, guard })
            }
            SyncOutcome::Retry { guard } => {
                drop(guard);
                FaultOutcome::Retry
            }
        }
    }

    /// Goes on with a synchronous fault whose blocks must be allocated first: FALLOCATE, then as [`File::finish_sync`].
    pub fn finish_allocation(
        &self,
        fault: &Fault,
        allocate: AllocateFault<FaultGuard<R>>,
    ) -> FaultOutcome<FaultGuard<R>> {
        let bytes = allocate.range();
        let reply = {
            let _change = self.inode.epoch.change(MetadataChange::Allocate);
            let len = bytes.end().min(self.inode.size()).saturating_sub(bytes.start());
            let fh = self.fh.unwrap_or_default();
            self.shared.op_fallocate(
                self.who,
                self.inode.nodeid,
                fh,
                FallocateMode::KEEP_SIZE,
                bytes.start(),
                len.max(1),
            )
        };
        match allocate.allocated(reply.as_ref().copied().map_err(errno)) {
            Ok(sync) => self.finish_sync(fault, sync),
            Err(error) => FaultOutcome::BusError(error.errno),
        }
    }

    /// Pins bytes in the window: as [`File::map`], for memory that a device of the guest's own is to reach. Truncation and
    /// reclaim wait for it.
    ///
    /// # Errors
    ///
    /// As [`File::map`].
    pub fn pin(&self, offset: u64, len: usize) -> Result<Pinned<R>, Error> {
        self.map(offset, len)
    }

    /// Pages of this file that were stored to through page tables and are not durable yet.
    pub fn dirty_pages(&self) -> usize {
        self.inode.dirt.lock().pages()
    }

    /// Makes the stores to `len` bytes at `offset` durable (msync): exactly the dirty pages there are write-protected and
    /// cleaned, then FSYNC.
    ///
    /// # Errors
    ///
    /// As [`File::sync_all`]; the pages are dirty again then.
    pub fn sync_range(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.shared.sync_bytes(self, FileRange::between(offset, offset.saturating_add(len)), true)
    }
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    fn fault(self: &Arc<Self>, file: &File<R>, fault: &Fault) -> Result<FaultOutcome<FaultGuard<R>>, Error> {
        self.check_mounted()?;
        let inode = &file.inode;
        self.check_alive(inode)?;
        let Some(offset) = fault.file_offset() else { return Ok(FaultOutcome::BusError(fs_dax::Errno::EFAULT)) };
        if fault.is_shared_write() && !file.options.is_writable() {
            return Err(Error::refused(fuse_proto::Errno::EACCES, "the file is not open for writing"));
        }
        Counters::add(&self.counters.faults, 1);
        let seen = self.settled_layout(inode)?;
        let page_start = offset & !(fs_dax::PAGE_SIZE - 1);
        if page_start >= inode.size() {
            // The host may have let the file grow.
            self.attr(file.who, inode, file.fh)?;
        }
        let eof = inode.size();
        let held = match self.dax_for(inode, file.direct) {
            Some(dax) if dax.memory.access() == WindowAccess::LoadsAndStores => {
                self.hold_around(dax, file.who, inode, fault, page_start, eof, file.options.is_writable())?
            }
            _ => None,
        };
        if held.is_none() && !inode.layout.unchanged(seen) {
            // The host was asked by a size that the file no longer has: its refusal says nothing about the file as it is.
            return Ok(FaultOutcome::Retry);
        }
        let (mut run, hold) = held.unzip();
        let mut allocated = false;
        if fault.is_shared_write()
            && self.needs_prealloc(inode)
            && let (Some(dax), Some(whole)) = (&self.dax, run)
        {
            match self.room_for_store(file, fault, page_start, whole) {
                Ok(covered) => {
                    run = Some(covered);
                    allocated = true;
                }
                Err(error) => {
                    hold.into_iter().for_each(|hold| dax.release(hold));
                    return Err(error);
                }
            }
        }
        // Room that was made is a change of the file's metadata, and is not made a second time.
        let metadata = MetadataState::of(&inode.epoch);
        let metadata = if allocated { metadata.allocated() } else { metadata };
        let writable = hold.as_ref().is_some_and(RangeRef::is_writable);
        self.maps.fetch_add(1, Ordering::AcqRel);
        let guard = FaultGuard { shared: self.clone(), inode: inode.clone(), hold, run, seen };
        Ok(fault.resolve(PageSizes::SMALL_4K, &Backing { eof, run, writable, metadata }, guard))
    }

    /// Has the host set room aside for a store into a file with holes; returns how much of `run` it did that for, which is
    /// how large the page can be.
    fn room_for_store(
        &self,
        file: &File<R>,
        fault: &Fault,
        page_start: u64,
        run: MappedRun,
    ) -> Result<MappedRun, Error> {
        if fault.wanted != Wanted::Base {
            match self.preallocate(file, run.file_offset, run.len) {
                Err(error) if error.errno() == fuse_proto::Errno::ENOSPC => {}
                result => return result.map(|()| run),
            }
        }
        let before = page_start - run.file_offset;
        self.preallocate(file, page_start, fs_dax::PAGE_SIZE)?;
        Ok(MappedRun {
            file_offset: page_start,
            phys: PhysAddr(run.phys.0 + before),
            len: fs_dax::PAGE_SIZE.min(run.len - before),
        })
    }

    /// This moment in the history of a file's layout, once nobody is at it: a page that is looked up while somebody cuts the
    /// file could not be installed anyway.
    fn settled_layout(&self, inode: &Inode<R>) -> Result<LayoutSeen, Error> {
        let mut seen = inode.layout.seen();
        if inode.layout.unchanged(seen) {
            return Ok(seen);
        }
        let deadline = self.now().saturating_add(self.config.window_timeout);
        let settled = self.connection.platform.wait(deadline, &mut || {
            self.connection.process();
            seen = inode.layout.seen();
            inode.layout.unchanged(seen)
        });
        if settled {
            Ok(seen)
        } else {
            Err(Error::refused(fuse_proto::Errno::EAGAIN, "the file was being changed until the deadline"))
        }
    }

    /// Holds the range around a page, and says which bytes of the file lie where in it. `None` if the host cannot map it.
    #[expect(clippy::too_many_arguments, reason = "all of them are what a fault is")]
    fn hold_around(
        &self,
        dax: &Dax<R>,
        who: Credentials,
        inode: &Inode<R>,
        fault: &Fault,
        page_start: u64,
        eof: u64,
        may_write: bool,
    ) -> Result<Option<(MappedRun, RangeRef)>, Error> {
        let mappable = self.mappable_end(eof);
        if page_start >= mappable {
            return Ok(None);
        }
        let chunk = page_start & !(self.config.range_size - 1);
        let len = chunk.saturating_add(self.config.range_size).min(mappable) - page_start;
        let request = if fault.is_shared_write() {
            Request::write(inode.key, page_start, len, mappable)
        } else {
            Request::read(inode.key, page_start, len, mappable).writable(may_write)
        };
        let nodeid: NodeId = inode.nodeid;
        let request = request.purpose(Purpose::Fault);
        let mut got = self.acquire(dax, who, nodeid, &mut Stream::new(), &request)?;
        if matches!(got, Acquired::Bypass(dax_window::Bypass::Refused)) {
            // Copies go round the window for a while after a refusal, which may have been about a size that the file no
            // longer has. A fault has no other way: it has the host asked anew, once.
            dax.with(|window| window.forget_refusals(inode.key));
            got = self.acquire(dax, who, nodeid, &mut Stream::new(), &request)?;
        }
        match got {
            Acquired::Range(hold) => {
                let before = page_start - chunk;
                let run = MappedRun {
                    file_offset: chunk,
                    phys: PhysAddr(dax.memory.phys(hold.window_offset().0) - before),
                    len: before + hold.len(),
                };
                Ok(Some((run, hold)))
            }
            Acquired::Bypass(why) => {
                self.counters.around(why);
                match why {
                    dax_window::Bypass::NotMappable | dax_window::Bypass::Refused => Ok(None),
                    _ => Err(Error::refused(fuse_proto::Errno::EAGAIN, "no range of the window is free")),
                }
            }
        }
    }
}

fn errno(error: &Error) -> fs_dax::Errno {
    // No error has the number 0.
    fs_dax::Errno::new(error.errno().number()).unwrap_or(fs_dax::Errno::EIO)
}

fn bus_error<G>(error: &Error) -> FaultOutcome<G> {
    FaultOutcome::BusError(errno(error))
}
