//! A transport of ours for drivers of theirs.

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{ConfigError, ConfigSpace};

/// A [`Transport`](crate::Transport) as a transport of virtio-drivers, for its drivers.
///
/// `DeviceType` ends at 25, so a device of any id that it does not know, such as a file system (26), is
/// [`DeviceType::SignalDistributionModule`] here, a type that has no specification and no driver;
/// [`Transport::device_id`](crate::Transport::device_id) is the truth. Status bits are set one by one, although
/// `begin_init` sets several at once.
#[derive(Debug)]
pub struct ForDrivers<T>(
    /// The transport.
    pub T,
);

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Missing => Self::ConfigSpaceMissing,
            ConfigError::Outside { .. } => Self::ConfigSpaceTooSmall,
            ConfigError::Unaligned { .. } => Self::InvalidParam,
            ConfigError::Unstable { .. } => Self::NotReady,
        }
    }
}

impl<T: crate::Transport> Transport for ForDrivers<T> {
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.0.device_id()).unwrap_or(DeviceType::SignalDistributionModule)
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.read_device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.0.write_driver_features(driver_features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.0.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.0.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.0.get_status().bits())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.0.set_status(crate::DeviceStatus::from_bits_retain(status.bits()));
    }

    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}

    fn finish_init(&mut self) {
        self.0.finish_init();
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.0.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.0.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(self.0.ack_interrupt().bits())
    }

    fn read_config_generation(&self) -> u32 {
        self.0.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        Ok(self.0.read_config_space(offset)?)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, offset: usize, value: V) -> Result<()> {
        Ok(self.0.write_config_space(offset, value)?)
    }

    /// As the default, but with an end: [`Error::NotReady`] if the configuration changed in every one of 1000 tries.
    fn read_consistent<V>(&self, f: impl Fn() -> Result<V>) -> Result<V> {
        let read = || Ok(f());
        self.0.read_consistent(read)?
    }
}
