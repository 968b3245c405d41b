//! The notification queue (virtio 1.3, 5.11.2): buffers that wait for what the device says without being asked.

use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};
use virtio_transport::DmaDirection;

use super::dma::{DmaBuf, DmaRegion};
use super::ring::{Ring, RingAddresses, Segment};
use crate::RingError;
use crate::dma_memory::Memory;

/// Buffers that wait at a time: as many as the queue has room for, but no more than this.
const MAX_WAITING: u16 = 16;
/// Bytes of all of them, unless a single one is larger: the device says how large one is.
const MAX_BYTES: usize = 64 << 10;

struct State {
    ring: Ring,
    buffers: Vec<DmaBuf>,
    broken: Option<RingError>,
    _region: DmaRegion,
}

/// See the module.
pub(crate) struct NotificationQueue<R> {
    index: u16,
    state: Mutex<R, State>,
}

impl<R: RawMutex> NotificationQueue<R> {
    /// Allocates the queue numbered `index` with buffers of `buffer_len` bytes, all of them waiting. `None` when there is no
    /// DMA memory.
    pub(crate) fn new(
        memory: &Memory,
        index: u16,
        size: u16,
        indirect: bool,
        event_idx: bool,
        buffer_len: usize,
    ) -> Option<Self> {
        let mut ring = Ring::new(memory, size, indirect, event_idx)?;
        let most = (MAX_BYTES / buffer_len.max(1)).max(1);
        let count = most.min(ring.slots().min(MAX_WAITING).into());
        let (buffers, region) = DmaRegion::carve(memory, buffer_len, count, DmaDirection::DeviceToDriver)?;
        for (slot, buffer) in (0..).zip(&buffers) {
            ring.push(slot, &[segment(buffer)]);
        }
        Some(Self { index, state: Mutex::new(State { ring, buffers, broken: None, _region: region }) })
    }

    /// The queue's number.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// The queue's size in descriptors and its addresses, for the transport.
    pub(crate) fn layout(&self) -> (u16, RingAddresses) {
        let state = self.state.lock();
        (state.ring.size(), state.ring.addresses())
    }

    /// Makes waiting buffers visible to the device. Returns whether the device wants to be notified.
    pub(crate) fn publish(&self) -> bool {
        self.state.lock().ring.publish()
    }

    /// Asks the device for interrupts, or not.
    pub(crate) fn set_interrupts(&self, on: bool) {
        self.state.lock().ring.set_interrupts(on);
    }

    /// The next message, copied into `message`; its buffer waits again. Returns whether there was one.
    pub(crate) fn take(&self, message: &mut Vec<u8>) -> Result<bool, RingError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(error) = state.broken {
            return Err(error);
        }
        if !state.ring.can_pop() {
            return Ok(false);
        }
        match state.ring.pop() {
            Ok(None) => Ok(false),
            Ok(Some((slot, written))) => {
                // The ring returns only slots that were pushed, and those have buffers.
                let Some(buffer) = state.buffers.get(usize::from(slot)) else { return Ok(false) };
                message.clear();
                message.resize(buffer.len().min(written as usize), 0);
                buffer.read(0, message);
                state.ring.push(slot, &[segment(buffer)]);
                Ok(true)
            }
            Err(error) => {
                state.broken = Some(error);
                Err(error)
            }
        }
    }
}

fn segment(buffer: &DmaBuf) -> Segment {
    Segment { paddr: buffer.paddr(), len: buffer.len() as u32, device_writes: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::{TestMemory, device};

    #[test]
    fn a_message_is_copied_out_and_its_buffer_waits_again() {
        let queue = NotificationQueue::<spin::Mutex<()>>::new(&TestMemory::new(), 1, 8, true, false, 64).unwrap();
        let (_, addresses) = queue.layout();
        assert!(queue.publish());
        let available = addresses.driver_area + 2;
        assert_eq!(device::read::<u16>(available), 8);
        let mut message = Vec::new();
        assert_eq!(queue.take(&mut message), Ok(false));

        let table: u64 = device::read(addresses.descriptors + 16 * 3);
        let buffer: u64 = device::read(table);
        device::write(buffer, *b"hello");
        device::write(addresses.device_area + 4, 3u32);
        device::write(addresses.device_area + 8, 5u32);
        device::write(addresses.device_area + 2, 1u16);
        assert_eq!(queue.take(&mut message), Ok(true));
        assert_eq!(message, b"hello");
        assert!(queue.publish());
        assert_eq!(device::read::<u16>(available), 9, "the buffer waits again");
        assert_eq!(queue.take(&mut message), Ok(false));
    }

    #[test]
    fn a_device_that_lies_breaks_the_queue_for_good() {
        let queue = NotificationQueue::<spin::Mutex<()>>::new(&TestMemory::new(), 1, 8, true, false, 64).unwrap();
        let (_, addresses) = queue.layout();
        queue.publish();
        device::write(addresses.device_area + 4, 3u32);
        device::write(addresses.device_area + 8, 65u32);
        device::write(addresses.device_area + 2, 1u16);
        let error = RingError::UsedLength { written: 65, capacity: 64 };
        assert_eq!(queue.take(&mut Vec::new()), Err(error));
        assert_eq!(queue.take(&mut Vec::new()), Err(error));
    }
}
