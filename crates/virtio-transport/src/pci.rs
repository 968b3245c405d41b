//! Access to PCI configuration space.

use core::fmt;

/// A PCI function: bus, device and function number (PCI 3.0, 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciFunction {
    /// The bus, 0 to 255.
    pub bus: u8,
    /// The device on the bus, 0 to 31.
    pub device: u8,
    /// The function of the device, 0 to 7.
    pub function: u8,
}

impl fmt::Display for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// Access to the first 256 bytes of configuration space, by 8, 16 and 32 bits.
///
/// The width matters: a monitor exists that ignores a 32-bit write to the 16-bit command register, and a write of 32 bits
/// touches the neighbouring register, some bits of which are cleared by ones. Offsets are aligned to the width of the
/// access. Values are numbers: an implementation does the byte order, which is little-endian on the bus.
pub trait ConfigurationAccess {
    /// Reads 8 bits.
    fn read8(&self, function: PciFunction, offset: u8) -> u8;

    /// Reads 16 bits.
    fn read16(&self, function: PciFunction, offset: u8) -> u16;

    /// Reads 32 bits. All ones where no function answers.
    fn read32(&self, function: PciFunction, offset: u8) -> u32;

    /// Writes 8 bits and no others.
    fn write8(&mut self, function: PciFunction, offset: u8, value: u8);

    /// Writes 16 bits and no others.
    fn write16(&mut self, function: PciFunction, offset: u8, value: u16);

    /// Writes 32 bits.
    fn write32(&mut self, function: PciFunction, offset: u8, value: u32);
}
