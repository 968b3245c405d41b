//! What a driver needs of a transport.

use log::error;
use virtio_shm::ShmTransport;

use crate::{ConfigError, DeviceStatus, InterruptStatus, PhysAddr};

/// What a driver needs of a transport: all of virtio 1.3, section 4 that does not depend on the bus.
///
/// It is object-safe, so a driver can take a `Box<dyn Transport + Send>`. Shared-memory regions come from its supertrait
/// [`ShmTransport`], which has defaults for transports without any. Fields of the configuration are read by
/// [`ConfigSpace`](crate::ConfigSpace), which every transport has.
pub trait Transport: ShmTransport {
    /// The virtio device id (virtio 1.3, section 5) as the device gives it, e.g. [`virtio_shm::FILE_SYSTEM`].
    fn device_id(&self) -> u16;

    /// Reads the features that the device offers.
    fn read_device_features(&mut self) -> u64;

    /// Writes the features that the driver accepts.
    fn write_driver_features(&mut self, features: u64);

    /// Reads the device status.
    fn get_status(&self) -> DeviceStatus;

    /// Sets status bits, each newly set one by a write of its own; bits that are set already stay set, as virtio 1.3,
    /// 2.1.1 demands. FEATURES_OK is read back: if the device does not accept the features, nothing else is set, and
    /// [`Transport::get_status`] shows that. The empty status resets the device and waits for a bounded number of reads;
    /// if the device has not finished by then, [`Transport::get_status`] is not empty.
    fn set_status(&mut self, status: DeviceStatus);

    /// Tells the device to reset and does not wait: it has reset once [`Transport::get_status`] is empty.
    fn begin_reset(&mut self);

    /// Sets DRIVER_OK, but FAILED instead if the device has not accepted the features (virtio 1.3, 3.1.1, step 6).
    fn finish_init(&mut self) {
        if self.get_status().contains(DeviceStatus::FEATURES_OK) {
            self.set_status(DeviceStatus::DRIVER_OK);
        } else {
            error!("virtio: the device does not accept the features");
            self.set_status(DeviceStatus::FAILED);
        }
    }

    /// The largest size of a queue in descriptors; 0 if there is no such queue, or if it cannot be used.
    fn max_queue_size(&mut self, queue: u16) -> u32;

    /// Sets up a queue of `size` descriptors with its three areas (virtio 1.3, 2.6), and enables it. If that fails,
    /// [`Transport::queue_used`] shows it.
    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver_area: PhysAddr, device_area: PhysAddr);

    /// Stops a queue where the bus has such a thing; if that fails, or there is no such thing, [`Transport::queue_used`]
    /// shows it.
    fn queue_unset(&mut self, queue: u16);

    /// Whether a queue is enabled.
    fn queue_used(&mut self, queue: u16) -> bool;

    /// Tells the device that there are new buffers in a queue.
    fn notify(&mut self, queue: u16);

    /// Acknowledges what the device interrupts for, which ends a level-triggered interrupt, and returns it.
    fn ack_interrupt(&mut self) -> InterruptStatus;

    /// A number that changes with the configuration.
    fn read_config_generation(&self) -> u32;

    /// Reads bytes of the configuration from `offset` on, by accesses of `width` bytes: 1, 2 or 4.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`], [`ConfigError::Outside`] and [`ConfigError::Unaligned`].
    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError>;

    /// Writes bytes of the configuration from `offset` on, by accesses of `width` bytes: 1, 2 or 4.
    ///
    /// # Errors
    ///
    /// As [`Transport::read_config`].
    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), ConfigError>;
}

/// Implements [`Transport`] by passing all calls on to a place that is one.
macro_rules! delegate {
    ($inner:expr, $inner_mut:expr) => {
        fn device_id(&self) -> u16 {
            $inner(self).device_id()
        }

        fn read_device_features(&mut self) -> u64 {
            $inner_mut(self).read_device_features()
        }

        fn write_driver_features(&mut self, features: u64) {
            $inner_mut(self).write_driver_features(features);
        }

        fn get_status(&self) -> $crate::DeviceStatus {
            $inner(self).get_status()
        }

        fn set_status(&mut self, status: $crate::DeviceStatus) {
            $inner_mut(self).set_status(status);
        }

        fn begin_reset(&mut self) {
            $inner_mut(self).begin_reset();
        }

        fn finish_init(&mut self) {
            $inner_mut(self).finish_init();
        }

        fn max_queue_size(&mut self, queue: u16) -> u32 {
            $inner_mut(self).max_queue_size(queue)
        }

        fn queue_set(
            &mut self,
            queue: u16,
            size: u32,
            descriptors: $crate::PhysAddr,
            driver_area: $crate::PhysAddr,
            device_area: $crate::PhysAddr,
        ) {
            $inner_mut(self).queue_set(queue, size, descriptors, driver_area, device_area);
        }

        fn queue_unset(&mut self, queue: u16) {
            $inner_mut(self).queue_unset(queue);
        }

        fn queue_used(&mut self, queue: u16) -> bool {
            $inner_mut(self).queue_used(queue)
        }

        fn notify(&mut self, queue: u16) {
            $inner_mut(self).notify(queue);
        }

        fn ack_interrupt(&mut self) -> $crate::InterruptStatus {
            $inner_mut(self).ack_interrupt()
        }

        fn read_config_generation(&self) -> u32 {
            $inner(self).read_config_generation()
        }

        fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), $crate::ConfigError> {
            $inner(self).read_config(offset, width, bytes)
        }

        fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), $crate::ConfigError> {
            $inner_mut(self).write_config(offset, width, bytes)
        }
    };
}
pub(crate) use delegate;

impl<T: Transport + ?Sized> Transport for &mut T {
    delegate!(behind, behind_mut);
}

fn behind<'a, T: ?Sized>(this: &'a &mut T) -> &'a T {
    this
}

fn behind_mut<'a, T: ?Sized>(this: &'a mut &mut T) -> &'a mut T {
    this
}
