//! PCI through the configuration ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2): every machine has them, and they reach all
//! 256 bytes in which capabilities may lie.

use crate::arch::port;
use alloc::{vec, vec::Vec};
use spin::Mutex;
use virtio_drivers::transport::pci::bus::{self, DeviceFunction, DeviceFunctionInfo, HeaderType, PciRoot};
use virtio_fs::{ConfigurationAccess, PciFunction};

/// Port of the address register.
const ADDRESS: u16 = 0xcf8;
/// Port of the data register.
const DATA: u16 = 0xcfc;
/// Offset of the word with a bridge's bus numbers (PCI-to-PCI Bridge 1.2, 3.2.5).
const BUS_NUMBERS: u8 = 0x18;

/// Address and data register are used as a pair.
static LOCK: Mutex<()> = Mutex::new(());

/// Configuration space through ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigPorts;

impl ConfigurationAccess for ConfigPorts {
    fn read8(&self, function: PciFunction, offset: u8) -> u8 {
        (self.read32(function, offset & !3) >> (8 * (offset & 3))) as u8
    }

    fn read16(&self, function: PciFunction, offset: u8) -> u16 {
        (self.read32(function, offset & !3) >> (8 * (offset & 2))) as u16
    }

    fn read32(&self, function: PciFunction, offset: u8) -> u32 {
        let _guard = LOCK.lock();
        port::write_u32(ADDRESS, address(function, offset));
        port::read_u32(DATA)
    }

    fn write8(&mut self, function: PciFunction, offset: u8, value: u8) {
        let _guard = LOCK.lock();
        port::write_u32(ADDRESS, address(function, offset));
        port::write_u8(DATA + u16::from(offset & 3), value);
    }

    fn write16(&mut self, function: PciFunction, offset: u8, value: u16) {
        let _guard = LOCK.lock();
        port::write_u32(ADDRESS, address(function, offset));
        port::write_u16(DATA + u16::from(offset & 2), value);
    }

    fn write32(&mut self, function: PciFunction, offset: u8, value: u32) {
        let _guard = LOCK.lock();
        port::write_u32(ADDRESS, address(function, offset));
        port::write_u32(DATA, value);
    }
}

/// For `PciRoot`, which enumerates.
impl bus::ConfigurationAccess for ConfigPorts {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.read32(function.into(), offset)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        self.write32(function.into(), offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Whether there is PCI at all: the address register reads back what was written.
pub(crate) fn present() -> bool {
    let _guard = LOCK.lock();
    port::write_u32(ADDRESS, 0x8000_0000);
    port::read_u32(ADDRESS) == 0x8000_0000
}

/// Every function on every bus that can be reached from bus 0, bridges followed.
pub(crate) fn functions() -> Vec<(DeviceFunction, DeviceFunctionInfo)> {
    let mut found = Vec::new();
    if !present() {
        return found;
    }
    let root = PciRoot::new(ConfigPorts);
    let mut buses = vec![0];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for (function, info) in root.enumerate_bus(bus) {
            if info.header_type == HeaderType::PciPciBridge {
                let secondary = (ConfigPorts.read32(function.into(), BUS_NUMBERS) >> 8) as u8;
                if !buses.contains(&secondary) {
                    buses.push(secondary);
                }
            }
            found.push((function, info));
        }
    }
    found
}

fn address(function: PciFunction, offset: u8) -> u32 {
    1 << 31
        | u32::from(function.bus) << 16
        | u32::from(function.device) << 11
        | u32::from(function.function) << 8
        | u32::from(offset & !3)
}
