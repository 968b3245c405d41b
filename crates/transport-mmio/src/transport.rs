//! The transport.

use core::hint::spin_loop;

use log::error;
use virtio_transport::{
    ConfigError, DeviceStatus, InterruptStatus, PhysAddr, Registers, Transport, read_config_registers,
    sequence::{POLL_LIMIT, ResetTimeout, StatusRegister, StatusSequence, at_most, wait_for_reset},
    write_config_registers,
};

use crate::{
    MmioError,
    registers::{
        CONFIG, CONFIG_GENERATION, DEVICE_FEATURES, DEVICE_FEATURES_SEL, DEVICE_ID, DRIVER_FEATURES,
        DRIVER_FEATURES_SEL, INTERRUPT_ACK, INTERRUPT_STATUS, MAGIC, QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER,
        QUEUE_NOTIFY, QUEUE_NUM, QUEUE_NUM_MAX, QUEUE_READY, QUEUE_SEL, STATUS, VENDOR_ID, VERSION,
    },
};

/// "virt" in little-endian.
const MAGIC_VALUE: u32 = 0x7472_6976;

/// A virtio-mmio device of version 2, of any device type.
///
/// Dropping it resets the device, if its status was set through it. Who must not touch the device any more, say because
/// the host's side of it has died, gives the transport to [`core::mem::forget`].
#[derive(Debug)]
pub struct MmioTransport<R: Registers> {
    pub(crate) registers: R,
    device_id: u16,
    status: StatusSequence,
    poll_limit: u32,
}

impl<R: Registers> MmioTransport<R> {
    /// The device behind these registers. Nothing is written to it yet.
    ///
    /// # Errors
    ///
    /// The block is too small, there is no device ([`MmioError::BadMagic`], [`MmioError::NoDevice`]), or the device is
    /// no modern one ([`MmioError::Legacy`], [`MmioError::UnknownVersion`], [`MmioError::DeviceId`]).
    pub fn new(registers: R) -> Result<Self, MmioError> {
        let size = registers.size();
        if size < CONFIG {
            return Err(MmioError::TooSmall { size, need: CONFIG });
        }
        let magic = registers.read32(MAGIC);
        if magic != MAGIC_VALUE {
            return Err(MmioError::BadMagic { magic });
        }
        // An empty place of QEMU's says version 1 or 2 as if it had a device: so the id comes first.
        let id = registers.read32(DEVICE_ID);
        if id == 0 {
            return Err(MmioError::NoDevice);
        }
        match registers.read32(VERSION) {
            2 => {}
            1 => return Err(MmioError::Legacy),
            version => return Err(MmioError::UnknownVersion { version }),
        }
        let device_id = u16::try_from(id).map_err(|_| MmioError::DeviceId { id })?;
        Ok(Self { registers, device_id, status: StatusSequence::new(), poll_limit: POLL_LIMIT })
    }

    /// The virtio device id, as the device gave it.
    pub fn device_id(&self) -> u16 {
        self.device_id
    }

    /// `VendorID`, which is of no consequence.
    pub fn vendor_id(&self) -> u32 {
        self.registers.read32(VENDOR_ID)
    }

    /// Sets how often a register is read before the device counts as stuck, in a reset and when a queue is stopped.
    pub fn set_poll_limit(&mut self, polls: u32) {
        self.poll_limit = polls;
    }

    /// Resets the device and waits until it says that it has done so (virtio 1.3, 4.2.2.1).
    ///
    /// # Errors
    ///
    /// [`MmioError::Reset`] if it hasn't after as many reads as [`MmioTransport::set_poll_limit`] allows. It must not
    /// be given any memory then.
    pub fn reset(&mut self) -> Result<(), MmioError> {
        self.reset_while(at_most(self.poll_limit))
    }

    /// Like [`MmioTransport::reset`], for as long as `keep_waiting` says so: a deadline by the embedder's clock.
    ///
    /// # Errors
    ///
    /// [`MmioError::Reset`].
    pub fn reset_while(&mut self, keep_waiting: impl FnMut() -> bool) -> Result<(), MmioError> {
        self.begin_reset();
        wait_for_reset(self, keep_waiting).map_err(|ResetTimeout { status, polls }| MmioError::Reset { status, polls })
    }

    /// Stops a queue and waits until the device says that it no longer uses it.
    ///
    /// # Errors
    ///
    /// [`MmioError::QueueStop`] if it doesn't in time: the queue's memory is still the device's.
    pub fn stop_queue(&mut self, queue: u16) -> Result<(), MmioError> {
        self.registers.write32(QUEUE_SEL, queue.into());
        self.registers.write32(QUEUE_READY, 0);
        let mut polls = 0;
        while self.registers.read32(QUEUE_READY) != 0 {
            polls += 1;
            if polls >= self.poll_limit {
                return Err(MmioError::QueueStop { queue, polls });
            }
            spin_loop();
        }
        self.registers.write32(QUEUE_NUM, 0);
        for register in [QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE] {
            self.write_halves(register, 0);
        }
        Ok(())
    }

    /// Writes a 64-bit value to two registers, low half first.
    fn write_halves(&mut self, register: usize, value: u64) {
        self.registers.write32(register, value as u32);
        self.registers.write32(register + 4, (value >> 32) as u32);
    }
}

impl<R: Registers> StatusRegister for MmioTransport<R> {
    fn read_status(&self) -> u32 {
        self.registers.read32(STATUS)
    }

    fn write_status(&mut self, status: u32) {
        self.registers.write32(STATUS, status);
    }
}

impl<R: Registers> Transport for MmioTransport<R> {
    fn device_id(&self) -> u16 {
        self.device_id
    }

    fn read_device_features(&mut self) -> u64 {
        self.registers.write32(DEVICE_FEATURES_SEL, 0);
        let low = self.registers.read32(DEVICE_FEATURES);
        self.registers.write32(DEVICE_FEATURES_SEL, 1);
        let high = self.registers.read32(DEVICE_FEATURES);
        u64::from(high) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.registers.write32(DRIVER_FEATURES_SEL, 0);
        self.registers.write32(DRIVER_FEATURES, features as u32);
        self.registers.write32(DRIVER_FEATURES_SEL, 1);
        self.registers.write32(DRIVER_FEATURES, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.registers.write32(QUEUE_SEL, queue.into());
        self.registers.read32(QUEUE_NUM_MAX)
    }

    fn notify(&mut self, queue: u16) {
        self.registers.write32(QUEUE_NOTIFY, queue.into());
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.registers.read32(STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            if let Err(error) = self.reset() {
                error!("virtio-mmio: {error}");
            }
            return;
        }
        self.status = self.status.set(self, status);
    }

    fn begin_reset(&mut self) {
        self.status = StatusSequence::new();
        self.registers.write32(STATUS, 0);
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.registers.write32(QUEUE_SEL, queue.into());
        self.registers.write32(QUEUE_NUM, size);
        self.write_halves(QUEUE_DESC, descriptors);
        self.write_halves(QUEUE_DRIVER, driver_area);
        self.write_halves(QUEUE_DEVICE, device_area);
        self.registers.write32(QUEUE_READY, 1);
    }

    /// Stops the queue as [`MmioTransport::stop_queue`] does; if that fails [`Transport::queue_used`] shows it.
    fn queue_unset(&mut self, queue: u16) {
        if let Err(error) = self.stop_queue(queue) {
            error!("virtio-mmio: {error}");
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.registers.write32(QUEUE_SEL, queue.into());
        self.registers.read32(QUEUE_READY) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let pending = self.registers.read32(INTERRUPT_STATUS);
        if pending != 0 {
            self.registers.write32(INTERRUPT_ACK, pending);
        }
        InterruptStatus::from_bits_truncate(pending)
    }

    fn read_config_generation(&self) -> u32 {
        self.registers.read32(CONFIG_GENERATION)
    }

    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        read_config_registers(&self.registers, CONFIG, offset, width, bytes)
    }

    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), ConfigError> {
        write_config_registers(&mut self.registers, CONFIG, offset, width, bytes)
    }
}

impl<R: Registers> Drop for MmioTransport<R> {
    fn drop(&mut self) {
        if !self.status.is_empty() {
            self.set_status(DeviceStatus::empty());
        }
    }
}
