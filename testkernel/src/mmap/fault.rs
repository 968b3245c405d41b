//! A page fault, from the question to the driver to the page-table entry.

use super::{
    file::{Guard, Pages, Read, Refusal},
    process::{Counters, Entry, Memory, Process, View, is_private},
};
use crate::{
    arch::copy::Copy,
    memory::{PAGE, frames},
};
use alloc::sync::Arc;
use core::{slice, sync::atomic::Ordering};
use fs_dax::{Errno, Fault, FaultAccess, Page, PageSize, VirtAddr, Wanted};
use x86_64::instructions::tlb;

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
        let pages = Faulting { process: self, view, address };
        view.file.answer(&fault, view.writable && !is_private(view), &pages)
    }
}

/// A process at a fault.
struct Faulting<'a> {
    process: &'a Process,
    view: &'a Arc<View>,
    address: u64,
}

impl Pages for Faulting<'_> {
    fn install(&self, page: &Page, writable: bool, guard: &mut dyn Guard) -> Result<(), Refusal> {
        let removed = {
            let mut tables = self.process.tables();
            let stale = !tables.has(self.view) || !guard.is_current() || tables.permits(self.address, writable);
            // A small page may have come into the place of a large one.
            if stale || page.size == PageSize::Huge && tables.wanted(page.virt.0) == Wanted::Base {
                return Ok(());
            }
            let memory = Memory::Window(page.phys);
            let entry = Entry { len: page.len, file_offset: page.file_offset, writable, memory };
            let removed = tables.install(page.virt.0, entry)?;
            guard.installed(page, writable);
            removed
        };
        let Counters { huge, base, .. } = &self.process.counters;
        let counter = if page.size == PageSize::Huge { huge } else { base };
        counter.fetch_add(1, Ordering::AcqRel);
        removed.finish();
        Ok(())
    }

    fn copy(&self, page: &Page, guard: &dyn Guard) -> Result<(), Refusal> {
        let frame = Frame::new()?;
        let from = page.phys.0 as *const u8;
        // SAFETY: the guard keeps the page of the file, which the kernel has mapped one to one; the frame is our own.
        unsafe { Copy::best().copy(from, frame.0 as *mut u8, PAGE as usize) };
        self.install_own((page.virt.0, page.file_offset), Memory::Own(frame.0), frame, || guard.is_current())?;
        self.process.counters.copied.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// For views that are private or never written.
    fn fill(&self, fault: &Fault, file: &dyn Read) -> Result<(), Refusal> {
        let view = self.view;
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
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) if filled == 0 => return Err(Refusal::Bus(Errno::ERANGE)),
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(errno) => return Err(Refusal::Bus(errno)),
            }
        }
        // What a program may store to is its own from the start.
        let own = view.writable && is_private(view);
        let memory = if own { Memory::Own(frame.0) } else { Memory::Filled(frame.0) };
        self.install_own((virt, offset), memory, frame, || file.is_current())?;
        self.process.counters.filled.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

impl Faulting<'_> {
    fn install_own(
        &self,
        (virt, file_offset): (u64, u64),
        memory: Memory,
        frame: Frame,
        is_current: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let stores = matches!(memory, Memory::Own(_));
        let removed = {
            let mut tables = self.process.tables();
            if !tables.has(self.view) || !is_current() || tables.permits(virt, stores) {
                return Ok(());
            }
            let entry = Entry { len: PAGE, file_offset, writable: stores, memory };
            let removed = tables.install(virt, entry)?;
            core::mem::forget(frame);
            removed
        };
        removed.finish();
        Ok(())
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
