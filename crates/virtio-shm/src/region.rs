//! A shared-memory region and the checks an embedder wants before it maps one.

use core::ops::Range;

use crate::{Neighbour, ShmError, ShmId};

/// A shared-memory region: guest-physical memory that the device lends to the driver (virtio 1.3, 2.10).
///
/// A value of this type has a length above zero and does not wrap around the address space. Nothing else is
/// promised: the numbers came from the device. Before mapping it ask [`ShmRegion::check_outside`] with the machine's
/// RAM, and whatever else of the checks below matters to the use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShmRegion {
    id: ShmId,
    addr: u64,
    len: u64,
}

impl ShmRegion {
    /// A region of `len` bytes at the guest-physical address `addr`.
    ///
    /// # Errors
    ///
    /// [`ShmError::ZeroLength`] if `len` is 0, [`ShmError::AddressOverflow`] if `addr + len` does not fit 64 bits.
    ///
    /// ```
    /// use virtio_shm::{ShmError, ShmId, ShmRegion};
    ///
    /// let window = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0xf800_0000, 64 << 20)?;
    /// assert_eq!(window.end(), 0xfc00_0000);
    /// assert!(ShmRegion::new(ShmId::FS_DAX_WINDOW, u64::MAX - 4095, 8192).is_err());
    /// # Ok::<(), ShmError>(())
    /// ```
    pub const fn new(id: ShmId, addr: u64, len: u64) -> Result<Self, ShmError> {
        if len == 0 {
            return Err(ShmError::ZeroLength { id, addr });
        }
        if addr.checked_add(len).is_none() {
            return Err(ShmError::AddressOverflow { id, addr, len });
        }
        Ok(Self { id, addr, len })
    }

    /// The id by which the device offered it.
    pub const fn id(&self) -> ShmId {
        self.id
    }

    /// The guest-physical address of its first byte.
    pub const fn addr(&self) -> u64 {
        self.addr
    }

    /// Its length in bytes, never 0.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The guest-physical address behind its last byte.
    pub const fn end(&self) -> u64 {
        // Cannot wrap: the constructor checked it.
        self.addr + self.len
    }

    /// Its guest-physical addresses.
    pub const fn range(&self) -> Range<u64> {
        self.addr..self.end()
    }

    /// The `len` bytes from `offset` on as a region of their own, with the same id: for a user that is to have a part
    /// of the region only. Offsets into the whole region, as the device counts them, are `offset` more than those into the
    /// part.
    ///
    /// # Errors
    ///
    /// [`ShmError::ZeroLength`] if `len` is 0, [`ShmError::PartOutside`] if the bytes are not all inside.
    ///
    /// ```
    /// use virtio_shm::{ShmError, ShmId, ShmRegion};
    ///
    /// let window = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0xf800_0000, 64 << 20)?;
    /// let second_half = window.part(32 << 20, 32 << 20)?;
    /// assert_eq!(second_half.range(), 0xfa00_0000..0xfc00_0000);
    /// assert!(second_half.part(4096, 32 << 20).is_err());
    /// # Ok::<(), ShmError>(())
    /// ```
    pub const fn part(&self, offset: u64, len: u64) -> Result<Self, ShmError> {
        let Self { id, addr, len: whole } = *self;
        match offset.checked_add(len) {
            // Inside a region that does not wrap, a part doesn't either.
            Some(end) if end <= whole => Self::new(id, addr + offset, len),
            _ => Err(ShmError::PartOutside { id, offset, part: len, len: whole }),
        }
    }

    /// Whether any byte of it lies in `range`.
    pub const fn overlaps(&self, range: &Range<u64>) -> bool {
        range.start < range.end && self.addr < range.end && range.start < self.end()
    }

    /// Checks that address and length are multiples of `align` bytes, e.g. the page size or a window's range size.
    ///
    /// # Errors
    ///
    /// [`ShmError::AddressUnaligned`] or [`ShmError::LengthUnaligned`]; an `align` of 0 counts as 1.
    pub const fn check_aligned(&self, align: u64) -> Result<(), ShmError> {
        let Self { id, addr, len } = *self;
        if align != 0 && !addr.is_multiple_of(align) {
            return Err(ShmError::AddressUnaligned { id, addr, align });
        }
        if align != 0 && !len.is_multiple_of(align) {
            return Err(ShmError::LengthUnaligned { id, len, align });
        }
        Ok(())
    }

    /// Checks that it has at least `min` bytes, e.g. one range of a window.
    ///
    /// # Errors
    ///
    /// [`ShmError::TooShort`].
    pub const fn check_at_least(&self, min: u64) -> Result<(), ShmError> {
        if self.len < min {
            return Err(ShmError::TooShort { id: self.id, len: self.len, min });
        }
        Ok(())
    }

    /// Checks that no byte of it lies in one of the `ranges` of guest-physical addresses, which are those the embedder
    /// knows to be something else: the machine's RAM first of all, but also its kernel image and other devices.
    ///
    /// A device that could place its window over RAM would have the kernel's own memory rewritten by whoever writes
    /// files.
    ///
    /// # Errors
    ///
    /// [`ShmError::Overlap`] with [`Neighbour::Embedder`], for the first such range.
    ///
    /// ```
    /// use virtio_shm::{ShmId, ShmRegion};
    ///
    /// let ram = [0..0x9_f000, 0x10_0000..0x4000_0000];
    /// let good = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0x4000_0000, 1 << 30)?;
    /// let evil = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0x3fff_f000, 1 << 30)?;
    /// assert!(good.check_outside(ram.clone()).is_ok());
    /// assert!(evil.check_outside(ram).is_err());
    /// # Ok::<(), virtio_shm::ShmError>(())
    /// ```
    pub fn check_outside(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> Result<(), ShmError> {
        for range in ranges {
            if self.overlaps(&range) {
                return Err(self.overlap(Neighbour::Embedder, range));
            }
        }
        Ok(())
    }

    /// The error that says that this region and `other`, which is at `range`, overlap.
    pub const fn overlap(&self, other: Neighbour, range: Range<u64>) -> ShmError {
        ShmError::Overlap {
            id: self.id,
            addr: self.addr,
            len: self.len,
            other,
            other_addr: range.start,
            other_len: range.end.saturating_sub(range.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ShmId = ShmId(3);

    fn region(addr: u64, len: u64) -> ShmRegion {
        ShmRegion::new(ID, addr, len).expect("a good region")
    }

    #[test]
    fn construction() {
        assert_eq!(ShmRegion::new(ID, 5, 0), Err(ShmError::ZeroLength { id: ID, addr: 5 }));
        let overflow = |addr, len| ShmError::AddressOverflow { id: ID, addr, len };
        for (addr, len) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (1 << 63, 1 << 63)] {
            assert_eq!(ShmRegion::new(ID, addr, len), Err(overflow(addr, len)));
        }
        let largest = region(0, u64::MAX);
        assert_eq!((largest.addr(), largest.len(), largest.end()), (0, u64::MAX, u64::MAX));
        assert_eq!(region(u64::MAX - 1, 1).range(), u64::MAX - 1..u64::MAX);
    }

    #[test]
    fn overlaps_are_those_of_single_bytes() {
        for (addr, len) in [(4, 1), (4, 4), (0, 8), (7, 2)] {
            let region = region(addr, len);
            for start in 0..12 {
                for end in 0..12 {
                    let shared = (start..end).any(|byte| region.range().contains(&byte));
                    assert_eq!(region.overlaps(&(start..end)), shared, "{region:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn parts_are_inside() {
        let whole = region(0x1000, 0x8000);
        assert_eq!(whole.part(0, 0x8000), Ok(whole));
        assert_eq!(whole.part(0x7fff, 1), Ok(region(0x8fff, 1)));
        assert_eq!(whole.part(0, 0), Err(ShmError::ZeroLength { id: ID, addr: 0x1000 }));
        for (offset, part) in [(0, 0x8001), (0x8000, 1), (1, 0x8000), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(whole.part(offset, part), Err(ShmError::PartOutside { id: ID, offset, part, len: 0x8000 }));
        }
        let last = region(u64::MAX - 8, 8);
        assert_eq!(last.part(4, 4), Ok(region(u64::MAX - 4, 4)));
    }

    #[test]
    fn what_an_embedder_checks() {
        let window = region(0x20_0000, 0x40_0000);
        assert_eq!(window.check_aligned(0x20_0000), Ok(()));
        assert_eq!(window.check_aligned(0), Ok(()));
        let unaligned = ShmError::AddressUnaligned { id: ID, addr: 0x20_0000, align: 0x40_0000 };
        assert_eq!(window.check_aligned(0x40_0000), Err(unaligned));
        let odd = region(0x20_0000, 0x30_0000);
        let unaligned = ShmError::LengthUnaligned { id: ID, len: 0x30_0000, align: 0x20_0000 };
        assert_eq!(odd.check_aligned(0x20_0000), Err(unaligned));
        assert_eq!(window.check_at_least(0x40_0000), Ok(()));
        let short = ShmError::TooShort { id: ID, len: 0x40_0000, min: 0x40_0001 };
        assert_eq!(window.check_at_least(0x40_0001), Err(short));
        assert_eq!(window.check_outside([]), Ok(()));
        assert_eq!(window.check_outside([0..0x20_0000, 0x60_0000..u64::MAX]), Ok(()));
        let ram = ShmError::Overlap {
            id: ID,
            addr: 0x20_0000,
            len: 0x40_0000,
            other: Neighbour::Embedder,
            other_addr: 0x5f_ffff,
            other_len: 0x10_0001,
        };
        assert_eq!(window.check_outside([0..1, 0x5f_ffff..0x70_0000]), Err(ram));
    }
}
