//! A split virtqueue (virtio 1.3, 2.7) that trusts nothing the device writes.
//!
//! Differences from `virtio_drivers::queue::VirtQueue`, each the reason why it is not used here:
//! - a chain's descriptors are fixed by its slot, so submitting and completing allocates nothing, with indirect
//!   descriptors too;
//! - several chains are made available at once and the device is notified once;
//! - the event index is compared as the specification says (2.7.10.1), also when the 16-bit index wraps, behind a full
//!   barrier, so that no notification is lost;
//! - ids and lengths in the used ring are checked against what is in flight: a device that returns a chain twice, one it
//!   never got, or more bytes than it was given is an error, not a panic.

use core::sync::atomic::{Ordering, fence};

use alloc::boxed::Box;
use alloc::vec;

use virtio_transport::{DmaDirection, PhysAddr};

use super::dma::{DmaBuf, DmaRegion};
use crate::RingError;
use crate::dma_memory::Memory;

/// The longest chain: request, request data, reply, reply data.
pub(crate) const MAX_SEGMENTS: usize = 4;

const DESC_SIZE: usize = 16;
const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;
const DESC_INDIRECT: u16 = 4;
const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

/// One buffer of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) paddr: PhysAddr,
    pub(crate) len: u32,
    pub(crate) device_writes: bool,
}

/// The physical addresses that the transport gives to the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingAddresses {
    pub(crate) descriptors: PhysAddr,
    pub(crate) driver_area: PhysAddr,
    pub(crate) device_area: PhysAddr,
}

/// A split virtqueue with chains that are named by slot, `0..slots()`.
pub(crate) struct Ring {
    /// Descriptor table, then available ring, then the indirect tables.
    driver: DmaBuf,
    /// Used ring.
    device: DmaBuf,
    size: u16,
    slots: u16,
    indirect: bool,
    event_idx: bool,
    avail_offset: usize,
    tables_offset: usize,
    /// Per slot: bytes that the device may write, plus one; 0 when not in flight.
    in_flight: Box<[u32]>,
    in_flight_count: u16,
    avail_idx: u16,
    published: u16,
    last_used: u16,
    interrupts: bool,
    /// What the buffers above point into, unless the caller owns it. Dropped last.
    regions: Option<[DmaRegion; 2]>,
}

/// Chains that can be in flight at once.
const fn slots(size: u16, indirect: bool) -> u16 {
    if indirect { size } else { size / MAX_SEGMENTS as u16 }
}

/// Where the indirect tables are, behind descriptors and available ring.
const fn tables_offset(count: usize) -> usize {
    (count * DESC_SIZE + 6 + 2 * count).next_multiple_of(DESC_SIZE)
}

impl Ring {
    /// Allocates a queue of `size` descriptors (a power of two). `None` when there is no DMA memory, or when `size` is
    /// too small for a single chain.
    pub(crate) fn new(memory: &Memory, size: u16, indirect: bool, event_idx: bool) -> Option<Self> {
        let [driver_len, device_len] = Self::lens(size, indirect)?;
        let mut driver = DmaRegion::new(memory, driver_len, DmaDirection::DriverToDevice)?;
        let mut device = DmaRegion::new(memory, device_len, DmaDirection::DeviceToDriver)?;
        let mut ring = Self::inside(&mut driver, &mut device, size, indirect, event_idx)?;
        ring.regions = Some([driver, device]);
        Some(ring)
    }

    /// How many bytes a queue takes of the memory that the driver writes and of that which the device writes. `None` when
    /// `size` is no power of two, or too small for a single chain.
    pub(crate) fn lens(size: u16, indirect: bool) -> Option<[usize; 2]> {
        if !size.is_power_of_two() || slots(size, indirect) == 0 {
            return None;
        }
        let count = usize::from(size);
        let tables = if indirect { count * MAX_SEGMENTS * DESC_SIZE } else { 0 };
        Some([tables_offset(count) + tables, 6 + 8 * count])
    }

    /// A queue of `size` descriptors in memory that the caller keeps as long, in the next bytes of both regions.
    pub(crate) fn inside(
        driver: &mut DmaRegion,
        device: &mut DmaRegion,
        size: u16,
        indirect: bool,
        event_idx: bool,
    ) -> Option<Self> {
        let [driver_len, device_len] = Self::lens(size, indirect)?;
        let count = usize::from(size);
        let slots = slots(size, indirect);
        let mut ring = Self {
            driver: driver.take(driver_len)?,
            device: device.take(device_len)?,
            size,
            slots,
            indirect,
            event_idx,
            avail_offset: count * DESC_SIZE,
            tables_offset: tables_offset(count),
            in_flight: vec![0; usize::from(slots)].into_boxed_slice(),
            in_flight_count: 0,
            avail_idx: 0,
            published: 0,
            last_used: 0,
            interrupts: false,
            regions: None,
        };
        ring.set_interrupts(false);
        Some(ring)
    }

    /// Descriptors in the queue.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Chains that can be in flight at once.
    pub(crate) fn slots(&self) -> u16 {
        self.slots
    }

    pub(crate) fn addresses(&self) -> RingAddresses {
        RingAddresses {
            descriptors: self.driver.paddr(),
            driver_area: self.driver.paddr() + self.avail_offset as u64,
            device_area: self.device.paddr(),
        }
    }

    /// Puts the chain of `slot` into the available ring without telling the device yet; see [`Ring::publish`].
    ///
    /// The caller keeps the segments' buffers untouched until [`Ring::pop`] returns the slot. At most [`MAX_SEGMENTS`]
    /// segments are used, device-readable ones first.
    pub(crate) fn push(&mut self, slot: u16, segments: &[Segment]) {
        let segments = &segments[..segments.len().min(MAX_SEGMENTS)];
        let mut writable = 0u32;
        let (table, first) = if self.indirect {
            (self.tables_offset + usize::from(slot) * MAX_SEGMENTS * DESC_SIZE, 0)
        } else {
            (0, slot * MAX_SEGMENTS as u16)
        };
        for (index, segment) in (0u16..).zip(segments) {
            let mut flags = if segment.device_writes { DESC_WRITE } else { 0 };
            if usize::from(index) + 1 < segments.len() {
                flags |= DESC_NEXT;
            }
            if segment.device_writes {
                writable = writable.saturating_add(segment.len);
            }
            let at = table + usize::from(first + index) * DESC_SIZE;
            self.write_descriptor(at, segment.paddr, segment.len, flags, first + index + 1);
        }
        let head = if self.indirect {
            let paddr = self.driver.paddr() + table as u64;
            let len = (segments.len() * DESC_SIZE) as u32;
            self.write_descriptor(usize::from(slot) * DESC_SIZE, paddr, len, DESC_INDIRECT, 0);
            slot
        } else {
            first
        };
        if let Some(entry) = self.in_flight.get_mut(usize::from(slot)) {
            *entry = writable.saturating_add(1);
        }
        self.in_flight_count += 1;
        let entry = self.avail_offset + 4 + 2 * usize::from(self.avail_idx & (self.size - 1));
        self.driver.store_u16(entry, head, Ordering::Relaxed);
        self.avail_idx = self.avail_idx.wrapping_add(1);
    }

    /// Makes everything pushed since the last call visible to the device. Returns whether the device wants a
    /// notification for it (2.7.10).
    pub(crate) fn publish(&mut self) -> bool {
        let old = core::mem::replace(&mut self.published, self.avail_idx);
        if old == self.avail_idx {
            return false;
        }
        self.driver.store_u16(self.avail_offset + 2, self.avail_idx, Ordering::Release);
        // The device writes its wish after it looks at the index: without a full barrier both sides can miss each other.
        fence(Ordering::SeqCst);
        if self.event_idx {
            let event = self.device.load_u16(4 + 8 * usize::from(self.size), Ordering::Acquire);
            needs_event(event, self.avail_idx, old)
        } else {
            self.device.load_u16(0, Ordering::Acquire) & USED_NO_NOTIFY == 0
        }
    }

    /// Whether the device has returned something that [`Ring::pop`] has not.
    pub(crate) fn can_pop(&self) -> bool {
        self.device.load_u16(2, Ordering::Acquire) != self.last_used
    }

    /// Takes the next chain the device returned: its slot and the bytes written into it.
    pub(crate) fn pop(&mut self) -> Result<Option<(u16, u32)>, RingError> {
        let used = self.device.load_u16(2, Ordering::Acquire);
        let returned = used.wrapping_sub(self.last_used);
        if returned == 0 {
            return Ok(None);
        }
        if returned > self.in_flight_count {
            return Err(RingError::UsedIndex { returned, in_flight: self.in_flight_count });
        }
        // The number of the chain, then how much was written.
        let element = self.device.read_array(4 + 8 * usize::from(self.last_used & (self.size - 1)));
        let element = u64::from_le_bytes(element);
        let (id, written) = (element as u32, (element >> 32) as u32);
        let per_slot = if self.indirect { 1 } else { MAX_SEGMENTS as u32 };
        let slot = id / per_slot;
        let entry = match self.in_flight.get_mut(slot as usize) {
            Some(entry) if *entry != 0 && id.is_multiple_of(per_slot) => entry,
            _ => return Err(RingError::UsedId { id }),
        };
        let capacity = *entry - 1;
        if written > capacity {
            return Err(RingError::UsedLength { written, capacity });
        }
        *entry = 0;
        self.in_flight_count -= 1;
        self.last_used = self.last_used.wrapping_add(1);
        if self.event_idx && self.interrupts {
            self.arm_used_event();
        }
        Ok(Some((slot as u16, written)))
    }

    /// Asks the device for an interrupt when it returns chains, or not (2.7.7, 2.7.8). A hint: interrupts may come
    /// either way. After switching on, look with [`Ring::can_pop`] once more before sleeping.
    pub(crate) fn set_interrupts(&mut self, on: bool) {
        self.interrupts = on;
        if self.event_idx {
            self.arm_used_event();
        } else {
            self.driver.store_u16(self.avail_offset, if on { 0 } else { AVAIL_NO_INTERRUPT }, Ordering::Release);
        }
        fence(Ordering::SeqCst);
    }

    fn arm_used_event(&mut self) {
        // Off is an index that lies half the ring's number space ahead.
        let event = if self.interrupts { self.last_used } else { self.last_used.wrapping_sub(0x8000) };
        let offset = self.avail_offset + 4 + 2 * usize::from(self.size);
        self.driver.store_u16(offset, event, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    fn write_descriptor(&mut self, offset: usize, paddr: PhysAddr, len: u32, flags: u16, next: u16) {
        // A little-endian number has them in this order.
        let bytes = u128::from(paddr) | u128::from(len) << 64 | u128::from(flags) << 96 | u128::from(next) << 112;
        self.driver.write_array(offset, bytes.to_le_bytes());
    }
}

/// Whether moving an index from `old` to `new` passes `event` (2.7.10.1: all modulo 2^16).
fn needs_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::test_device::TestDevice;
    use crate::test_memory::{TestMemory, device};

    const SIZE: u16 = 16;

    fn chain() -> [Segment; 2] {
        [
            Segment { paddr: 0x1000, len: 40, device_writes: false },
            Segment { paddr: 0x2000, len: 16, device_writes: true },
        ]
    }

    #[test]
    fn a_direct_chain_is_laid_out_and_comes_back() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, false, false).unwrap();
        assert_eq!(ring.slots(), 4);
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        ring.push(2, &chain());
        assert!(device.available().is_empty(), "nothing is visible before publish");
        assert!(ring.publish());
        assert_eq!(device.available(), [8]);
        assert_eq!(device.descriptor(8), (0x1000, 40, DESC_NEXT, 9));
        assert_eq!(device.descriptor(9), (0x2000, 16, DESC_WRITE, 10));
        assert_eq!(ring.pop(), Ok(None));
        device.give_back(8, 16);
        assert_eq!(ring.pop(), Ok(Some((2, 16))));
        assert_eq!(ring.pop(), Ok(None));
    }

    #[test]
    fn an_indirect_chain_has_its_own_table() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, true, false).unwrap();
        assert_eq!(ring.slots(), SIZE);
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        ring.push(5, &chain());
        ring.push(6, &chain());
        assert!(ring.publish());
        assert_eq!(device.available(), [5, 6]);
        let (table, len, flags, _) = device.descriptor(6);
        assert_eq!((len, flags), (32, DESC_INDIRECT));
        assert_eq!(device::read::<u64>(table), 0x1000);
        assert_eq!(device::read::<u16>(table + 12), DESC_NEXT);
        assert_eq!(device::read::<u16>(table + 14), 1);
        assert_eq!(device::read::<u64>(table + 16), 0x2000);
        assert_eq!(device::read::<u16>(table + 28), DESC_WRITE);
        device.give_back(6, 16);
        device.give_back(5, 3);
        assert_eq!(ring.pop(), Ok(Some((6, 16))), "out of order is fine");
        assert_eq!(ring.pop(), Ok(Some((5, 3))));
    }

    #[test]
    fn a_chain_that_is_not_in_flight_is_an_error() {
        for id in [0, 4, 7, 8, 16, 0x1_0004, u32::MAX] {
            let mut ring = Ring::new(&TestMemory::new(), SIZE, false, false).unwrap();
            let mut device = TestDevice::new((SIZE, ring.addresses()));
            ring.push(3, &chain());
            ring.publish();
            device.give_back(id, 16);
            assert_eq!(ring.pop(), Err(RingError::UsedId { id }));
        }
    }

    #[test]
    fn a_chain_returned_twice_is_an_error() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, true, false).unwrap();
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        ring.push(1, &chain());
        ring.push(2, &chain());
        ring.publish();
        device.give_back(1, 16);
        device.give_back(1, 16);
        assert_eq!(ring.pop(), Ok(Some((1, 16))));
        assert_eq!(ring.pop(), Err(RingError::UsedId { id: 1 }));
    }

    #[test]
    fn more_chains_than_in_flight_are_an_error() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, false, false).unwrap();
        let device = TestDevice::new((SIZE, ring.addresses()));
        ring.push(0, &chain());
        ring.publish();
        device::write(device.addresses.device_area + 2, 0x8000u16);
        assert_eq!(ring.pop(), Err(RingError::UsedIndex { returned: 0x8000, in_flight: 1 }));
    }

    #[test]
    fn more_bytes_than_the_chain_takes_are_an_error() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, false, false).unwrap();
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        ring.push(0, &chain());
        ring.publish();
        device.give_back(0, 17);
        assert_eq!(ring.pop(), Err(RingError::UsedLength { written: 17, capacity: 16 }));
    }

    #[test]
    fn the_event_index_works_across_the_wrap_of_16_bits() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, true, true).unwrap();
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        let avail_event = device.addresses.device_area + 4 + 8 * u64::from(SIZE);
        for round in 0..70_000u32 {
            // The device sleeps until the very next request, each time.
            device::write(avail_event, device.seen);
            ring.push(0, &chain());
            assert!(ring.publish(), "notification of request {round} was lost");
            assert_eq!(device.available(), [0]);
            device.give_back(0, 16);
            assert_eq!(ring.pop(), Ok(Some((0, 16))));
        }
        device::write(avail_event, device.seen.wrapping_add(1));
        ring.push(0, &chain());
        assert!(!ring.publish(), "the device asked for a notification only at the request after this one");
    }

    #[test]
    fn interrupts_are_asked_for_by_flag_or_by_event_index() {
        let mut ring = Ring::new(&TestMemory::new(), SIZE, true, false).unwrap();
        let area = ring.addresses().driver_area;
        assert_eq!(device::read::<u16>(area), AVAIL_NO_INTERRUPT, "off to begin with");
        ring.set_interrupts(true);
        assert_eq!(device::read::<u16>(area), 0);

        let mut ring = Ring::new(&TestMemory::new(), SIZE, true, true).unwrap();
        let mut device = TestDevice::new((SIZE, ring.addresses()));
        let used_event = device.addresses.driver_area + 4 + 2 * u64::from(SIZE);
        assert!(!needs_event(device::read(used_event), 1, 0));
        ring.set_interrupts(true);
        for round in 0..3 {
            assert!(needs_event(device::read(used_event), round + 1, round));
            ring.push(0, &chain());
            ring.publish();
            device.give_back(0, 16);
            assert_eq!(ring.pop(), Ok(Some((0, 16))));
        }
    }

    #[test]
    fn a_queue_too_small_for_a_chain_is_refused() {
        assert!(Ring::new(&TestMemory::new(), 2, false, false).is_none());
        assert!(Ring::new(&TestMemory::new(), 3, true, false).is_none());
        assert!(Ring::new(&TestMemory::new(), 1, true, false).is_some());
        assert!(Ring::new(&TestMemory::new(), 4, false, false).is_some());
    }
}
