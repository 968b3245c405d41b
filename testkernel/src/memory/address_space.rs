//! An address space: the kernel's mappings, and above them those of a program.

use super::{
    LARGE_PAGE, PAGE, frames,
    paging::{self, MapError, TableFrames},
};
use x86_64::{
    PhysAddr, VirtAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{
        Mapper, OffsetPageTable, Page, PageTable, PageTableFlags as Flags, PhysFrame, Size2MiB, Size4KiB, Translate,
        mapper::{MapToError, MappedFrame, TranslateError, TranslateResult},
    },
};

/// What an access may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Access {
    const fn flags(self) -> Flags {
        let flags = Flags::PRESENT.union(Flags::NO_EXECUTE);
        match self {
            Self::Read => flags,
            Self::Write => flags.union(Flags::WRITABLE),
        }
    }
}

/// An address space. Its tables are never given back.
#[derive(Debug)]
pub(crate) struct AddressSpace {
    root: PhysFrame,
    mapper: OffsetPageTable<'static>,
}

impl AddressSpace {
    /// One with the kernel's mappings only.
    ///
    /// # Errors
    /// Without memory.
    pub(crate) fn new() -> Result<Self, MapError> {
        let address = frames::allocate(1, 1).ok_or(MapError::OutOfMemory)?;
        let table = address as *mut PageTable;
        // SAFETY: a fresh frame, page-aligned and mapped one to one.
        unsafe { table.write(PageTable::new()) };
        // SAFETY: as above; the reference goes into the mapper and nowhere else.
        let table = unsafe { &mut *table };
        paging::share_kernel(table);
        // SAFETY: physical memory is mapped one to one in every address space.
        let mapper = unsafe { OffsetPageTable::new(table, VirtAddr::zero()) };
        Ok(Self { root: PhysFrame::containing_address(PhysAddr::new(address)), mapper })
    }

    /// Makes it this processor's.
    pub(crate) fn activate(&self) {
        // SAFETY: it maps the kernel as every address space does.
        unsafe { Cr3::write(self.root, Cr3Flags::empty()) };
    }

    /// Maps a page of 4 KiB or 2 MiB at an address above the kernel's, in place of what was there.
    ///
    /// # Errors
    /// [`MapError::Conflict`] for an address of the kernel's, one that is not aligned, or a large page where small ones
    /// are; [`MapError::OutOfMemory`].
    ///
    /// # Safety
    /// Nobody may hold a reference to memory that was mapped there, and the frame must be memory that programs may touch.
    pub(crate) unsafe fn map(&mut self, virt: u64, phys: u64, bytes: u64, access: Access) -> Result<(), MapError> {
        let (virt, phys) = self.check(virt, phys, bytes)?;
        // SAFETY: the caller's promise.
        unsafe { self.unmap(virt.as_u64(), bytes) }?;
        // What was there is gone and flushed; that nothing is there no processor remembers.
        let flags = access.flags();
        let result = if bytes == LARGE_PAGE {
            let page = Page::<Size2MiB>::containing_address(virt);
            // SAFETY: the caller's promise.
            unsafe { self.mapper.map_to(page, PhysFrame::containing_address(phys), flags, &mut TableFrames) }
                .map(|new| new.ignore())
                .map_err(|error| matches!(error, MapToError::FrameAllocationFailed))
        } else {
            let page = Page::<Size4KiB>::containing_address(virt);
            // SAFETY: the caller's promise.
            unsafe { self.mapper.map_to(page, PhysFrame::containing_address(phys), flags, &mut TableFrames) }
                .map(|new| new.ignore())
                .map_err(|error| matches!(error, MapToError::FrameAllocationFailed))
        };
        result.map_err(|no_frame| if no_frame { MapError::OutOfMemory } else { MapError::Conflict(virt.as_u64()) })
    }

    /// Takes away every page in a range of this address space. A large page that reaches past the range goes as a whole.
    ///
    /// # Errors
    /// [`MapError::Conflict`] for an address of the kernel's.
    ///
    /// # Safety
    /// Nobody may hold a reference into the range.
    pub(crate) unsafe fn unmap(&mut self, start: u64, bytes: u64) -> Result<(), MapError> {
        let end = start.saturating_add(bytes);
        let mut at = start;
        while at < end {
            let virt = self.check(at / PAGE * PAGE, 0, PAGE)?.0;
            at = match self.mapper.translate(virt) {
                TranslateResult::Mapped { frame: MappedFrame::Size2MiB(_), .. } => {
                    let page = Page::<Size2MiB>::containing_address(virt);
                    let (_, flush) = self.mapper.unmap(page).map_err(|_| MapError::Conflict(at))?;
                    flush.flush();
                    (at / LARGE_PAGE + 1) * LARGE_PAGE
                }
                TranslateResult::Mapped { .. } => {
                    let page = Page::<Size4KiB>::containing_address(virt);
                    let (_, flush) = self.mapper.unmap(page).map_err(|_| MapError::Conflict(at))?;
                    flush.flush();
                    (at / PAGE + 1) * PAGE
                }
                _ if self.is_empty(virt) => (at / LARGE_PAGE + 1) * LARGE_PAGE,
                _ => (at / PAGE + 1) * PAGE,
            };
        }
        Ok(())
    }

    /// Whether nothing is mapped in the 2 MiB around an address, so that there is no table of small pages even.
    fn is_empty(&self, virt: VirtAddr) -> bool {
        let page = Page::<Size2MiB>::containing_address(virt);
        matches!(self.mapper.translate_page(page), Err(TranslateError::PageNotMapped))
    }

    /// Whether there is a table of small pages around an address, in which a page may be or have been.
    pub(crate) fn has_small_pages(&self, address: u64) -> bool {
        let Ok(virt) = VirtAddr::try_new(address) else { return false };
        let large = matches!(
            self.mapper.translate(virt),
            TranslateResult::Mapped { frame: MappedFrame::Size2MiB(_) | MappedFrame::Size1GiB(_), .. }
        );
        !large && !self.is_empty(virt)
    }

    /// Whether nothing is mapped where a page of so many bytes would be, as far as a look at the tables tells.
    pub(crate) fn is_free(&self, address: u64, bytes: u64) -> bool {
        let Ok(virt) = VirtAddr::try_new(address) else { return false };
        match bytes {
            LARGE_PAGE => self.is_empty(virt),
            _ => matches!(self.mapper.translate(virt), TranslateResult::NotMapped),
        }
    }

    /// The physical address and page size behind an address, and whether it may be written; `None` when nothing is.
    pub(crate) fn lookup(&self, address: u64) -> Option<(u64, u64, bool)> {
        match self.mapper.translate(VirtAddr::try_new(address).ok()?) {
            TranslateResult::Mapped { frame, offset, flags } => {
                Some((frame.start_address().as_u64() + offset, frame.size(), flags.contains(Flags::WRITABLE)))
            }
            _ => None,
        }
    }

    fn check(&self, virt: u64, phys: u64, bytes: u64) -> Result<(VirtAddr, PhysAddr), MapError> {
        let conflict = MapError::Conflict(virt);
        let aligned =
            (bytes == PAGE || bytes == LARGE_PAGE) && virt.is_multiple_of(bytes) && phys.is_multiple_of(bytes);
        if !aligned || !(paging::USER_START..paging::USER_END).contains(&virt) {
            return Err(conflict);
        }
        Ok((VirtAddr::try_new(virt).map_err(|_| conflict)?, PhysAddr::try_new(phys).map_err(|_| conflict)?))
    }
}
