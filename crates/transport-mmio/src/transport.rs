//! The transport.

use core::hint::spin_loop;

use log::error;
use virtio_drivers::{
    Error, PhysAddr, Result as VirtioResult,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    MmioError, Registers,
    registers::{
        CONFIG, CONFIG_GENERATION, DEVICE_FEATURES, DEVICE_FEATURES_SEL, DEVICE_ID, DRIVER_FEATURES,
        DRIVER_FEATURES_SEL, INTERRUPT_ACK, INTERRUPT_STATUS, MAGIC, QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER,
        QUEUE_NOTIFY, QUEUE_NUM, QUEUE_NUM_MAX, QUEUE_READY, QUEUE_SEL, STATUS, VENDOR_ID, VERSION,
    },
};

/// "virt" in little-endian.
const MAGIC_VALUE: u32 = 0x7472_6976;

/// How often a register is read, unless the embedder says otherwise, before the device counts as stuck.
const POLL_LIMIT: u32 = 1_000_000;

/// How often a configuration that keeps changing is read anew.
const CONFIG_TRIES: u32 = 1000;

/// The order in which status bits are set (virtio 1.3, 3.1.1), each by a write of its own. Anything else follows.
const STATUS_ORDER: [DeviceStatus; 4] =
    [DeviceStatus::ACKNOWLEDGE, DeviceStatus::DRIVER, DeviceStatus::FEATURES_OK, DeviceStatus::DRIVER_OK];

/// A virtio-mmio device of version 2, of any device type.
///
/// Dropping it resets the device, if its status was set through it. Who must not touch the device any more, say because
/// the host's side of it has died, gives the transport to [`core::mem::forget`].
#[derive(Debug)]
pub struct MmioTransport<R: Registers> {
    pub(crate) registers: R,
    device_id: u16,
    /// The status bits that were written since the last reset: the driver's own copy, not what the device says.
    status: DeviceStatus,
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
        Ok(Self { registers, device_id, status: DeviceStatus::empty(), poll_limit: POLL_LIMIT })
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
        let mut polls = self.poll_limit;
        self.reset_while(|| {
            polls = polls.saturating_sub(1);
            polls > 0
        })
    }

    /// Like [`MmioTransport::reset`], for as long as `keep_waiting` says so: a deadline by the embedder's clock.
    ///
    /// # Errors
    ///
    /// [`MmioError::Reset`].
    pub fn reset_while(&mut self, mut keep_waiting: impl FnMut() -> bool) -> Result<(), MmioError> {
        self.status = DeviceStatus::empty();
        self.registers.write32(STATUS, 0);
        let mut polls = 0;
        loop {
            let status = self.registers.read32(STATUS);
            if status == 0 {
                return Ok(());
            }
            polls += 1;
            if !keep_waiting() {
                return Err(MmioError::Reset { status, polls });
            }
            spin_loop();
        }
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

    fn write_status(&mut self, bits: DeviceStatus) {
        self.status |= bits;
        self.registers.write32(STATUS, self.status.bits());
    }

    /// The offset in the block of `len` bytes at `offset` in the configuration, accessed by `width` bytes each.
    fn config_offset(&self, offset: usize, len: usize, width: usize) -> VirtioResult<usize> {
        if !offset.is_multiple_of(width) || !len.is_multiple_of(width) {
            return Err(Error::InvalidParam);
        }
        let start = CONFIG.checked_add(offset).ok_or(Error::ConfigSpaceTooSmall)?;
        let end = start.checked_add(len).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > self.registers.size() {
            return Err(Error::ConfigSpaceTooSmall);
        }
        Ok(start)
    }
}

/// The width of an access to a field of type `T` of the configuration (virtio 1.3, 4.2.2.2): 64-bit fields are read as
/// two halves.
const fn access_width<T>() -> usize {
    if align_of::<T>() < 4 { align_of::<T>() } else { 4 }
}

impl<R: Registers> Transport for MmioTransport<R> {
    /// A stand-in: the enumeration ends at 25, so a device of any id that it doesn't know, such as a file system (26),
    /// is [`DeviceType::SignalDistributionModule`] here, a type that has no specification and no driver.
    /// [`MmioTransport::device_id`] tells the truth.
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.device_id).unwrap_or(DeviceType::SignalDistributionModule)
    }

    fn read_device_features(&mut self) -> u64 {
        self.registers.write32(DEVICE_FEATURES_SEL, 0);
        let low = self.registers.read32(DEVICE_FEATURES);
        self.registers.write32(DEVICE_FEATURES_SEL, 1);
        let high = self.registers.read32(DEVICE_FEATURES);
        u64::from(high) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.registers.write32(DRIVER_FEATURES_SEL, 0);
        self.registers.write32(DRIVER_FEATURES, driver_features as u32);
        self.registers.write32(DRIVER_FEATURES_SEL, 1);
        self.registers.write32(DRIVER_FEATURES, (driver_features >> 32) as u32);
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

    /// Sets status bits, each newly set one by a write of its own; bits that are set already stay set, as virtio 1.3,
    /// 2.1.1 demands. The empty status resets the device and waits as [`MmioTransport::reset`] does; if that fails
    /// [`Transport::get_status`] shows it, being not empty. FEATURES_OK is read back: if the device doesn't accept the
    /// features nothing else is set, and [`Transport::get_status`] shows that, too.
    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            if let Err(error) = self.reset() {
                error!("virtio-mmio: {error}");
            }
            return;
        }
        for bit in STATUS_ORDER {
            if !status.contains(bit) || self.status.contains(bit) {
                continue;
            }
            self.write_status(bit);
            if bit == DeviceStatus::FEATURES_OK && !self.get_status().contains(bit) {
                self.status -= bit;
                return;
            }
        }
        if !self.status.contains(status) {
            self.write_status(status);
        }
    }

    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}

    /// Sets DRIVER_OK, but FAILED instead if the device has not accepted the features (virtio 1.3, 3.1.1, step 6).
    fn finish_init(&mut self) {
        if self.get_status().contains(DeviceStatus::FEATURES_OK) {
            self.set_status(DeviceStatus::DRIVER_OK);
        } else {
            error!("virtio-mmio: the device does not accept the features");
            self.set_status(DeviceStatus::FAILED);
        }
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

    /// Reads a field of the configuration, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigSpaceTooSmall`] if it is outside the register block, [`Error::InvalidParam`] if it is unaligned.
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> VirtioResult<T> {
        let width = access_width::<T>();
        let start = self.config_offset(offset, size_of::<T>(), width)?;
        let mut value = T::new_zeroed();
        for (index, piece) in value.as_mut_bytes().chunks_exact_mut(width).enumerate() {
            let place = start + index * width;
            match width {
                1 => piece.copy_from_slice(&self.registers.read8(place).to_le_bytes()),
                2 => piece.copy_from_slice(&self.registers.read16(place).to_le_bytes()),
                _ => piece.copy_from_slice(&self.registers.read32(place).to_le_bytes()),
            }
        }
        Ok(value)
    }

    /// Writes a field of the configuration, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigSpaceTooSmall`] if it is outside the register block, [`Error::InvalidParam`] if it is unaligned.
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> VirtioResult<()> {
        let width = access_width::<T>();
        let start = self.config_offset(offset, size_of::<T>(), width)?;
        for (index, piece) in value.as_bytes().chunks_exact(width).enumerate() {
            let place = start + index * width;
            match *piece {
                [a] => self.registers.write8(place, a),
                [a, b] => self.registers.write16(place, u16::from_le_bytes([a, b])),
                [a, b, c, d] => self.registers.write32(place, u32::from_le_bytes([a, b, c, d])),
                _ => return Err(Error::InvalidParam),
            }
        }
        Ok(())
    }

    /// Reads fields that belong together, anew if the configuration changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] if it changed in every one of 1000 tries.
    fn read_consistent<T>(&self, f: impl Fn() -> VirtioResult<T>) -> VirtioResult<T> {
        for _ in 0..CONFIG_TRIES {
            let before = self.read_config_generation();
            let result = f();
            if self.read_config_generation() == before {
                return result;
            }
        }
        Err(Error::NotReady)
    }
}

impl<R: Registers> Drop for MmioTransport<R> {
    fn drop(&mut self) {
        if !self.status.is_empty() {
            self.set_status(DeviceStatus::empty());
        }
    }
}
