//! The transport: virtio's status, features, queues and configuration in terms of vhost-user.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vhost::vhost_user::VhostUserFrontend as _;
use vhost::{VhostBackend as _, VringConfigData};
use virtio_shm::{FILE_SYSTEM, ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::sequence::{StatusRegister, StatusSequence};
use virtio_transport::{ConfigError, DeviceStatus, InterruptStatus, PhysAddr, Transport};

use crate::error::ControlError;
use crate::negotiation::PROTOCOL_FEATURES;
use crate::session::Session;
use crate::window::WINDOW_BASE;

/// A file system device behind a vhost-user socket. It is reset when it is dropped.
///
/// Requests to the back end that fail show where virtio has a place for it: FEATURES_OK that does not stay, a queue that
/// is not in use, DEVICE_NEEDS_RESET. Each is logged.
#[derive(Debug)]
pub struct VhostUserTransport {
    device: Device,
    sequence: StatusSequence,
    generation: u32,
}

#[derive(Debug)]
struct Device {
    session: Arc<Session>,
    status: DeviceStatus,
    features: u64,
    /// Which queues the back end knows of.
    queues: Vec<bool>,
}

impl VhostUserTransport {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        let queues = vec![false; session.kicks.len()];
        let device = Device { session, status: DeviceStatus::empty(), features: 0, queues };
        Self { device, sequence: StatusSequence::new(), generation: 0 }
    }
}

impl Device {
    /// Tells the back end of features and memory.
    fn negotiate(&self) -> Result<(), ControlError> {
        let link = &self.session.link;
        link.call("SET_FEATURES", |frontend| frontend.set_features(self.features | PROTOCOL_FEATURES))?;
        link.call("SET_MEM_TABLE", |frontend| frontend.set_mem_table(&[self.session.memory.region()]))
    }

    /// Tells the back end of a queue. It does not run yet.
    fn set_queue(&self, queue: usize, size: u16, areas: [PhysAddr; 3]) -> Result<(), ControlError> {
        let [desc_table_addr, avail_ring_addr, used_ring_addr] = areas;
        let Session { link, calls, kicks, queue_size, .. } = &*self.session;
        let config = VringConfigData {
            queue_max_size: *queue_size,
            queue_size: size,
            flags: 0,
            desc_table_addr,
            used_ring_addr,
            avail_ring_addr,
            log_addr: None,
        };
        // What was kicked before is forgotten, if there is anything.
        let _ = kicks[queue].read();
        link.call("SET_VRING_NUM", |frontend| frontend.set_vring_num(queue, size))?;
        link.call("SET_VRING_BASE", |frontend| frontend.set_vring_base(queue, 0))?;
        link.call("SET_VRING_ADDR", |frontend| frontend.set_vring_addr(queue, &config))?;
        link.call("SET_VRING_CALL", |frontend| frontend.set_vring_call(queue, &calls[queue]))?;
        link.call("SET_VRING_KICK", |frontend| frontend.set_vring_kick(queue, &kicks[queue]))
    }

    /// Lets the queues run.
    fn start(&self) -> Result<(), ControlError> {
        for queue in self.queues_in_use() {
            self.session.link.call("SET_VRING_ENABLE", |frontend| frontend.set_vring_enable(queue, true))?;
        }
        self.session.service.running.store(true, Ordering::Release);
        Ok(())
    }

    fn queues_in_use(&self) -> impl Iterator<Item = usize> {
        self.queues.iter().enumerate().filter(|&(_, &used)| used).map(|(queue, _)| queue)
    }

    /// Stops the queues, and takes all mappings away, as QEMU does at a reset.
    fn stop(&mut self) {
        let Session { link, service, .. } = &*self.session;
        service.running.store(false, Ordering::Release);
        let mut result = Ok(());
        for queue in self.queues_in_use() {
            let stopped = link
                .call("SET_VRING_ENABLE", |frontend| frontend.set_vring_enable(queue, false))
                .and_then(|()| link.call("GET_VRING_BASE", |frontend| frontend.get_vring_base(queue)));
            result = result.and(stopped.map(drop));
        }
        if let Err(error) = result {
            log::warn!("the device does not stop: {error}");
        }
        if let Some(window) = &service.window {
            window.clear();
        }
        self.queues.fill(false);
    }
}

impl StatusRegister for Device {
    fn read_status(&self) -> u32 {
        let gone = self.session.gone.reason().is_some() && !self.status.is_empty();
        (self.status | if gone { DeviceStatus::DEVICE_NEEDS_RESET } else { DeviceStatus::empty() }).bits()
    }

    fn write_status(&mut self, status: u32) {
        let status = DeviceStatus::from_bits_retain(status);
        let new = status - self.status;
        self.status = status;
        if new.contains(DeviceStatus::FEATURES_OK)
            && let Err(error) = self.negotiate()
        {
            log::warn!("the features are not accepted: {error}");
            self.status -= DeviceStatus::FEATURES_OK;
        }
        if new.contains(DeviceStatus::DRIVER_OK)
            && let Err(error) = self.start()
        {
            log::warn!("the device does not start: {error}");
            self.status |= DeviceStatus::DEVICE_NEEDS_RESET;
        }
    }
}

impl ShmTransport for VhostUserTransport {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        match &self.device.session.service.window {
            Some(window) if id == ShmId::FS_DAX_WINDOW => ShmRegion::new(id, WINDOW_BASE, window.len()).map(Some),
            _ => Ok(None),
        }
    }
}

impl Transport for VhostUserTransport {
    fn device_id(&self) -> u16 {
        FILE_SYSTEM
    }

    fn read_device_features(&mut self) -> u64 {
        self.device.session.features
    }

    fn write_driver_features(&mut self, features: u64) {
        self.device.features = features;
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.device.read_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            self.begin_reset();
        } else {
            self.sequence = self.sequence.set(&mut self.device, status);
        }
    }

    /// The reset is done when this returns. Without an answer of the back end the connection is over by then, and its
    /// queues with it.
    fn begin_reset(&mut self) {
        self.device.stop();
        self.device.status = DeviceStatus::empty();
        self.sequence = StatusSequence::new();
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        if usize::from(queue) < self.device.queues.len() { self.device.session.queue_size.into() } else { 0 }
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let index = usize::from(queue);
        let Some(size) = u16::try_from(size).ok().filter(|&size| size <= self.device.session.queue_size) else {
            return;
        };
        if index >= self.device.queues.len() {
            return;
        }
        match self.device.set_queue(index, size, [descriptors, driver_area, device_area]) {
            Ok(()) => self.device.queues[index] = true,
            Err(error) => log::warn!("queue {queue} cannot be set up: {error}"),
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        let index = usize::from(queue);
        if self.queue_used(queue) {
            match self.device.session.link.call("GET_VRING_BASE", |frontend| frontend.get_vring_base(index)) {
                Ok(_) => self.device.queues[index] = false,
                Err(error) => log::warn!("queue {queue} does not stop: {error}"),
            }
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.device.queues.get(usize::from(queue)).is_some_and(|&used| used)
    }

    fn notify(&mut self, queue: u16) {
        // A counter that is full is a signal already.
        if let Some(kick) = self.device.session.kicks.get(usize::from(queue)) {
            let _ = kick.write(1);
        }
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let mut status = InterruptStatus::empty();
        status.set(InterruptStatus::QUEUE_INTERRUPT, self.device.session.interrupts.take_pending());
        let generation = self.read_config_generation();
        status.set(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT, generation != self.generation);
        self.generation = generation;
        status
    }

    fn read_config_generation(&self) -> u32 {
        self.device.session.service.config_generation.load(Ordering::Acquire)
    }

    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        let len = bytes.len();
        if !matches!(width, 1 | 2 | 4) || !offset.is_multiple_of(width) || !len.is_multiple_of(width) {
            return Err(ConfigError::Unaligned { offset, len, width });
        }
        self.device.session.with_config(|config| {
            let end = offset.checked_add(len).filter(|&end| end <= config.len());
            let end = end.ok_or(ConfigError::Outside { offset, len, size: config.len() })?;
            bytes.copy_from_slice(&config[offset..end]);
            Ok(())
        })
    }

    /// A file system's configuration has nothing to write.
    fn write_config(&mut self, offset: usize, _width: usize, bytes: &[u8]) -> Result<(), ConfigError> {
        Err(ConfigError::Outside { offset, len: bytes.len(), size: 0 })
    }
}

impl Drop for VhostUserTransport {
    fn drop(&mut self) {
        if self.device.queues_in_use().next().is_some() {
            self.begin_reset();
        }
    }
}
