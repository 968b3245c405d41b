//! The transport.

use log::error;
use virtio_transport::{
    ConfigError, ConfigurationAccess, DeviceStatus, InterruptStatus, PciFunction, PhysAddr, Registers, Transport,
    VolatileRegisters, read_config_registers,
    sequence::{ResetTimeout, StatusRegister, StatusSequence, at_most, wait_for_reset},
    write_config_registers,
};

use crate::{
    Note, PciError, QueueVectors, Structure,
    config::{COMMAND_BUS_MASTER, COMMAND_MEMORY, Config},
    layout::Layout,
    structures::Structures,
    vectors::{NO_VECTOR, accepted},
};

/// How many queues have their place of notification kept; that of others is asked for each time.
const KEPT_QUEUES: usize = 32;

/// A modern virtio PCI device, of any device type.
///
/// Dropping it resets the device, if its status was set through it. Who must not touch the device any more, say because
/// the host's side of it has died, gives the transport to [`core::mem::forget`].
#[derive(Debug)]
pub struct PciTransport<R: Registers = VolatileRegisters<'static>> {
    pub(crate) layout: Layout,
    pub(crate) structures: Structures<R>,
    pub(crate) function: PciFunction,
    /// Offsets in the notification structure of the first queues, as soon as they are in use.
    notify_offsets: [Option<u32>; KEPT_QUEUES],
    status: StatusSequence,
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
    /// the error. Nor does MSI-X that can't be used. [`PciTransport::notes`] reports both.
    ///
    /// # Errors
    ///
    /// There is no modern virtio device, its capability list or one of its structures is malformed, or it doesn't finish
    /// its reset. And whatever `map` fails with.
    pub fn with_mapper<C: ConfigurationAccess>(
        access: &mut C,
        function: PciFunction,
        poll_limit: u32,
        map: impl FnMut(Structure, u64, usize) -> Result<R, PciError>,
    ) -> Result<Self, PciError> {
        let mut config = Config::new(access, function);
        let mut layout = Layout::new();
        layout.read(&mut config)?;
        config.change_command(COMMAND_MEMORY, true);
        let mut structures = Structures::new(&layout, map)?;
        // Before it may write to memory the device has to forget the settings of its last user.
        structures.write_status(0);
        wait_for_reset(&structures, at_most(poll_limit)).map_err(reset_error)?;
        config.change_command(COMMAND_BUS_MASTER, true);
        Ok(Self {
            layout,
            structures,
            function,
            notify_offsets: [None; KEPT_QUEUES],
            status: StatusSequence::new(),
            poll_limit,
            config_vector: NO_VECTOR,
            queue_vectors: QueueVectors::None,
        })
    }

    /// The virtio device id, as the device gave it: its PCI device id less 0x1040.
    pub fn device_id(&self) -> u16 {
        self.layout.device_id
    }

    /// Which PCI function this is.
    pub fn function(&self) -> PciFunction {
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
        self.reset_while(at_most(self.poll_limit))
    }

    /// Like [`PciTransport::reset`], for as long as `keep_waiting` says so: a deadline by the embedder's clock.
    ///
    /// # Errors
    ///
    /// [`PciError::Reset`].
    pub fn reset_while(&mut self, keep_waiting: impl FnMut() -> bool) -> Result<(), PciError> {
        self.begin_reset();
        wait_for_reset(self, keep_waiting).map_err(reset_error)
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

    /// Gives the queue selected the vector that was assigned to it.
    fn give_queue_vector(&mut self, queue: u16) -> Result<(), PciError> {
        let last = self.layout.msix.map_or(0, |msix| msix.vectors).saturating_sub(1);
        let vector = match self.queue_vectors {
            QueueVectors::None => return Ok(()),
            QueueVectors::Shared(vector) => vector,
            QueueVectors::From(first) => first.saturating_add(queue).min(last),
        };
        accepted(vector, self.structures.set_queue_vector(vector))
    }

    /// Gives configuration changes the vector that was assigned to them.
    fn give_config_vector(&mut self) -> Result<(), PciError> {
        if self.config_vector == NO_VECTOR {
            return Ok(());
        }
        accepted(self.config_vector, self.structures.set_config_vector(self.config_vector))
    }
}

/// The status register has 8 bits.
fn reset_error(ResetTimeout { status, polls }: ResetTimeout) -> PciError {
    PciError::Reset { status: status as u8, polls }
}

impl<R: Registers> StatusRegister for PciTransport<R> {
    fn read_status(&self) -> u32 {
        self.structures.read_status()
    }

    fn write_status(&mut self, status: u32) {
        self.structures.write_status(status);
    }

    fn before_driver_ok(&mut self) {
        if let Err(error) = self.give_config_vector() {
            error!("virtio-pci: no interrupts of configuration changes: {error}");
        }
    }
}

impl<R: Registers> Transport for PciTransport<R> {
    fn device_id(&self) -> u16 {
        self.layout.device_id
    }

    fn read_device_features(&mut self) -> u64 {
        self.structures.device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.structures.set_driver_features(features);
    }

    /// The largest size of a queue; 0 if there is no such queue, or if it could not be notified, which
    /// [`PciTransport::check_queue`] distinguishes.
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
        let offset = kept.map(|offset| offset as usize).map_or_else(
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
        DeviceStatus::from_bits_retain(self.structures.read_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            if let Err(error) = self.reset() {
                error!("virtio-pci: {error}");
            }
            return;
        }
        self.status = self.status.set(self, status);
    }

    fn begin_reset(&mut self) {
        self.status = StatusSequence::new();
        self.notify_offsets = [None; KEPT_QUEUES];
        self.structures.write_status(0);
    }

    /// Sets up a queue, with the MSI-X vector assigned to it, and enables it. One that could not be notified, with a
    /// vector that the device refuses, or with a size of more than 16 bits stays disabled, which [`Transport::queue_used`]
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
            // At most 16 MiB are mapped.
            *kept = Some(offset as u32);
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

    /// # Errors
    ///
    /// [`ConfigError::Missing`] if the device has no configuration, [`ConfigError::Outside`] and
    /// [`ConfigError::Unaligned`].
    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        let config = self.structures.config().ok_or(ConfigError::Missing)?;
        read_config_registers(config, 0, offset, width, bytes)
    }

    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), ConfigError> {
        let config = self.structures.config_mut().ok_or(ConfigError::Missing)?;
        write_config_registers(config, 0, offset, width, bytes)
    }
}

impl<R: Registers> Drop for PciTransport<R> {
    fn drop(&mut self) {
        if !self.status.is_empty() {
            self.set_status(DeviceStatus::empty());
        }
    }
}
