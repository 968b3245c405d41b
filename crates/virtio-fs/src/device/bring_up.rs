//! From a transport to a running device: status, features, configuration, queues (virtio 1.3, 3.1.1 and 5.11). The queues
//! themselves are the caller's.

use virtio_shm::FILE_SYSTEM;
use virtio_transport::{ConfigSpace, DeviceStatus, PhysAddr, Transport};

use super::port::Port;
use crate::port::DevicePort;
use crate::tag::{TAG_BYTES, Tag};
use crate::{Lock, MountError, Platform};

/// VIRTIO_F_INDIRECT_DESC (virtio 1.3, 6).
pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
/// VIRTIO_F_EVENT_IDX.
pub(crate) const EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;
const ACCESS_PLATFORM: u64 = 1 << 33;
const ORDER_PLATFORM: u64 = 1 << 36;
/// VIRTIO_FS_F_NOTIFICATION (virtio 1.3, 5.11.3).
pub(crate) const FS_NOTIFICATION: u64 = 1 << 0;
/// What the device may say of the size of notifications (notify_buf_size, 5.11.4), in bytes.
const NOTIFY_BYTES: core::ops::RangeInclusive<u32> = 64..=1 << 20;
/// Offset of num_request_queues.
const NUM_REQUEST_QUEUES: usize = TAG_BYTES;
/// Offset of notify_buf_size.
const NOTIFY_BUF_SIZE: usize = TAG_BYTES + 4;
/// Tries to read a configuration that does not change meanwhile.
const CONFIG_TRIES: usize = 16;

/// What a device and its driver have agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    pub(crate) tag: Tag,
    pub(crate) features: u64,
    /// Request queues that the device has, at least 1.
    pub(crate) request_queues: u32,
    /// Bytes of a notification, if the device sends any.
    pub(crate) notification_len: Option<usize>,
}

impl Negotiated {
    pub(crate) fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }
}

/// The steps of the bring-up, in this order: a reset, [`Port::negotiate`], [`Port::queue_size`] and [`Port::enable_queue`]
/// of each queue, [`Port::start`].
impl<R: Lock> Port<R> {
    /// Checks that it is a file system device, and resets it.
    pub(crate) fn claim(&self, platform: &dyn Platform) -> Result<(), MountError> {
        let device_id = self.step(|transport| Ok(transport.device_id()))?;
        if device_id != FILE_SYSTEM {
            return Err(MountError::NotAFileSystem { device_id });
        }
        self.reset(platform).map_err(|status| MountError::ResetTimeout { status })
    }

    /// Negotiates features and reads the configuration.
    pub(crate) fn negotiate(&self) -> Result<Negotiated, MountError> {
        self.step(negotiate)
    }

    /// The size of a queue: a power of two, no more than the device offers or `wanted`, and at least `least`.
    pub(crate) fn queue_size(&self, queue: u16, wanted: u16, least: u16) -> Result<u16, MountError> {
        let offered = self.step(|transport| Ok(transport.max_queue_size(queue)))?;
        let size = offered.min(u32::from(wanted)).checked_ilog2().map_or(0, |log2| 1u16 << log2);
        if size == 0 || size < least { Err(MountError::QueueTooSmall { queue, size: offered }) } else { Ok(size) }
    }

    /// Tells the device where a queue is: descriptors, driver area, device area; and looks whether it took it.
    pub(crate) fn enable_queue(&self, queue: u16, size: u16, areas: [PhysAddr; 3]) -> Result<(), MountError> {
        let [descriptors, driver_area, device_area] = areas;
        self.step(|transport| {
            transport.queue_set(queue, u32::from(size), descriptors, driver_area, device_area);
            if transport.queue_used(queue) { Ok(()) } else { Err(MountError::QueueRefused { queue }) }
        })
    }

    /// Lets the device run.
    pub(crate) fn start(&self) {
        self.with(|transport| transport.set_status(READY | DeviceStatus::DRIVER_OK));
    }

    /// Tells the device that its driver has given up, and resets it. Returns whether it has let go of its queues: if not,
    /// their memory must never be freed.
    pub(crate) fn fail(&self, platform: &dyn Platform) -> bool {
        self.with(|transport| {
            let status = transport.get_status();
            transport.set_status(status | DeviceStatus::FAILED);
        });
        self.reset(platform).is_ok()
    }

    fn step<T>(
        &self,
        step: impl FnOnce(&mut (dyn Transport + Send)) -> Result<T, MountError>,
    ) -> Result<T, MountError> {
        self.with(step).unwrap_or(Err(MountError::ResetTimeout { status: u32::MAX }))
    }
}

/// The status once the features are negotiated.
const READY: DeviceStatus = DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER).union(DeviceStatus::FEATURES_OK);

fn negotiate(transport: &mut (dyn Transport + Send)) -> Result<Negotiated, MountError> {
    // The transport writes one bit at a time: devices exist that ignore a write that sets two.
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let offered = transport.read_device_features();
    if offered & VERSION_1 == 0 {
        return Err(MountError::Legacy { features: offered });
    }
    let known = VERSION_1 | INDIRECT_DESC | EVENT_IDX | ACCESS_PLATFORM | ORDER_PLATFORM | FS_NOTIFICATION;
    let features = offered & known;
    transport.write_driver_features(features);
    transport.set_status(READY);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        return Err(MountError::FeaturesRefused { offered, wanted: features });
    }
    let (tag, request_queues) = read_config(transport)?;
    if request_queues == 0 {
        return Err(MountError::NoRequestQueue);
    }
    let notification_len = if features & FS_NOTIFICATION != 0 { Some(notification_len(transport)?) } else { None };
    Ok(Negotiated { tag, features, request_queues, notification_len })
}

fn notification_len(transport: &(dyn Transport + Send)) -> Result<usize, MountError> {
    let size = u32::from_le(transport.read_config_space(NOTIFY_BUF_SIZE)?);
    if NOTIFY_BYTES.contains(&size) { Ok(size as usize) } else { Err(MountError::NotifyBuffer { size }) }
}

/// Reads tag and num_request_queues (5.11.4; little-endian), again if the configuration changed meanwhile.
fn read_config(transport: &(dyn Transport + Send)) -> Result<(Tag, u32), MountError> {
    for _ in 0..CONFIG_TRIES {
        let before = transport.read_config_generation();
        let bytes: [u8; TAG_BYTES] = transport.read_config_space(0)?;
        let queues: u32 = transport.read_config_space(NUM_REQUEST_QUEUES)?;
        if before == transport.read_config_generation() {
            return Ok((Tag::new(bytes), u32::from_le(queues)));
        }
    }
    Err(MountError::ConfigUnstable { tries: CONFIG_TRIES })
}
