//! The seam between a transport and the device's registers.

/// A block of registers: all of a virtio-mmio device's, or one structure of a virtio PCI device's.
///
/// [`VolatileRegisters`](crate::VolatileRegisters) are real ones. Another implementation puts a device model in their
/// place, in the same process. Values are numbers: an implementation does the byte order, which is little-endian on the
/// bus.
///
/// The transports make only accesses that lie inside [`Registers::size`], and are aligned to their width; registers are
/// accessed by their own width, device configuration by the width of its fields, at most 32 bits.
pub trait Registers {
    /// The size of the block in bytes, which must not change.
    fn size(&self) -> usize;

    /// Reads 8 bits at `offset`.
    fn read8(&self, offset: usize) -> u8;

    /// Reads 16 bits at `offset`.
    fn read16(&self, offset: usize) -> u16;

    /// Reads 32 bits at `offset`.
    fn read32(&self, offset: usize) -> u32;

    /// Writes 8 bits at `offset`.
    fn write8(&mut self, offset: usize, value: u8);

    /// Writes 16 bits at `offset`.
    fn write16(&mut self, offset: usize, value: u16);

    /// Writes 32 bits at `offset`.
    fn write32(&mut self, offset: usize, value: u32);
}
