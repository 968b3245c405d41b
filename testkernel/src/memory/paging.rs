//! The kernel's page tables: everything one to one, code read-only, data never executable, devices uncached.
//!
//! They take the first 4 TiB of every address space.

use super::{LARGE_PAGE, PAGE, PhysRange, frames, layout};
use crate::boot::start_info::StartInfo;
use core::ptr;
use spin::{Mutex, Once};
use thiserror::Error;
use x86_64::{
    PhysAddr, VirtAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{
        FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags as Flags, PhysFrame, Size2MiB,
        Size4KiB, Translate,
        mapper::{MapToError, MappedFrame, TranslateResult},
    },
};

/// Entries of the root that belong to the kernel, of 512 GiB each.
const KERNEL_SLOTS: usize = 8;
/// End of what can be mapped one to one: 4 TiB. Windows were seen at 1 TiB less 4 GiB.
const LIMIT: u64 = (KERNEL_SLOTS as u64) << 39;

static TABLES: Once<Mutex<OffsetPageTable<'static>>> = Once::new();

/// How memory is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Write-back, like RAM: what a DAX window needs (virtio 1.3, 5.11.6.4).
    WriteBack,
    /// Uncached: device registers.
    Uncached,
}

impl Caching {
    /// Bits of a page table entry. With the reset value of the PAT, PCD and PWT together select strong uncached.
    const fn flags(self) -> Flags {
        match self {
            Self::WriteBack => Flags::empty(),
            Self::Uncached => Flags::NO_CACHE.union(Flags::WRITE_THROUGH),
        }
    }
}

/// Why something could not be mapped.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum MapError {
    /// The range is empty, wraps around or ends past what can be mapped one to one.
    #[error("{:#x}..{:#x} cannot be mapped one to one", .0.start, .0.end)]
    OutOfReach(PhysRange),
    /// A page of the range is mapped already, with another caching.
    #[error("{0:#x} is mapped already, cached in another way")]
    Conflict(u64),
    /// No frame left for page tables.
    #[error("no memory for page tables")]
    OutOfMemory,
}

/// Frames for page tables, from the global allocator.
pub(super) struct TableFrames;

// SAFETY: the allocator gives frames that nobody else uses.
unsafe impl FrameAllocator<Size4KiB> for TableFrames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let address = frames::allocate(1, 1)?;
        PhysFrame::from_start_address(PhysAddr::new(address)).ok()
    }
}

/// Builds the kernel's page tables and switches to them: the image with a protection for each part, no page under a
/// stack, nothing at address 0, and all other RAM writable.
///
/// # Errors
/// When memory is too small or the boot loader's map makes no sense.
///
/// # Safety
/// To be called once, on the boot page tables (4 GiB one to one), with nothing in use outside the image and RAM.
pub(crate) unsafe fn init(info: &StartInfo) -> Result<(), MapError> {
    let root = frames::allocate(1, 1).ok_or(MapError::OutOfMemory)?;
    let table = root as *mut PageTable;
    // SAFETY: a fresh frame, page-aligned, mapped by the boot page tables since low frames are given first.
    unsafe { table.write(PageTable::new()) };
    // SAFETY: as above; the reference goes into the mapper and nowhere else.
    let table = unsafe { &mut *table };
    // SAFETY: physical memory is mapped one to one, in the boot page tables and in these.
    let mut mapper = unsafe { OffsetPageTable::new(table, VirtAddr::zero()) };

    // Every address space shares these, so that what is mapped later is mapped in all of them.
    for slot in 0..KERNEL_SLOTS {
        let frame = frames::allocate(1, 1).ok_or(MapError::OutOfMemory)?;
        // SAFETY: a fresh frame, mapped as above.
        unsafe { (frame as *mut PageTable).write(PageTable::new()) };
        mapper.level_4_table_mut()[slot].set_addr(PhysAddr::new(frame), Flags::PRESENT | Flags::WRITABLE);
    }

    let data = Flags::WRITABLE | Flags::NO_EXECUTE;
    let image = layout::image();
    for (range, flags) in [
        (PhysRange { start: image.start, end: layout::text().start }, Flags::NO_EXECUTE),
        (layout::text(), Flags::empty()),
        (layout::rodata(), Flags::NO_EXECUTE),
        (layout::data(), data),
        (layout::stack(), data),
        (layout::fault_stack(), data),
    ] {
        map(&mut mapper, range, flags)?;
    }
    for processor in 1..layout::MAX_PROCESSORS {
        map(&mut mapper, layout::processor_stack(processor), data)?;
        map(&mut mapper, layout::processor_fault_stack(processor), data)?;
    }
    for range in info.memory() {
        let whole = PhysRange { start: range.start.next_multiple_of(PAGE).max(PAGE), end: range.end / PAGE * PAGE };
        for part in [
            PhysRange { start: whole.start, end: whole.end.min(image.start) },
            PhysRange { start: whole.start.max(image.end.next_multiple_of(PAGE)), end: whole.end },
        ] {
            if part.start < part.end {
                map(&mut mapper, part, data)?;
            }
        }
    }
    let frame = PhysFrame::containing_address(PhysAddr::new(root));
    // SAFETY: the new tables map the image, its stacks and all RAM at the same addresses as the old ones.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    TABLES.call_once(|| Mutex::new(mapper));
    Ok(())
}

/// Where address spaces have room of their own.
pub(crate) const USER_START: u64 = LIMIT;
/// And where that ends: with the lower half, less the last page of it, which stays unmapped.
pub(crate) const USER_END: u64 = (1 << 47) - (1 << 21);

/// Copies the kernel's part of the root table into another one.
pub(crate) fn share_kernel(root: &mut PageTable) {
    if let Some(tables) = TABLES.get() {
        let mapper = tables.lock();
        for slot in 0..KERNEL_SLOTS {
            root[slot] = mapper.level_4_table()[slot].clone();
        }
    }
}

/// Maps a physical range one to one, writable and not executable, with 2 MiB pages where alignment allows. Pages that
/// are mapped in the same way already stay.
///
/// # Errors
/// A [`MapError`]; what was mapped until then stays mapped.
pub(crate) fn map_range(range: PhysRange, caching: Caching) -> Result<(), MapError> {
    let flags = Flags::WRITABLE | Flags::NO_EXECUTE | caching.flags();
    let mut mapper = TABLES.get().ok_or(MapError::OutOfMemory)?.lock();
    map(&mut mapper, range, flags)
}

/// Takes away what [`map_range`] mapped. Addresses that aren't mapped are passed over.
///
/// # Errors
/// [`MapError::OutOfReach`], or [`MapError::Conflict`] where a large page reaches past the range.
///
/// # Safety
/// Nobody may use the range any more.
pub(crate) unsafe fn unmap_range(range: PhysRange) -> Result<(), MapError> {
    let (mut address, end) = page_bounds(range)?;
    let mut mapper = TABLES.get().ok_or(MapError::OutOfMemory)?.lock();
    while address < end {
        let virt = VirtAddr::new(address);
        match mapper.translate(virt) {
            TranslateResult::Mapped { frame: MappedFrame::Size2MiB(_), .. } => {
                if address % LARGE_PAGE != 0 || end - address < LARGE_PAGE {
                    return Err(MapError::Conflict(address));
                }
                let page = Page::<Size2MiB>::containing_address(virt);
                let (_, flush) = mapper.unmap(page).map_err(|_| MapError::Conflict(address))?;
                flush.flush();
                address += LARGE_PAGE;
            }
            TranslateResult::Mapped { .. } => {
                let page = Page::<Size4KiB>::containing_address(virt);
                let (_, flush) = mapper.unmap(page).map_err(|_| MapError::Conflict(address))?;
                flush.flush();
                address += PAGE;
            }
            _ => address += PAGE,
        }
    }
    Ok(())
}

/// The bytes of the page that maps an address and whether it is cached; `None` when nothing maps it.
pub(crate) fn lookup(address: u64) -> Option<(u64, Caching)> {
    let mapper = TABLES.get()?.lock();
    match mapper.translate(VirtAddr::try_new(address).ok()?) {
        TranslateResult::Mapped { frame, flags, .. } => {
            let caching = if flags.contains(Flags::NO_CACHE) { Caching::Uncached } else { Caching::WriteBack };
            Some((frame.size(), caching))
        }
        _ => None,
    }
}

/// Reads an aligned word of whatever is mapped at an address outside the kernel's own memory; `None` when nothing is.
pub(crate) fn read_word(address: u64) -> Option<u64> {
    lookup(address).filter(|_| address.is_multiple_of(8))?;
    // SAFETY: the address is mapped, readable and aligned; a volatile read of memory that others may change is fine.
    Some(unsafe { ptr::read_volatile(address as *const u64) })
}

/// The page-aligned range around a range, checked.
fn page_bounds(range: PhysRange) -> Result<(u64, u64), MapError> {
    if range.start >= range.end || range.end > LIMIT {
        return Err(MapError::OutOfReach(range));
    }
    Ok((range.start / PAGE * PAGE, range.end.next_multiple_of(PAGE)))
}

/// Maps a range one to one with the given flags.
fn map(mapper: &mut OffsetPageTable<'_>, range: PhysRange, flags: Flags) -> Result<(), MapError> {
    let flags = flags | Flags::PRESENT;
    let (mut address, end) = page_bounds(range)?;
    while address < end {
        let virt = VirtAddr::new(address);
        let phys = PhysAddr::new(address);
        if let TranslateResult::Mapped { frame, flags: present, .. } = mapper.translate(virt) {
            let kept = Flags::WRITABLE | Flags::NO_CACHE | Flags::WRITE_THROUGH;
            if present & kept != flags & kept {
                return Err(MapError::Conflict(address));
            }
            address = (address / frame.size() + 1) * frame.size();
        } else if address % LARGE_PAGE == 0 && end - address >= LARGE_PAGE && map_large(mapper, virt, phys, flags)? {
            address += LARGE_PAGE;
        } else {
            let page = Page::<Size4KiB>::containing_address(virt);
            // SAFETY: the page was not mapped, so no reference can be hurt; who uses the memory is the caller's matter.
            match unsafe { mapper.map_to(page, PhysFrame::containing_address(phys), flags, &mut TableFrames) } {
                Ok(flush) => flush.flush(),
                Err(MapToError::FrameAllocationFailed) => return Err(MapError::OutOfMemory),
                Err(_) => return Err(MapError::Conflict(address)),
            }
            address += PAGE;
        }
    }
    Ok(())
}

/// Maps one 2 MiB page; `false` when smaller pages are in the way.
fn map_large(mapper: &mut OffsetPageTable<'_>, virt: VirtAddr, phys: PhysAddr, flags: Flags) -> Result<bool, MapError> {
    let page = Page::<Size2MiB>::containing_address(virt);
    // SAFETY: the first page was not mapped and the call fails where smaller pages are, so no reference can be hurt.
    match unsafe { mapper.map_to(page, PhysFrame::containing_address(phys), flags, &mut TableFrames) } {
        Ok(flush) => {
            flush.flush();
            Ok(true)
        }
        Err(MapToError::FrameAllocationFailed) => Err(MapError::OutOfMemory),
        Err(_) => Ok(false),
    }
}
