//! Registers in memory: the only unsafe code of this crate that accesses memory.
#![expect(unsafe_code, reason = "registers are accessed through a pointer that the embedder guarantees to be valid")]

use core::{fmt, ops::Deref, ptr::NonNull};

use safe_mmio::UniqueMmioPointer;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Registers;

/// The registers of a real device, by volatile accesses to mapped device memory.
///
/// An access outside the block or not aligned to its width, which the transports never make, does what a bus does where
/// nobody answers: reads are all ones, writes vanish.
pub struct VolatileRegisters<'a> {
    base: UniqueMmioPointer<'a, [u8]>,
}

impl VolatileRegisters<'_> {
    /// The `size` bytes of registers at `base`.
    ///
    /// # Safety
    ///
    /// `base` must point to `size` bytes of a virtio device's registers, mapped as device memory, readable and writable
    /// from every thread that the value is moved to, for its lifetime `'a`, during which nothing else accesses them.
    /// Registers that change by being read may be among them if nobody but their driver reads them.
    pub const unsafe fn new(base: NonNull<u8>, size: usize) -> Self {
        let block = NonNull::slice_from_raw_parts(base, size);
        // SAFETY: the caller promises that the memory is valid and ours alone; bytes need no alignment.
        let base = unsafe { UniqueMmioPointer::new(block) };
        Self { base }
    }

    /// The pointer to a `T` at `offset`, if it lies inside the block and is aligned.
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.base.len() {
            return None;
        }
        let start = self.base.ptr().cast::<u8>().cast_mut();
        // SAFETY: `offset` is inside the block, which is one mapping.
        let place = unsafe { start.add(offset) };
        if !place.addr().is_multiple_of(align_of::<T>()) {
            return None;
        }
        NonNull::new(place.cast())
    }

    fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Option<T> {
        let place = self.at::<T>(offset)?;
        // SAFETY: `place` is inside the block that `base` stands for, and aligned.
        let register = unsafe { self.base.deref().child(place) };
        // SAFETY: the block is a device's registers, as the caller of `new` promised.
        Some(unsafe { register.read_unsafe() })
    }

    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) {
        if let Some(place) = self.at::<T>(offset) {
            // SAFETY: `place` is inside the block that `base` stands for, and aligned.
            let mut register = unsafe { self.base.child(place) };
            // SAFETY: the block is a device's registers; writing them is memory-safe by itself, and the
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 0x108 bytes, aligned to 8, of which byte n is n.
    #[repr(align(8))]
    struct Memory([u8; 0x108]);

    impl Memory {
        fn new() -> Self {
            Self(core::array::from_fn(|index| index as u8))
        }

        /// Registers from byte `start` on.
        fn registers(&mut self, start: usize) -> VolatileRegisters<'_> {
            let bytes = &mut self.0[start..];
            // SAFETY: the memory is borrowed for as long as the registers live.
            unsafe { VolatileRegisters::new(NonNull::from(&mut *bytes).cast(), bytes.len()) }
        }
    }

    #[test]
    fn widths_and_byte_order() {
        let mut memory = Memory::new();
        let mut registers = memory.registers(0);
        assert_eq!(registers.size(), 0x108);
        assert_eq!(registers.read8(0x21), 0x21);
        assert_eq!(registers.read16(0x22), 0x2322);
        assert_eq!(registers.read32(0x24), 0x2726_2524);
        registers.write8(0x31, 0xaa);
        registers.write16(0x32, 0xbbcc);
        registers.write32(0x34, 0x0102_0304);
        assert_eq!(memory.0[0x30..0x39], [0x30, 0xaa, 0xcc, 0xbb, 4, 3, 2, 1, 0x38]);
    }

    #[test]
    fn nobody_answers_outside_or_unaligned() {
        let mut memory = Memory::new();
        let before = memory.0;
        let mut registers = memory.registers(0);
        for offset in [0x108, 0x109, 0x1000, usize::MAX] {
            assert_eq!(registers.read8(offset), u8::MAX);
            registers.write8(offset, 0);
        }
        for offset in [1, 0x107, usize::MAX] {
            assert_eq!(registers.read16(offset), u16::MAX);
            registers.write16(offset, 0);
        }
        for offset in [2, 0x106, usize::MAX - 2] {
            assert_eq!(registers.read32(offset), u32::MAX);
            registers.write32(offset, 0);
        }
        assert_eq!(memory.0, before);
        // What counts is the address, not the offset.
        let registers = memory.registers(2);
        assert_eq!(registers.read16(0), 0x0302);
        assert_eq!(registers.read32(0), u32::MAX);
        assert_eq!(registers.read32(2), 0x0706_0504);
    }
}
