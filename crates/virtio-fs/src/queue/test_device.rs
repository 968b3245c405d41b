//! The device's side of a split virtqueue, for unit tests.

use super::ring::RingAddresses;
use crate::test_memory::device;

/// See the module.
pub(crate) struct TestDevice {
    pub(crate) addresses: RingAddresses,
    size: u16,
    /// How far it has taken chains.
    pub(crate) seen: u16,
    used: u16,
}

impl TestDevice {
    pub(crate) fn new((size, addresses): (u16, RingAddresses)) -> Self {
        Self { addresses, size, seen: 0, used: 0 }
    }

    /// The chain heads made available since the last call.
    pub(crate) fn available(&mut self) -> Vec<u16> {
        let idx: u16 = device::read(self.addresses.driver_area + 2);
        let mut heads = Vec::new();
        while self.seen != idx {
            heads.push(device::read(self.addresses.driver_area + 4 + 2 * u64::from(self.seen % self.size)));
            self.seen = self.seen.wrapping_add(1);
        }
        heads
    }

    pub(crate) fn give_back(&mut self, id: u32, len: u32) {
        let element = self.addresses.device_area + 4 + 8 * u64::from(self.used % self.size);
        device::write(element, id);
        device::write(element + 4, len);
        self.used = self.used.wrapping_add(1);
        device::write(self.addresses.device_area + 2, self.used);
    }

    /// Address, length, flags and next of a descriptor.
    pub(crate) fn descriptor(&self, index: u16) -> (u64, u32, u16, u16) {
        let at = self.addresses.descriptors + 16 * u64::from(index);
        (device::read(at), device::read(at + 8), device::read(at + 12), device::read(at + 14))
    }
}
