//! The device's registers, as a transport shows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_fs::{
    ConfigError, DeviceStatus, InterruptStatus, PhysAddr, ShmError, ShmId, ShmRegion, ShmTransport, Transport,
};

use crate::device::Device;
use crate::lies::EDGES;
use crate::queue::Queue;

/// Queues that the device keeps account of.
const QUEUES: usize = 64;

/// A device that transport, platform and session share.
pub(crate) type Shared = Arc<Mutex<Device>>;

/// The device, whatever became of who had it last.
pub(crate) fn device(shared: &Shared) -> MutexGuard<'_, Device> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub(crate) struct Registers {
    device: Shared,
    status: u32,
    /// Reads of the status that a reset still takes.
    resetting: std::cell::Cell<u32>,
}

impl Registers {
    pub(crate) fn new(device: Shared) -> Self {
        Self { device, status: 0, resetting: std::cell::Cell::new(0) }
    }

    /// What a register says: now and then something else.
    fn say(&self, truth: u64) -> u64 {
        let mut device = device(&self.device);
        let rate = device.character.register_lies;
        if !device.chance(rate) {
            return truth;
        }
        if device.rng.bool() { device.rng.u64(..) } else { EDGES[device.rng.usize(..EDGES.len())] }
    }
}

impl ShmTransport for Registers {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        match device(&self.device).character.window {
            Some((address, len)) if id.0 == 0 => ShmRegion::new(id, address, len).map(Some),
            _ => Ok(None),
        }
    }
}

impl Transport for Registers {
    fn device_id(&self) -> u16 {
        device(&self.device).character.device_id
    }

    fn read_device_features(&mut self) -> u64 {
        let features = device(&self.device).character.features;
        self.say(features)
    }

    fn write_driver_features(&mut self, _: u64) {}

    fn get_status(&self) -> DeviceStatus {
        let left = self.resetting.get();
        if left > 0 {
            if left != u32::MAX {
                self.resetting.set(left - 1);
            }
            return DeviceStatus::ACKNOWLEDGE;
        }
        let mut said = self.say(self.status.into()) as u32;
        if self.status != 0 && said == 0 {
            // Who says that it has been reset, has been.
            said = DeviceStatus::DEVICE_NEEDS_RESET.bits();
        }
        if self.status == 0 && said == 0 {
            device(&self.device).reset();
        }
        DeviceStatus::from_bits_retain(said)
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let refused = device(&self.device).character.refuses_features;
        let refused = if refused { DeviceStatus::FEATURES_OK.bits() } else { 0 };
        self.status |= status.bits() & !refused;
    }

    fn begin_reset(&mut self) {
        self.status = 0;
        self.resetting.set(device(&self.device).character.reset_reads);
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        let size = device(&self.device).character.queue_size;
        self.say(size.into()) as u32
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let mut device = device(&self.device);
        [descriptors, driver_area, device_area].iter().for_each(|area| device.ram.show(*area));
        let Ok(size) = u16::try_from(size) else { return };
        let index = usize::from(queue);
        if size == 0 || index >= QUEUES {
            return;
        }
        if device.queues.len() <= index {
            device.queues.resize(index + 1, None);
        }
        device.queues[index] = Some(Queue::new(size, [descriptors, driver_area, device_area]));
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        self.say(1) == 1
    }

    fn notify(&mut self, queue: u16) {
        device(&self.device).serve(queue.into());
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_retain(self.say(1) as u32)
    }

    fn read_config_generation(&self) -> u32 {
        self.say(0) as u32
    }

    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        let device = device(&self.device);
        let config = &device.character.config;
        let len = bytes.len();
        if config.is_empty() {
            return Err(ConfigError::Missing);
        }
        if !offset.is_multiple_of(width) || !len.is_multiple_of(width) {
            return Err(ConfigError::Unaligned { offset, len, width });
        }
        let place = offset.checked_add(len).and_then(|end| config.get(offset..end));
        bytes.copy_from_slice(place.ok_or(ConfigError::Outside { offset, len, size: config.len() })?);
        Ok(())
    }

    fn write_config(&mut self, _: usize, _: usize, _: &[u8]) -> Result<(), ConfigError> {
        Ok(())
    }
}
