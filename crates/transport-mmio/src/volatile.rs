//! Registers in memory: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "registers are accessed through a pointer that the embedder vouches for")]

use core::{fmt, ops::Deref, ptr::NonNull};

use safe_mmio::UniqueMmioPointer;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{MmioError, Registers, registers::CONFIG};

/// The registers of a real device, by volatile accesses to mapped device memory.
///
/// An access outside the block or not aligned to its width, which the transport never makes, does what a bus does where
/// nobody answers: reads are all ones, writes vanish.
pub struct VolatileRegisters<'a> {
    base: UniqueMmioPointer<'a, [u8]>,
}

impl VolatileRegisters<'_> {
    /// The `size` bytes of registers at `base`: 0x100 and the device configuration, usually 0x200 or a page.
    ///
    /// # Errors
    ///
    /// [`MmioError::TooSmall`] below 0x100 bytes, [`MmioError::Unaligned`] if `base` is not aligned to 4 bytes.
    ///
    /// # Safety
    ///
    /// `base` must point to `size` bytes of a virtio-mmio device, mapped as device memory, readable and writable from
    /// every thread that the value is moved to, for its lifetime `'a`, during which nothing else accesses them.
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Result<Self, MmioError> {
        if size < CONFIG {
            return Err(MmioError::TooSmall { size, need: CONFIG });
        }
        let addr = base.addr().get();
        if !addr.is_multiple_of(4) {
            return Err(MmioError::Unaligned { addr });
        }
        let block = NonNull::slice_from_raw_parts(base, size);
        // SAFETY: the caller vouches for the memory and for its being ours alone; bytes need no alignment.
        let base = unsafe { UniqueMmioPointer::new(block) };
        Ok(Self { base })
    }

    /// The pointer to a `T` at `offset`, if it lies inside the block and is aligned.
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.base.len() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        let start = self.base.ptr().cast::<u8>().cast_mut();
        // SAFETY: `offset` is inside the block, which is one mapping.
        let place = unsafe { start.add(offset) };
        // The block's start is aligned to 4, no access is wider.
        NonNull::new(place.cast())
    }

    fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Option<T> {
        let place = self.at::<T>(offset)?;
        // SAFETY: `place` is inside the block that `base` stands for, and aligned.
        let register = unsafe { self.base.deref().child(place) };
        // SAFETY: the block is a virtio-mmio device, of which no register changes by being read.
        Some(unsafe { register.read_unsafe() })
    }

    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) {
        if let Some(place) = self.at::<T>(offset) {
            // SAFETY: `place` is inside the block that `base` stands for, and aligned.
            let mut register = unsafe { self.base.child(place) };
            // SAFETY: the block is a virtio-mmio device; writing its registers is memory-safe by itself, and the
            // addresses that a driver puts into them are the affair of whoever owns that memory.
            unsafe { register.write_unsafe(value) };
        }
    }
}

impl Registers for VolatileRegisters<'_> {
    fn size(&self) -> usize {
        self.base.len()
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read(offset).unwrap_or(u8::MAX)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(offset).map_or(u16::MAX, u16::from_le)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(offset).map_or(u32::MAX, u32::from_le)
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write(offset, value);
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write(offset, value.to_le());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write(offset, value.to_le());
    }
}

// SAFETY: through a shared reference registers are only read, which may happen from several threads at once.
unsafe impl Sync for VolatileRegisters<'_> {}

impl fmt::Debug for VolatileRegisters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolatileRegisters").field("base", &self.base.ptr()).field("size", &self.base.len()).finish()
    }
}
