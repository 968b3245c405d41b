//! Which page size a fault can be answered with.

use crate::addr::align_down;
use crate::{Error, PhysAddr, VirtAddr};

/// The two page sizes of an address space, in bytes: powers of two, the huge one larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSizes {
    base: u64,
    huge: u64,
}

/// One of the two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageSize {
    /// The smallest page (4 KiB in [`PageSizes::SMALL_4K`]).
    Base,
    /// The page one page-table level up (2 MiB there).
    Huge,
}

/// What an embedder asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Wanted {
    /// The largest page that fits.
    #[default]
    Largest,
    /// A huge page or none: [`Placement::Smaller`] if it does not fit.
    Huge,
    /// A base page.
    Base,
}

impl PageSizes {
    /// 4 KiB and 2 MiB: x86_64, aarch64 with 4 KiB granule, riscv64.
    pub const SMALL_4K: Self = Self { base: 4096, huge: 2 << 20 };

    /// Two sizes in bytes.
    ///
    /// # Errors
    /// [`Error::PageSizes`] unless both are powers of two and `huge` is the larger.
    pub const fn new(base: u64, huge: u64) -> Result<Self, Error> {
        if base.is_power_of_two() && huge.is_power_of_two() && huge > base {
            Ok(Self { base, huge })
        } else {
            Err(Error::PageSizes { base, huge })
        }
    }

    /// The base size in bytes.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.base
    }

    /// The huge size in bytes.
    #[must_use]
    pub const fn huge(self) -> u64 {
        self.huge
    }

    /// The bytes of a page of this size.
    #[must_use]
    pub const fn bytes(self, size: PageSize) -> u64 {
        match size {
            PageSize::Base => self.base,
            PageSize::Huge => self.huge,
        }
    }

    /// Finds the page to answer a fault with. Pure: the same numbers give the same page.
    ///
    /// A huge page is taken only if all of it lies in the mapped area, its virtual and its physical address are
    /// multiples of its size, all of it is physically contiguous in `run`, and its last base page still holds a byte of
    /// the file. Otherwise a base page, for which `run` must cover the whole page and the file at least its first byte.
    ///
    /// - `area`: the mapping that the faulting address is in
    /// - `at`: the address that faulted
    /// - `eof`: the file's size in bytes
    /// - `run`: what of the file is in memory around the fault, contiguously; `None` if nothing is
    #[must_use]
    pub fn place(self, area: &Area, at: VirtAddr, eof: u64, run: Option<&MappedRun>, wanted: Wanted) -> Placement {
        let Some(offset) = area.file_offset_of(at) else { return Placement::OutsideArea };
        if !area.start.is_aligned(self.base) || align_down(area.file_offset, self.base) != area.file_offset {
            return Placement::Misaligned;
        }
        if align_down(offset, self.base) >= eof {
            return Placement::PastEof;
        }
        let Some(run) = run else { return Placement::Hole };
        if wanted != Wanted::Base {
            if let Some(page) = self.page(PageSize::Huge, area, at, eof, run) {
                return Placement::Page(page);
            }
            if wanted == Wanted::Huge {
                return Placement::Smaller;
            }
        }
        match self.page(PageSize::Base, area, at, eof, run) {
            Some(page) => Placement::Page(page),
            None if run.phys_of(align_down(offset, self.base), self.base).is_some() => Placement::Misaligned,
            None => Placement::Hole,
        }
    }

    fn page(self, size: PageSize, area: &Area, at: VirtAddr, eof: u64, run: &MappedRun) -> Option<Page> {
        let len = self.bytes(size);
        let virt = VirtAddr(align_down(at.0, len));
        let file_offset = area.file_offset_of(virt)?;
        // The last byte of the page, too, is in the area.
        area.file_offset_of(virt.checked_add(len - 1)?)?;
        let last_base_page = file_offset.checked_add(len - self.base)?;
        if last_base_page >= eof {
            return None;
        }
        let phys = run.phys_of(file_offset, len)?;
        phys.is_aligned(len).then_some(Page { size, len, virt, phys, file_offset })
    }
}

/// Consecutive virtual addresses that show consecutive bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Area {
    start: VirtAddr,
    len: u64,
    file_offset: u64,
}

impl Area {
    /// The `len` bytes at `start` show the file from `file_offset` on. Each is in bytes; `start` and `file_offset` have
    /// to be multiples of the base page for any fault to be answered.
    ///
    /// # Errors
    /// [`Error::RangeOverflow`] if addresses or offsets pass the end of 64 bits.
    pub const fn new(start: VirtAddr, len: u64, file_offset: u64) -> Result<Self, Error> {
        if start.0.checked_add(len).is_none() {
            return Err(Error::RangeOverflow { start: start.0, len });
        }
        if file_offset.checked_add(len).is_none() {
            return Err(Error::RangeOverflow { start: file_offset, len });
        }
        Ok(Self { start, len, file_offset })
    }

    /// The first address.
    #[must_use]
    pub const fn start(&self) -> VirtAddr {
        self.start
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no address in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The offset in the file of the byte at `at`, or `None` outside the area.
    #[must_use]
    pub const fn file_offset_of(&self, at: VirtAddr) -> Option<u64> {
        match at.0.checked_sub(self.start.0) {
            Some(distance) if distance < self.len => Some(self.file_offset + distance),
            _ => None,
        }
    }
}

/// Bytes of a file that lie in memory one after the other: a mapped range of a window, or an extent of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappedRun {
    /// The offset in the file of the first byte.
    pub file_offset: u64,
    /// The physical address of the first byte.
    pub phys: PhysAddr,
    /// How many bytes.
    pub len: u64,
}

impl MappedRun {
    /// The physical address of the `len` bytes of the file at `file_offset`, if all of them are in this run.
    #[must_use]
    pub const fn phys_of(&self, file_offset: u64, len: u64) -> Option<PhysAddr> {
        match file_offset.checked_sub(self.file_offset) {
            Some(distance) if distance <= self.len && len <= self.len - distance => self.phys.checked_add(distance),
            _ => None,
        }
    }
}

/// A page that answers a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Which size.
    pub size: PageSize,
    /// That size in bytes.
    pub len: u64,
    /// Where it begins in the address space, a multiple of `len`.
    pub virt: VirtAddr,
    /// Where it begins in memory, a multiple of `len`.
    pub phys: PhysAddr,
    /// Where it begins in the file, a multiple of the base size.
    pub file_offset: u64,
}

/// What [`PageSizes::place`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// This page.
    Page(Page),
    /// A huge page was asked for and does not fit: ask again for a base page.
    Smaller,
    /// The file ends before the page that faulted: a bus error.
    PastEof,
    /// The file has the page, but nothing in memory holds all of it.
    Hole,
    /// The address is not in the area.
    OutsideArea,
    /// Area and file, or file and memory, are not a whole number of base pages apart: no page table can show this.
    Misaligned,
}
