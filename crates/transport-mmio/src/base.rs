//! Registers at an address: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "registers are accessed through a pointer that the embedder guarantees to be valid")]

use core::ptr::NonNull;

use virtio_transport::VolatileRegisters;

use crate::{MmioError, MmioTransport};

impl MmioTransport<VolatileRegisters<'_>> {
    /// The device with `size` bytes of registers at `base`: 0x100 and the device configuration, so usually 0x200,
    /// or a page.
    ///
    /// # Errors
    ///
    /// [`MmioError::Unaligned`] if `base` is not aligned to 4 bytes, and those of [`MmioTransport::new`].
    ///
    /// # Safety
    ///
    /// Those of [`VolatileRegisters::new`].
    pub unsafe fn from_base(base: NonNull<u8>, size: usize) -> Result<Self, MmioError> {
        let addr = base.addr().get();
        if !addr.is_multiple_of(4) {
            return Err(MmioError::Unaligned { addr });
        }
        // SAFETY: the caller promises it.
        let registers = unsafe { VolatileRegisters::new(base, size) };
        Self::new(registers)
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
    }

    #[test]
    fn the_base_of_a_device() {
        let mut memory = Memory::new();
        let base = NonNull::from(&mut memory.0[2..]).cast();
        // SAFETY: the memory lives longer than the device.
        let unaligned = unsafe { MmioTransport::from_base(base, 0x104) };
        assert!(matches!(unaligned, Err(MmioError::Unaligned { addr }) if addr == base.addr().get()));
        for (index, word) in [0x7472_6976u32, 2, 26].into_iter().enumerate() {
            memory.0[index * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let base = NonNull::from(&mut memory.0).cast();
        // SAFETY: as above.
        let short = unsafe { MmioTransport::from_base(base, 0xff) };
        assert_eq!(short.map(drop), Err(MmioError::TooSmall { size: 0xff, need: 0x100 }));
        // SAFETY: as above.
        let good = unsafe { MmioTransport::from_base(base, 0x108) };
        assert_eq!(good.map(|transport| transport.device_id()), Ok(26));
    }
}
