//! Real structures, mapped by the embedder: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "registers are accessed through pointers that the embedder gives")]

use virtio_transport::{ConfigurationAccess, DmaMemory, PciFunction, VolatileRegisters, sequence::POLL_LIMIT};

use crate::{PciError, PciTransport, Structure};

impl PciTransport {
    /// The device at `function`, reset and ready to be initialised: [`PciTransport::with_mapper`] with `memory` as mapper
    /// and a limit of a million reads for the reset. A [`DmaMemory::map_mmio`] that knows where RAM is should refuse to map
    /// it: the addresses come from the device's BARs.
    ///
    /// # Errors
    ///
    /// Those of [`PciTransport::with_mapper`]; [`PciError::Refused`] if `memory` does not map a structure, and
    /// [`PciError::Mapping`] if it gives an address at which the structure isn't aligned.
    pub fn new<C: ConfigurationAccess, M: DmaMemory + ?Sized>(
        access: &mut C,
        function: PciFunction,
        memory: &M,
    ) -> Result<Self, PciError> {
        Self::with_mapper(access, function, POLL_LIMIT, |structure, addr, len| map(memory, structure, addr, len))
    }
}

/// Maps a structure that [`PciTransport::with_mapper`] asks for.
fn map<M: DmaMemory + ?Sized>(
    memory: &M,
    structure: Structure,
    addr: u64,
    len: usize,
) -> Result<VolatileRegisters<'static>, PciError> {
    // SAFETY: the place is inside a memory BAR of this device that has an address and is decoded; structures do not
    // overlap.
    let base = unsafe { memory.map_mmio(addr, len) }.ok_or(PciError::Refused { structure, addr, len })?;
    let align = structure.align() as usize;
    if !base.addr().get().is_multiple_of(align) {
        return Err(PciError::Mapping { structure, addr: base.addr().get(), align });
    }
    // SAFETY: `map_mmio` gives a valid pointer for that length, and no two structures overlap. What changes by being read
    // is read by the transport alone.
    Ok(unsafe { VolatileRegisters::new(base, len) })
}
