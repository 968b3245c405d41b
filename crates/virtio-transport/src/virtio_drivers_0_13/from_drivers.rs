//! A transport of theirs for drivers of ours.

use virtio_drivers::Error;
use virtio_drivers::transport::{self, DeviceStatus};
use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};

use crate::{ConfigError, InterruptStatus, PhysAddr, Transport};

/// A transport of virtio-drivers as a [`Transport`], for kernels that have one of their own.
///
/// What their trait cannot do: it does not know the device id of a file system, so the caller gives the id; it has no
/// shared memory, so regions are those that the caller adds with [`virtio_shm::WithFixedRegions`]; and a reset may wait,
/// as long as the transport inside does. virtio-drivers' own `PciTransport` and `MmioTransport` refuse devices with ids
/// above 25, so this is for transports of a kernel's own.
#[derive(Debug)]
pub struct FromDrivers<T> {
    inner: T,
    device_id: u16,
}

impl<T: transport::Transport> FromDrivers<T> {
    /// The transport `inner` of a device with this virtio device id.
    pub const fn new(inner: T, device_id: u16) -> Self {
        Self { inner, device_id }
    }

    /// The transport inside.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T> ShmTransport for FromDrivers<T> {
    fn shm_region(&mut self, _id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        Ok(None)
    }

    fn for_each_shm_region(&mut self, _visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {}
}

/// The error for an access of `len` bytes. Their error does not say how large the configuration is.
fn config_error(error: Error, offset: usize, width: usize, len: usize) -> ConfigError {
    match error {
        Error::ConfigSpaceMissing => ConfigError::Missing,
        Error::ConfigSpaceTooSmall => ConfigError::Outside { offset, len, size: 0 },
        Error::NotReady => ConfigError::Unstable { tries: 1 },
        _ => ConfigError::Unaligned { offset, len, width },
    }
}

impl<T: transport::Transport> Transport for FromDrivers<T> {
    fn device_id(&self) -> u16 {
        self.device_id
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn get_status(&self) -> crate::DeviceStatus {
        crate::DeviceStatus::from_bits_retain(self.inner.get_status().bits())
    }

    fn set_status(&mut self, status: crate::DeviceStatus) {
        self.inner.set_status(DeviceStatus::from_bits_retain(status.bits()));
    }

    fn begin_reset(&mut self) {
        self.inner.set_status(DeviceStatus::empty());
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(self.inner.ack_interrupt().bits())
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        let len = bytes.len();
        let failed = |error| config_error(error, offset, width, len);
        let unaligned = ConfigError::Unaligned { offset, len, width };
        if !matches!(width, 1 | 2 | 4) || !len.is_multiple_of(width) {
            return Err(unaligned);
        }
        for (index, piece) in bytes.chunks_exact_mut(width).enumerate() {
            let outside = ConfigError::Outside { offset, len, size: 0 };
            let place = offset.checked_add(index * width).ok_or(outside)?;
            match width {
                1 => piece.copy_from_slice(&self.inner.read_config_space::<[u8; 1]>(place).map_err(failed)?),
                2 => piece.copy_from_slice(&self.inner.read_config_space::<u16>(place).map_err(failed)?.to_ne_bytes()),
                _ => piece.copy_from_slice(&self.inner.read_config_space::<u32>(place).map_err(failed)?.to_ne_bytes()),
            }
        }
        Ok(())
    }

    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), ConfigError> {
        let len = bytes.len();
        let failed = |error| config_error(error, offset, width, len);
        let unaligned = ConfigError::Unaligned { offset, len, width };
        if !matches!(width, 1 | 2 | 4) || !len.is_multiple_of(width) {
            return Err(unaligned);
        }
        for (index, piece) in bytes.chunks_exact(width).enumerate() {
            let outside = ConfigError::Outside { offset, len, size: 0 };
            let place = offset.checked_add(index * width).ok_or(outside)?;
            let written = match *piece {
                [a] => self.inner.write_config_space(place, a),
                [a, b] => self.inner.write_config_space(place, u16::from_ne_bytes([a, b])),
                [a, b, c, d] => self.inner.write_config_space(place, u32::from_ne_bytes([a, b, c, d])),
                _ => return Err(unaligned),
            };
            written.map_err(failed)?;
        }
        Ok(())
    }
}
