//! From a transport to a running device: status, features, configuration, queues (virtio 1.3, 3.1.1 and 5.11).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use lock_api::RawMutex;
use virtio_drivers::Hal;
use virtio_drivers::device::common::Feature;
use virtio_drivers::transport::{DeviceStatus, InterruptStatus, Transport};
use virtio_shm::{DeviceId, FILE_SYSTEM};

use crate::queue::channel::Channel;
use crate::queue::notices::NoticeQueue;
use crate::queue::ring::RingAddresses;
use crate::{Config, MountError, Platform};

/// VIRTIO_FS_F_NOTIFICATION (virtio 1.3, 5.11.3).
const FS_NOTIFICATION: u64 = 1 << 0;
/// The notification queue's number (5.11.2).
const NOTIFICATION_QUEUE: u16 = 1;
/// What the device may say of the size of notifications (notify_buf_size, 5.11.4), in bytes.
const NOTIFY_BYTES: core::ops::RangeInclusive<u32> = 64..=1 << 20;
/// Length of the tag in the configuration space (5.11.4).
pub(crate) const TAG_BYTES: usize = 36;
/// How long the device may take to reset.
pub(crate) const RESET_TIMEOUT: Duration = Duration::from_secs(1);
/// Tries to read a configuration that does not change meanwhile.
const CONFIG_TRIES: usize = 16;

/// The tag of a file system, as its configuration space has it: UTF-8 by the specification, not checked.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Tag {
    bytes: [u8; TAG_BYTES],
}

impl Tag {
    /// The tag's bytes, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(TAG_BYTES);
        &self.bytes[..len]
    }

    /// The tag as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }
}

impl core::fmt::Debug for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// What a running driver still needs of the transport, whatever its type.
pub(crate) trait Port: Send {
    fn notify(&mut self, queue: u16);
    fn ack_interrupt(&mut self) -> InterruptStatus;
    /// Tells the device to reset.
    fn begin_reset(&mut self);
    /// Whether the device says that it has stopped.
    fn has_reset(&self) -> bool;
}

impl<T: Transport + Send> Port for T {
    fn notify(&mut self, queue: u16) {
        Transport::notify(self, queue);
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        Transport::ack_interrupt(self)
    }

    fn begin_reset(&mut self) {
        self.set_status(DeviceStatus::empty());
    }

    fn has_reset(&self) -> bool {
        self.get_status().is_empty()
    }
}

/// A device with its queues set up, not yet told to run.
pub(crate) struct InitializedDevice<R> {
    pub(crate) tag: Tag,
    pub(crate) features: u64,
    pub(crate) hiprio: Channel<R>,
    pub(crate) notices: Option<NoticeQueue<R>>,
    pub(crate) requests: Box<[Channel<R>]>,
}

/// Brings the device up to DRIVER_OK.
pub(crate) fn bring_up<H: Hal, T: Transport + DeviceId + Send, R: RawMutex>(
    transport: &mut T,
    platform: &dyn Platform,
    config: &Config,
) -> Result<InitializedDevice<R>, MountError> {
    let id = transport.device_id();
    if id != FILE_SYSTEM {
        return Err(MountError::NotAFileSystem { device_id: id });
    }
    transport.begin_reset();
    if !platform.wait(platform.now() + RESET_TIMEOUT, &mut || transport.has_reset()) {
        return Err(MountError::ResetTimeout { status: status_bits(transport) });
    }
    let brought = negotiate::<H, T, R>(transport, config);
    if brought.is_err() {
        let status = transport.get_status();
        transport.set_status(status | DeviceStatus::FAILED);
    }
    brought
}

fn negotiate<H: Hal, T: Transport, R: RawMutex>(
    transport: &mut T,
    config: &Config,
) -> Result<InitializedDevice<R>, MountError> {
    // One bit a write: devices exist that ignore a write that sets two.
    let mut status = DeviceStatus::ACKNOWLEDGE;
    transport.set_status(status);
    status |= DeviceStatus::DRIVER;
    transport.set_status(status);

    let offered = transport.read_device_features();
    let version_1 = Feature::VERSION_1.bits();
    if offered & version_1 == 0 {
        return Err(MountError::Legacy { features: offered });
    }
    let wanted = version_1
        | Feature::RING_INDIRECT_DESC.bits()
        | Feature::RING_EVENT_IDX.bits()
        | Feature::ACCESS_PLATFORM.bits()
        | Feature::ORDER_PLATFORM.bits()
        | FS_NOTIFICATION;
    let features = offered & wanted;
    transport.write_driver_features(features);
    status |= DeviceStatus::FEATURES_OK;
    transport.set_status(status);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        return Err(MountError::FeaturesRefused { offered, wanted: features });
    }

    let (tag, num_request_queues) = read_config(transport)?;
    if num_request_queues == 0 {
        return Err(MountError::NoRequestQueue);
    }
    let indirect = features & Feature::RING_INDIRECT_DESC.bits() != 0;
    let event_idx = features & Feature::RING_EVENT_IDX.bits() != 0;
    let hiprio = set_up_queue::<H, T, R>(transport, 0, indirect, event_idx, config)?;
    // With notifications, queue 1 is theirs and the request queues follow it (5.11.2).
    let (notices, first) = if features & FS_NOTIFICATION != 0 {
        (Some(set_up_notices::<H, T, R>(transport, indirect, event_idx, config)?), 2)
    } else {
        (None, 1)
    };
    let count = num_request_queues.min(u32::from(config.max_request_queues.max(1))) as u16;
    let requests = (first..first + count)
        .map(|index| set_up_queue::<H, T, R>(transport, index, indirect, event_idx, config))
        .collect::<Result<Vec<_>, _>>()?
        .into_boxed_slice();
    status |= DeviceStatus::DRIVER_OK;
    transport.set_status(status);
    Ok(InitializedDevice { tag, features, hiprio, notices, requests })
}

fn set_up_queue<H: Hal, T: Transport, R: RawMutex>(
    transport: &mut T,
    index: u16,
    indirect: bool,
    event_idx: bool,
    config: &Config,
) -> Result<Channel<R>, MountError> {
    let size = queue_size(transport, index, indirect, config)?;
    let channel = Channel::new::<H>(index, size, indirect, event_idx).ok_or(MountError::NoDmaMemory)?;
    channel.set_interrupts(config.interrupts);
    tell_queue(transport, index, channel.layout())?;
    Ok(channel)
}

fn set_up_notices<H: Hal, T: Transport, R: RawMutex>(
    transport: &mut T,
    indirect: bool,
    event_idx: bool,
    config: &Config,
) -> Result<NoticeQueue<R>, MountError> {
    let len: u32 = transport.read_config_space(TAG_BYTES + 4).map_err(MountError::Config)?;
    let len = u32::from_le(len);
    if !NOTIFY_BYTES.contains(&len) {
        return Err(MountError::NotifyBuffer { size: len });
    }
    let size = queue_size(transport, NOTIFICATION_QUEUE, indirect, config)?;
    let queue = NoticeQueue::new::<H>(NOTIFICATION_QUEUE, size, indirect, event_idx, len as usize)
        .ok_or(MountError::NoDmaMemory)?;
    queue.set_interrupts(config.interrupts);
    tell_queue(transport, NOTIFICATION_QUEUE, queue.layout())?;
    Ok(queue)
}

/// The size of a queue: a power of two, no more than the device offers or the configuration wants.
fn queue_size<T: Transport>(transport: &mut T, index: u16, indirect: bool, config: &Config) -> Result<u16, MountError> {
    let offered = transport.max_queue_size(index);
    let size = offered.min(u32::from(config.queue_size)).checked_ilog2().map_or(0, |log2| 1u16 << log2);
    if size == 0 || (!indirect && size < 4) {
        return Err(MountError::QueueTooSmall { queue: index, size: offered });
    }
    Ok(size)
}

/// Tells the device where a queue is, and looks whether it took it.
fn tell_queue<T: Transport>(
    transport: &mut T,
    index: u16,
    (size, addresses): (u16, RingAddresses),
) -> Result<(), MountError> {
    let RingAddresses { descriptors, driver_area, device_area } = addresses;
    transport.queue_set(index, u32::from(size), descriptors, driver_area, device_area);
    if transport.queue_used(index) { Ok(()) } else { Err(MountError::QueueRefused { queue: index }) }
}

/// Reads tag and num_request_queues (5.11.4; little-endian), again if the configuration changed meanwhile.
fn read_config<T: Transport>(transport: &T) -> Result<(Tag, u32), MountError> {
    for _ in 0..CONFIG_TRIES {
        let before = transport.read_config_generation();
        let bytes: [u8; TAG_BYTES] = transport.read_config_space(0).map_err(MountError::Config)?;
        let queues: u32 = transport.read_config_space(TAG_BYTES).map_err(MountError::Config)?;
        if before == transport.read_config_generation() {
            return Ok((Tag { bytes }, u32::from_le(queues)));
        }
    }
    Err(MountError::ConfigUnstable { tries: CONFIG_TRIES })
}

fn status_bits<T: Transport>(transport: &T) -> u32 {
    transport.get_status().bits()
}
