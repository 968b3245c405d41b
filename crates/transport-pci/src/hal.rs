//! Real structures, mapped by the embedder's `Hal`: the only unsafe code of this crate that accesses memory.
#![expect(unsafe_code, reason = "registers are accessed through pointers that the embedder's Hal gives")]

use transport_mmio::VolatileRegisters;
use virtio_drivers::{
    Hal,
    transport::pci::bus::{ConfigurationAccess, DeviceFunction},
};

use crate::{PciError, PciTransport, Structure};

/// How often the status is read, unless the embedder says otherwise, before a reset counts as failed.
const POLL_LIMIT: u32 = 1_000_000;

impl PciTransport {
    /// The device at `function`, reset and ready to be initialised: [`PciTransport::with_mapper`] with `H` as mapper
    /// and a limit of a million reads for the reset. A `mmio_phys_to_virt` that knows where RAM is should not map it: the
    /// addresses come from the device's BARs.
    ///
    /// # Errors
    ///
    /// Those of [`PciTransport::with_mapper`], and [`PciError::Mapping`] if `H` gives an address at which the structure
    /// isn't aligned.
    pub fn new<H: Hal, C: ConfigurationAccess>(access: &mut C, function: DeviceFunction) -> Result<Self, PciError> {
        Self::with_mapper(access, function, POLL_LIMIT, map::<H>)
    }
}

/// Maps a structure that [`PciTransport::with_mapper`] asks for.
fn map<H: Hal>(structure: Structure, addr: u64, len: usize) -> Result<VolatileRegisters<'static>, PciError> {
    // SAFETY: the place is inside a memory BAR of this device that has an address and is decoded.
    let base = unsafe { H::mmio_phys_to_virt(addr, len) };
    let align = structure.align() as usize;
    if !base.addr().get().is_multiple_of(align) {
        return Err(PciError::Mapping { structure, addr: base.addr().get(), align });
    }
    // SAFETY: the Hal gives a valid pointer for that length, and no two structures overlap. What changes by being read
    // is read by the transport alone.
    Ok(unsafe { VolatileRegisters::new(base, len) })
}
