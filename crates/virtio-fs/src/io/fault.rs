//! Page faults: which page of the window answers one, and what keeps it there.

use alloc::sync::Arc;

use dax_window::{Bypass, Purpose, Request, Stream};
use fs_dax::{
    AllocateFault, Backing, Fault, FaultOutcome, LayoutSeen, MappedRun, MetadataChange, MetadataState, PAGE_SIZE, Page,
    PageMapping, PageSizes, PhysAddr, Placement, SyncFault, SyncMode, SyncOutcome, Wanted,
};
use fuse_proto::{Errno, FallocateMode};

use super::damage::undamaged_run;
use super::open_file::OpenFile;
use super::{FileIo, HoleStores};
use crate::rpc::space;
use crate::volume::inode::Inode;
use crate::window::DaxWindow;
use crate::window::acquire::Acquired;
use crate::window::counters::Reason;
use crate::window::range_ref::RangeRef;
use crate::{Error, Lock};

/// Keeps a page of the window where it is until the embedder has installed it.
pub struct FaultGuard<R: Lock = spin::Mutex<()>> {
    inode: Arc<Inode<R>>,
    range: Option<RangeRef>,
    /// Which bytes the reference keeps where.
    run: Option<MappedRun>,
    seen: LayoutSeen,
    /// The host has set room aside for what is stored to the page.
    has_room: bool,
    wanted: Wanted,
    /// The page's blocks are durable before it is writable: stores convert none.
    synchronous: bool,
    /// Last: the file system lives as long as its guards.
    io: Arc<FileIo<R>>,
}

impl<R: Lock> core::fmt::Debug for FaultGuard<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FaultGuard").field("range", &self.range).finish_non_exhaustive()
    }
}

impl<R: Lock> FaultGuard<R> {
    /// Returns whether the file was not cut or punched since the fault was looked up. To be asked under the page-table lock,
    /// before the page is installed; if not, install nothing.
    pub fn is_current(&self) -> bool {
        self.io.is_unchanged(&self.inode, self.seen)
    }

    /// Takes note that `page` is in a page table now, writable or not, and gives the reference back: from here on the range
    /// can be reclaimed, after [`fs_dax::Mappings::unmap`]. To be called under the page-table lock under which the page was
    /// installed.
    pub fn installed(mut self, page: &Page, writable: bool) {
        let (Some(window), Some(range)) = (self.io.window(), self.range.take()) else { return };
        if writable {
            self.inode.dirty_pages.lock().mark(page.range());
            if self.synchronous {
                self.inode.note_times();
            } else {
                self.inode.note_stores();
            }
        }
        self.io.counters.faults.installed(page, self.wanted);
        window.install(range, writable);
    }
}

impl<R: Lock> Drop for FaultGuard<R> {
    fn drop(&mut self) {
        if let (Some(window), Some(range)) = (self.io.window(), self.range.take()) {
            window.release(range);
        }
        self.io.volume.end_view();
    }
}

impl<R: Lock> FileIo<R> {
    /// Whether a file was neither cut nor punched nor marked failed since `seen`, and nobody is changing it.
    pub(crate) fn is_unchanged(&self, inode: &Inode<R>, seen: LayoutSeen) -> bool {
        inode.layout.unchanged(seen) && self.volume.check_alive(inode).is_ok()
    }

    /// Answers a fault; [`failed`] says what becomes of an error.
    pub(crate) fn fault(
        self: &Arc<Self>,
        file: &OpenFile<R>,
        fault: &Fault,
    ) -> Result<FaultOutcome<FaultGuard<R>>, Error> {
        self.volume.check_mounted()?;
        let inode = &file.inode;
        self.volume.check_alive(inode)?;
        let Some(offset) = fault.file_offset() else { return Ok(FaultOutcome::BusError(Errno::EFAULT)) };
        if fault.is_shared_write() && !file.options.is_writable() {
            return Err(Error::refused(Errno::EACCES, "the file is not open for writing"));
        }
        self.counters.faults.faulted();
        if fault.is_shared_write() {
            self.volume.clear_set_id(file.handle.who, inode)?;
        }
        let seen = self.settled_layout(inode)?;
        let page_start = offset & !(PAGE_SIZE - 1);
        if page_start >= inode.size() {
            // The host may have let the file grow.
            self.volume.attr(file.handle.who, inode, file.handle.fh)?;
        }
        let eof = inode.size();
        if page_start < eof {
            // Not the rest of a page that the file ends in: all of it is gone.
            self.undamaged(inode, page_start, 1)?;
        }
        let held = match self.window_for(file) {
            Some(window) if window.can_be_viewed() => self.hold_chunk(window, file, fault, page_start, eof)?,
            _ => None,
        };
        if held.is_none() && !inode.layout.unchanged(seen) {
            // The host was asked by a size that the file no longer has: its refusal says nothing about the file as it is.
            return Ok(FaultOutcome::Retry);
        }
        let (run, range) = held.map(|(run, range)| (undamaged_run(inode, page_start, run), range)).unzip();
        let writable = range.as_ref().is_some_and(RangeRef::is_writable);
        self.volume.begin_view();
        let mut guard = FaultGuard {
            io: self.clone(),
            inode: inode.clone(),
            range,
            run,
            seen,
            has_room: false,
            wanted: fault.wanted,
            synchronous: fault.sync != SyncMode::None,
        };
        let metadata = self.prepare_store(file, fault, page_start, &mut guard)?;
        let run = guard.run;
        let outcome = fault.resolve(PageSizes::SMALL_4K, &Backing { eof, run, writable, metadata }, guard);
        if matches!(outcome, FaultOutcome::Hole) {
            // Before the embedder reads what it fills the page with.
            inode.note_filled();
        }
        Ok(outcome)
    }

    /// Makes room for a store where there is none, and says what the file's metadata is like then.
    fn prepare_store(
        &self,
        file: &OpenFile<R>,
        fault: &Fault,
        page_start: u64,
        guard: &mut FaultGuard<R>,
    ) -> Result<MetadataState, Error> {
        let epoch = &file.inode.epoch;
        if fault.is_shared_write() && fault.sync != SyncMode::None {
            self.weigh_metadata(file, page_start, guard.run);
        }
        if fault.is_shared_write()
            && let Some(whole) = guard.run
            && self.needs_prealloc(file, store_end(fault, page_start, whole))
        {
            guard.run = Some(self.room_for_store(file, fault, page_start, whole)?);
            guard.has_room = true;
            // Room that was made is a change of the file's metadata, and is not made a second time.
            return Ok(MetadataState::of(epoch).allocated());
        }
        Ok(MetadataState::of(epoch))
    }

    /// Counts as a change of metadata what the epoch of a file cannot know of: stores through the window for which the host had
    /// to convert blocks, and a page that has no block that was written.
    fn weigh_metadata(&self, file: &OpenFile<R>, page_start: u64, run: Option<MappedRun>) {
        let inode = &file.inode;
        inode.fold_stores();
        // A page may become as large as the run.
        let (start, end) =
            run.map_or((page_start, page_start + PAGE_SIZE), |run| (run.file_offset, run.file_offset + run.len));
        if !inode.epoch.is_dirty() && !self.is_written(file, start, end.min(inode.size())) {
            inode.epoch.noticed(MetadataChange::Allocate);
        }
    }

    /// Has the host give a page blocks that were written: a block that is only allocated would be converted by the first store,
    /// which comes after the FSYNC.
    fn have_written(&self, file: &OpenFile<R>, sync: &SyncFault<FaultGuard<R>>) -> Result<(), Error> {
        let (bytes, guard) = (sync.range(), sync.guard());
        // It may have been marked since the fault was looked up.
        self.undamaged(&file.inode, bytes.start(), bytes.len() as usize)?;
        let end = bytes.end().min(file.inode.size());
        let asks = self.settings.holes == HoleStores::AskHost && !guard.has_room;
        if asks && !self.is_written(file, bytes.start(), end) {
            self.preallocate(file, bytes.start(), bytes.len())?;
        }
        if let (Some(window), Some(range)) = (self.window(), &guard.range) {
            debug_assert!(range.is_writable(), "a page that is not mapped for writing");
            window.touch(sync.page().phys.0, bytes.len());
        }
        file.inode.epoch.noticed(MetadataChange::Allocate);
        Ok(())
    }

    /// Has the host set room aside for a store into a file with holes; returns how much of `run` it did that for, which is
    /// how large the page can be.
    fn room_for_store(
        &self,
        file: &OpenFile<R>,
        fault: &Fault,
        page_start: u64,
        run: MappedRun,
    ) -> Result<MappedRun, Error> {
        if fault.wanted != Wanted::Base {
            match self.preallocate(file, run.file_offset, run.len) {
                Err(error) if error.errno() == Errno::ENOSPC => {}
                result => return result.map(|()| run),
            }
        }
        let before = page_start - run.file_offset;
        self.preallocate(file, page_start, PAGE_SIZE)?;
        Ok(MappedRun {
            file_offset: page_start,
            phys: PhysAddr(run.phys.0 + before),
            len: PAGE_SIZE.min(run.len - before),
        })
    }

    /// This moment in the history of a file's layout, once nobody is changing it: a page that is looked up while somebody cuts
    /// the file could not be installed anyway.
    fn settled_layout(&self, inode: &Inode<R>) -> Result<LayoutSeen, Error> {
        let settled = || {
            let seen = inode.layout.seen();
            (inode.layout.unchanged(seen) && inode.is_settled()).then_some(seen)
        };
        if let Some(seen) = settled() {
            return Ok(seen);
        }
        let connection = self.rpc().connection();
        let deadline = self.rpc().now().saturating_add(self.settings.timeout);
        loop {
            connection.settle();
            let look = || settled().map(Some).or_else(|| connection.has_orphans().then_some(None));
            match self.rpc().wait_for(deadline, look) {
                Some(Some(seen)) => return Ok(seen),
                // What came late may be what is waited for.
                Some(None) => {}
                None => return Err(Error::refused(Errno::EAGAIN, "the file was being changed until the deadline")),
            }
        }
    }

    /// Gets a reference to the rest of the chunk from a page on. Returns with it which bytes of the file lie where in its range;
    /// `None` if the host cannot map it.
    fn hold_chunk(
        &self,
        window: &DaxWindow<R>,
        file: &OpenFile<R>,
        fault: &Fault,
        page_start: u64,
        eof: u64,
    ) -> Result<Option<(MappedRun, RangeRef)>, Error> {
        let mappable = window.mappable_end(eof);
        if page_start >= mappable {
            return Ok(None);
        }
        let chunk = page_start & !(window.range_size() - 1);
        let len = chunk.saturating_add(window.range_size()).min(mappable) - page_start;
        let key = file.inode.key;
        let request = if fault.is_shared_write() {
            Request::write(key, page_start, len, mappable)
        } else {
            Request::read(key, page_start, len, mappable).writable(file.options.is_writable())
        };
        let request = request.purpose(Purpose::Fault);
        match acquire_for_fault(window, file, &request)? {
            Acquired::Range(range) => {
                let before = page_start - chunk;
                let phys = PhysAddr(window.phys(&range) - before);
                let run = MappedRun { file_offset: chunk, phys, len: before + range.len() as u64 };
                Ok(Some((run, range)))
            }
            Acquired::Bypass(why) => {
                window.counters.bypass(Reason::Window(why));
                match why {
                    Bypass::NotMappable | Bypass::Refused => Ok(None),
                    _ => Err(Error::refused(Errno::EAGAIN, "no range of the window is free")),
                }
            }
        }
    }

    /// Goes on with a synchronous fault: FSYNC, then a second look.
    pub(crate) fn finish_sync(
        &self,
        file: &OpenFile<R>,
        fault: &Fault,
        sync: SyncFault<FaultGuard<R>>,
    ) -> FaultOutcome<FaultGuard<R>> {
        let epoch = &file.inode.epoch;
        // The guard keeps these bytes where they are. To ask the window once more could be to wait for somebody who cuts the
        // file and waits for the guard.
        let run = sync.guard().run;
        if let Err(error) = self.have_written(file, &sync) {
            return FaultOutcome::BusError(error.errno());
        }
        let syncing = sync.start(epoch);
        // The answer itself: a server that does not know FSYNC has made nothing durable.
        let reply = space::fsync_as_answered(self.rpc(), &file.handle, true);
        self.counters.sync_faults.add(1);
        if let Err(Error::Os(errno)) = &reply
            && *errno != Errno::ENOSYS
        {
            file.inode.commits.lock().failed(*errno);
        }
        let synced = match syncing.answered(reply.as_ref().copied().map_err(Error::errno), epoch) {
            Ok(synced) => synced,
            Err(error) => return failed(error.errno),
        };
        let eof = file.inode.size();
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
                // The change that is in the way may be one that was given up and is answered by now.
                let connection = self.rpc().connection();
                connection.process();
                connection.settle();
                FaultOutcome::Retry
            }
        }
    }

    /// Goes on with a synchronous fault that needs blocks allocated first: FALLOCATE, then as [`FileIo::finish_sync`].
    pub(crate) fn finish_allocation(
        &self,
        file: &OpenFile<R>,
        fault: &Fault,
        allocate: AllocateFault<FaultGuard<R>>,
    ) -> FaultOutcome<FaultGuard<R>> {
        let bytes = allocate.range();
        let reply = {
            let _change = file.inode.epoch.change(MetadataChange::Allocate);
            let len = bytes.end().min(file.inode.size()).saturating_sub(bytes.start()).max(1);
            space::fallocate(self.rpc(), &file.handle, FallocateMode::KEEP_SIZE, bytes.start(), len)
        };
        match allocate.allocated(reply.as_ref().copied().map_err(Error::errno)) {
            Ok(sync) => self.finish_sync(file, fault, sync),
            Err(error) => failed(error.errno),
        }
    }
}

/// How far the page may reach that a store makes writable.
fn store_end(fault: &Fault, page_start: u64, run: MappedRun) -> u64 {
    if fault.wanted == Wanted::Base { page_start + PAGE_SIZE } else { run.file_offset + run.len }
}

/// Gets a reference for a fault. Copies go by requests for a while after a refusal, which may have been about a size that the
/// file no longer has; a fault has no other way, so it has the host asked anew, once.
fn acquire_for_fault<R: Lock>(window: &DaxWindow<R>, file: &OpenFile<R>, request: &Request) -> Result<Acquired, Error> {
    let acquire = || {
        let stream = &mut Stream::new();
        match window.hit(stream, request) {
            Some(range) => Ok(Acquired::Range(range)),
            None => window.acquire(&file.id(), stream, request),
        }
    };
    match acquire()? {
        Acquired::Bypass(Bypass::Refused) => {
            window.forget_refusals(file.inode.key);
            acquire()
        }
        acquired => Ok(acquired),
    }
}

/// What becomes of a fault that fails: a bus error, unless the failure may pass.
pub(crate) fn failed<G>(errno: Errno) -> FaultOutcome<G> {
    match errno {
        Errno::EAGAIN | Errno::EBUSY | Errno::ETIMEDOUT | Errno::EINTR | Errno::ENOMEM | Errno::ENOBUFS => {
            FaultOutcome::Retry
        }
        errno => FaultOutcome::BusError(errno),
    }
}
