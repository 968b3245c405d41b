//! A page fault, from the question to the driver to the page-table entry.

use super::process::{Counters, Entry, Memory, Process, View, is_private};
use crate::{
    arch::copy::Copy,
    memory::{PAGE, frames, paging::MapError},
};
use alloc::sync::Arc;
use core::{slice, sync::atomic::Ordering};
use fs_dax::{Errno, Fault, FaultAccess, FaultOutcome, PageMapping, PageSize, VirtAddr, Wanted};
use virtio_fs::{FaultGuard, LayoutWatch};
use x86_64::instructions::tlb;

type Guard = FaultGuard<spin::Mutex<()>>;

impl Process {
    /// Answers a fault of this process. `Ok` means that the access is to be tried again.
    pub(super) fn resolve(&self, address: u64, write: bool) -> Result<(), Errno> {
        let (view, wanted) = {
            let tables = self.tables();
            if tables.permits(address, write) {
                // Another processor was faster; or this one remembers an entry that permitted less.
                tlb::flush(x86_64::VirtAddr::new_truncate(address));
                return Ok(());
            }
            let view = tables.view(address).ok_or(Errno::EFAULT)?.clone();
            (view, tables.wanted(address))
        };
        if write && !view.writable {
            return Err(Errno::EACCES);
        }
        match self.resolve_in(&view, address, write, wanted) {
            Err(Refusal::SmallOnly) => self.resolve_in(&view, address, write, Wanted::Base),
            other => other,
        }
        .map_err(|refusal| match refusal {
            Refusal::SmallOnly => Errno::ENOMEM,
            Refusal::Bus(errno) => errno,
        })
    }

    fn resolve_in(&self, view: &Arc<View>, address: u64, write: bool, wanted: Wanted) -> Result<(), Refusal> {
        let fault = Fault {
            area: view.area,
            at: VirtAddr(address),
            access: if write { FaultAccess::Write } else { FaultAccess::Read },
            sharing: view.agreed.sharing,
            sync: view.agreed.sync,
            wanted,
        };
        let watch = view.file.watch();
        let mut outcome = view.file.fault(&fault);
        loop {
            outcome = match outcome {
                FaultOutcome::Map(mapping) => return self.install(view, address, mapping),
                FaultOutcome::Copy(mapping) => return self.copy(view, &mapping),
                FaultOutcome::NeedsSync(sync) => view.file.finish_sync(&fault, sync),
                FaultOutcome::NeedsAllocation(allocate) => view.file.finish_allocation(&fault, allocate),
                FaultOutcome::Hole => return self.fill(view, &fault, watch),
                FaultOutcome::NeedsWritable => return Err(Refusal::Bus(Errno::EACCES)),
                FaultOutcome::SmallerPage => return Err(Refusal::SmallOnly),
                FaultOutcome::Retry => return Ok(()),
                FaultOutcome::BusError(errno) => return Err(Refusal::Bus(errno)),
            };
        }
    }

    /// Installs a page of the window.
    fn install(&self, view: &Arc<View>, address: u64, mapping: PageMapping<Guard>) -> Result<(), Refusal> {
        let PageMapping { page, writable, guard } = mapping;
        let removed = {
            let mut tables = self.tables();
            let stale = !tables.has(view) || !guard.is_current() || tables.permits(address, writable);
            // A small page may have come into the place of a large one.
            if stale || page.size == PageSize::Huge && tables.wanted(page.virt.0) == Wanted::Base {
                return Ok(());
            }
            let memory = Memory::Window(page.phys);
            let entry = Entry { len: page.len, file_offset: page.file_offset, writable, memory };
            let removed = tables.install(page.virt.0, entry)?;
            guard.installed(&page, writable);
            removed
        };
        let Counters { huge, base, .. } = &self.counters;
        let counter = if page.size == PageSize::Huge { huge } else { base };
        counter.fetch_add(1, Ordering::AcqRel);
        removed.finish();
        Ok(())
    }

    /// Installs a copy of a page of the window.
    fn copy(&self, view: &Arc<View>, mapping: &PageMapping<Guard>) -> Result<(), Refusal> {
        let PageMapping { page, guard, .. } = mapping;
        let frame = Frame::new()?;
        let from = page.phys.0 as *const u8;
        // SAFETY: the guard keeps the page of the window, which the kernel has mapped one to one; the frame is our own.
        unsafe { Copy::best().copy(from, frame.0 as *mut u8, PAGE as usize) };
        self.install_own(view, page.virt.0, page.file_offset, true, frame, || guard.is_current())?;
        self.counters.copied.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Fills a page that the host cannot map by reading the file, if nobody can mistake it for the file itself: for views
    /// that are private or never written.
    fn fill(&self, view: &Arc<View>, fault: &Fault, watch: LayoutWatch) -> Result<(), Refusal> {
        if !is_private(view) && view.writable {
            return Err(Refusal::Bus(Errno::ENXIO));
        }
        let virt = fault.at.0 / PAGE * PAGE;
        let offset = view.area.file_offset_of(VirtAddr(virt)).ok_or(Refusal::Bus(Errno::EFAULT))?;
        let frame = Frame::new()?;
        // SAFETY: a frame of our own, mapped one to one and zeroed.
        let bytes = unsafe { slice::from_raw_parts_mut(frame.0 as *mut u8, PAGE as usize) };
        let mut filled = 0;
        while filled < bytes.len() {
            match view.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) if filled == 0 => return Err(Refusal::Bus(Errno::ERANGE)),
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => {
                    return Err(Refusal::Bus(Errno::new(error.errno().number()).unwrap_or(Errno::EIO)));
                }
            }
        }
        let writable = view.writable && is_private(view);
        self.install_own(view, virt, offset, writable, frame, || view.file.unchanged_since(watch))?;
        self.counters.filled.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn install_own(
        &self,
        view: &Arc<View>,
        virt: u64,
        file_offset: u64,
        writable: bool,
        frame: Frame,
        is_current: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let removed = {
            let mut tables = self.tables();
            if !tables.has(view) || !is_current() || tables.permits(virt, writable) {
                return Ok(());
            }
            let entry = Entry { len: PAGE, file_offset, writable, memory: Memory::Own(frame.0) };
            let removed = tables.install(virt, entry)?;
            core::mem::forget(frame);
            removed
        };
        removed.finish();
        Ok(())
    }
}

/// Why there is no page.
enum Refusal {
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

/// A zeroed frame that is given back unless it gets into a page table.
struct Frame(u64);

impl Frame {
    fn new() -> Result<Self, Refusal> {
        let frame = frames::allocate(1, 1).ok_or(Refusal::Bus(Errno::ENOMEM))?;
        // SAFETY: the frame was just taken and is mapped one to one.
        unsafe { (frame as *mut u8).write_bytes(0, PAGE as usize) };
        Ok(Self(frame))
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        frames::free(self.0, 1);
    }
}
