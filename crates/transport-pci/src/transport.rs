//! The transport.

use core::hint::spin_loop;

use log::error;
use transport_mmio::{Registers, VolatileRegisters};
use virtio_drivers::{
    Error, PhysAddr, Result as VirtioResult,
    transport::{
        DeviceStatus, DeviceType, InterruptStatus, Transport,
        pci::bus::{ConfigurationAccess, DeviceFunction},
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    Note, PciError, QueueVectors, Structure,
    config::{COMMAND_BUS_MASTER, COMMAND_MEMORY, Config},
    interrupt::NO_VECTOR,
    layout::Layout,
    structures::Structures,
};

/// How often a configuration that keeps changing is read anew.
const CONFIG_TRIES: u32 = 1000;

/// How many queues have their place of notification kept; that of others is asked for each time.
const KEPT_QUEUES: usize = 32;

/// The order in which status bits are set (virtio 1.3, 3.1.1), each by a write of its own. Anything else follows.
const STATUS_ORDER: [DeviceStatus; 4] =
    [DeviceStatus::ACKNOWLEDGE, DeviceStatus::DRIVER, DeviceStatus::FEATURES_OK, DeviceStatus::DRIVER_OK];

/// A modern virtio PCI device, of any device type.
///
/// Dropping it resets the device, if its status was set through it. Who must not touch the device any more, say because
/// the host's side of it has died, gives the transport to [`core::mem::forget`].
#[derive(Debug)]
pub struct PciTransport<R: Registers = VolatileRegisters<'static>> {
    pub(crate) layout: Layout,
    pub(crate) structures: Structures<R>,
    pub(crate) function: DeviceFunction,
    /// Offsets in the notification structure of the first queues, as soon as they are in use.
    notify_offsets: [Option<usize>; KEPT_QUEUES],
    /// The status bits that were written since the last reset: the driver's own copy, not what the device says.
    status: DeviceStatus,
    poll_limit: u32,
    /// The vector of configuration changes, [`NO_VECTOR`] for none.
    pub(crate) config_vector: u16,
    pub(crate) queue_vectors: QueueVectors,
}

impl<R: Registers> PciTransport<R> {
    /// The device at `function`, reset and ready to be initialised.
    ///
    /// Its BARs must have addresses. It is made to decode memory, is reset, and then becomes a bus master. Of its BARs
    /// only those are sized that its virtio, MSI-X and shared-memory capabilities name (decoding is off for that
    /// moment). `map` is called once for each structure that is used, with its guest-physical address and the bytes
    /// needed; these lie inside a BAR and don't overlap. Shared memory is never mapped here. What the device can't know is
    /// what else is at those addresses: a `map` that does refuses RAM by [`PciError::Refused`]. The reset may take
    /// `poll_limit` reads of the status.
    ///
    /// A shared-memory capability that is malformed doesn't keep the device from being used; asking for its region gives
    /// the error. Nor does MSI-X that can't be used. [`PciTransport::notes`] tells about both.
    ///
    /// # Errors
    ///
    /// There is no modern virtio device, its capability list or one of its structures is malformed, or it doesn't finish
    /// its reset. And whatever `map` fails with.
    pub fn with_mapper<C: ConfigurationAccess>(
        access: &mut C,
        function: DeviceFunction,
        poll_limit: u32,
        map: impl FnMut(Structure, u64, usize) -> Result<R, PciError>,
    ) -> Result<Self, PciError> {
        let mut config = Config::new(access, function);
        let layout = Layout::read(&mut config)?;
        config.change_command(COMMAND_MEMORY, true);
        let structures = Structures::new(&layout, map)?;
        let mut transport = Self {
            layout,
            structures,
            function,
            notify_offsets: [None; KEPT_QUEUES],
            status: DeviceStatus::empty(),
            poll_limit,
            config_vector: NO_VECTOR,
            queue_vectors: QueueVectors::None,
        };
        // Before it may write to memory the device has to forget what it was told by whoever used it last.
        transport.reset()?;
        config.change_command(COMMAND_BUS_MASTER, true);
        Ok(transport)
    }

    /// The virtio device id, as the device gave it: its PCI device id less 0x1040.
    pub fn device_id(&self) -> u16 {
        self.layout.device_id
    }

    /// Which PCI function this is.
    pub fn function(&self) -> DeviceFunction {
        self.function
    }

    /// How many queues the device says that it has at most.
    pub fn queue_count(&self) -> u16 {
        self.structures.queue_count()
    }

    /// What was odd about the device: the first eight such things. All were logged, too.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.layout.notes.iter()
    }

    /// How many more notes there were than [`PciTransport::notes`] has.
    pub fn notes_dropped(&self) -> usize {
        self.layout.notes.dropped()
    }

    /// Sets how often the status is read before a reset counts as failed.
    pub fn set_poll_limit(&mut self, polls: u32) {
        self.poll_limit = polls;
    }

    /// Resets the device and waits until it says that it has done so (virtio 1.3, 4.1.4.3.2).
    ///
    /// # Errors
    ///
    /// [`PciError::Reset`] if it hasn't after as many reads as [`PciTransport::set_poll_limit`] allows. It must not be
    /// given any memory then, and keeps what it has.
    pub fn reset(&mut self) -> Result<(), PciError> {
        let mut polls = self.poll_limit;
        self.reset_while(|| {
            polls = polls.saturating_sub(1);
            polls > 0
        })
    }

    /// Like [`PciTransport::reset`], for as long as `keep_waiting` says so: a deadline by the embedder's clock.
    ///
    /// # Errors
    ///
    /// [`PciError::Reset`].
    pub fn reset_while(&mut self, mut keep_waiting: impl FnMut() -> bool) -> Result<(), PciError> {
        self.status = DeviceStatus::empty();
        self.notify_offsets = [None; KEPT_QUEUES];
        self.structures.set_status(0);
        let mut polls = 0;
        loop {
            let status = self.structures.status();
            if status == 0 {
                return Ok(());
            }
            polls += 1;
            if !keep_waiting() {
                return Err(PciError::Reset { status, polls });
            }
            spin_loop();
        }
    }

    /// The largest size of a queue, 0 if there is no such queue.
    ///
    /// # Errors
    ///
    /// [`PciError::QueueNotify`] if the queue could not be notified. [`Transport::max_queue_size`] says 0 then.
    pub fn check_queue(&mut self, queue: u16) -> Result<u16, PciError> {
        self.structures.select_queue(queue);
        let size = self.structures.queue_size();
        if size != 0 {
            self.notify_offset(queue)?;
        }
        Ok(size)
    }

    /// Where to notify the queue that is selected.
    fn notify_offset(&self, queue: u16) -> Result<usize, PciError> {
        // 16 and 32 bits, so this is exact.
        let offset = u64::from(self.structures.queue_notify_off()) * u64::from(self.layout.notify_multiplier);
        let len = self.structures.notify_len();
        match usize::try_from(offset) {
            Ok(place) if place < len.saturating_sub(1) => Ok(place),
            _ => Err(PciError::QueueNotify { queue, offset, len: len as u64 }),
        }
    }

    fn write_status(&mut self, bits: DeviceStatus) {
        self.status |= bits;
        // The register has 8 bits, and the specification no others.
        self.structures.set_status(self.status.bits() as u8);
    }
}

/// Checks that `len` bytes at `offset` are in a device configuration of `size` bytes, accessed by `width` each.
fn check_config(size: usize, offset: usize, len: usize, width: usize) -> VirtioResult<()> {
    if !offset.is_multiple_of(width) || !len.is_multiple_of(width) {
        return Err(Error::InvalidParam);
    }
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::ConfigSpaceTooSmall),
    }
}

/// The width of an access to a field of type `T` of the configuration (virtio 1.3, 4.1.3.1): 64-bit fields are read as
/// two halves.
const fn access_width<T>() -> usize {
    if align_of::<T>() < 4 { align_of::<T>() } else { 4 }
}

impl<R: Registers> Transport for PciTransport<R> {
    /// A stand-in: the enumeration ends at 25, so a device of any id that it doesn't know, such as a file system (26),
    /// is [`DeviceType::SignalDistributionModule`] here, a type that has no specification and no driver.
    /// [`PciTransport::device_id`] tells the truth.
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.layout.device_id).unwrap_or(DeviceType::SignalDistributionModule)
    }

    fn read_device_features(&mut self) -> u64 {
        self.structures.device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.structures.set_driver_features(driver_features);
    }

    /// The largest size of a queue; 0 if there is no such queue, or if it could not be notified, which
    /// [`PciTransport::check_queue`] tells apart.
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        match self.check_queue(queue) {
            Ok(size) => size.into(),
            Err(error) => {
                error!("virtio-pci: {error}");
                0
            }
        }
    }

    fn notify(&mut self, queue: u16) {
        let kept = self.notify_offsets.get(usize::from(queue)).copied().flatten();
        let offset = kept.map_or_else(
            || {
                self.structures.select_queue(queue);
                self.notify_offset(queue)
            },
            Ok,
        );
        match offset {
            Ok(offset) => self.structures.notify(offset, queue),
            Err(error) => error!("virtio-pci: {error}"),
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.structures.status().into())
    }

    /// Sets status bits, each newly set one by a write of its own; bits that are set already stay set, as virtio 1.3,
    /// 2.1.1 demands. The empty status resets the device and waits as [`PciTransport::reset`] does; if that fails
    /// [`Transport::get_status`] shows it, being not empty. FEATURES_OK is read back: if the device doesn't accept the
    /// features nothing else is set, and [`Transport::get_status`] shows that, too.
    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            if let Err(error) = self.reset() {
                error!("virtio-pci: {error}");
            }
            return;
        }
        for bit in STATUS_ORDER {
            if !status.contains(bit) || self.status.contains(bit) {
                continue;
            }
            if bit == DeviceStatus::DRIVER_OK
                && let Err(error) = self.give_config_vector()
            {
                error!("virtio-pci: no interrupts of configuration changes: {error}");
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
            error!("virtio-pci: the device does not accept the features");
            self.set_status(DeviceStatus::FAILED);
        }
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    /// Sets up a queue, with the MSI-X vector assigned to it, and enables it. One that could not be notified, whose
    /// vector the device refuses, or with a size of more than 16 bits stays disabled, which [`Transport::queue_used`]
    /// shows.
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.structures.select_queue(queue);
        let offset = match self.notify_offset(queue) {
            Ok(offset) => offset,
            Err(error) => {
                error!("virtio-pci: {error}");
                return;
            }
        };
        let Ok(size) = u16::try_from(size) else {
            error!("virtio-pci: queue {queue} can't have {size} entries");
            return;
        };
        if let Err(error) = self.give_queue_vector(queue) {
            error!("virtio-pci: queue {queue} is not set up: {error}");
            return;
        }
        if let Some(kept) = self.notify_offsets.get_mut(usize::from(queue)) {
            *kept = Some(offset);
        }
        self.structures.set_queue_size(size);
        self.structures.enable_queue(descriptors, driver_area, device_area);
    }

    /// Does nothing: over PCI a queue that is enabled stays so until the device is reset.
    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.structures.select_queue(queue);
        self.structures.queue_enabled()
    }

    /// Reads the interrupt status, which clears it and, without MSI-X, the interrupt line. With MSI-X it needn't be
    /// called.
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(self.structures.take_isr().into())
    }

    fn read_config_generation(&self) -> u32 {
        self.structures.config_generation().into()
    }

    /// Reads a field of the device configuration, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigSpaceMissing`] if there is none, [`Error::ConfigSpaceTooSmall`] if the field is outside of it,
    /// [`Error::InvalidParam`] if it is unaligned.
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> VirtioResult<T> {
        let config = self.structures.config().ok_or(Error::ConfigSpaceMissing)?;
        let width = access_width::<T>();
        check_config(config.size(), offset, size_of::<T>(), width)?;
        let mut value = T::new_zeroed();
        for (index, piece) in value.as_mut_bytes().chunks_exact_mut(width).enumerate() {
            let place = offset + index * width;
            match width {
                1 => piece.copy_from_slice(&config.read8(place).to_le_bytes()),
                2 => piece.copy_from_slice(&config.read16(place).to_le_bytes()),
                _ => piece.copy_from_slice(&config.read32(place).to_le_bytes()),
            }
        }
        Ok(value)
    }

    /// Writes a field of the device configuration, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigSpaceMissing`] if there is none, [`Error::ConfigSpaceTooSmall`] if the field is outside of it,
    /// [`Error::InvalidParam`] if it is unaligned.
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> VirtioResult<()> {
        let config = self.structures.config_mut().ok_or(Error::ConfigSpaceMissing)?;
        let width = access_width::<T>();
        check_config(config.size(), offset, size_of::<T>(), width)?;
        for (index, piece) in value.as_bytes().chunks_exact(width).enumerate() {
            let place = offset + index * width;
            match *piece {
                [a] => config.write8(place, a),
                [a, b] => config.write16(place, u16::from_le_bytes([a, b])),
                [a, b, c, d] => config.write32(place, u32::from_le_bytes([a, b, c, d])),
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

impl<R: Registers> Drop for PciTransport<R> {
    fn drop(&mut self) {
        if !self.status.is_empty() {
            self.set_status(DeviceStatus::empty());
        }
    }
}
