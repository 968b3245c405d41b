//! Mounting: from a transport to a file system.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use dax_window::{ConfigError, Storage, Window};
use fuse_proto::Protocol;
use virtio_shm::{ShmError, ShmId, ShmRegion};
use virtio_transport::{DmaMemory, PAGE_SIZE, Transport};

use super::mounted::Mounted;
use crate::DaxStatus;
use crate::device::bring_up::{EVENT_IDX, INDIRECT_DESC, Negotiated};
use crate::device::interrupts::Device;
use crate::device::port::Port;
use crate::device::session;
use crate::dma_memory::Memory;
use crate::io::FileIo;
use crate::port::DevicePort;
use crate::queue::channel::{Channel, DataPool};
use crate::queue::notifications::NotificationQueue;
use crate::queue::ring::{MAX_SEGMENTS, RingAddresses};
use crate::rpc::connection::Connection;
use crate::rpc::credentials::Credentials;
use crate::rpc::{Rpc, session as requests};
use crate::volume::Volume;
use crate::volume::mapped_bytes::MappedBytes;
use crate::window::DaxWindow;
use crate::window::memory::WindowMemory;
use crate::{Config, DaxMode, Interrupts, Lock, MountError, Platform, VirtioFs};

/// The notification queue's number (virtio 1.3, 5.11.2).
const NOTIFICATION_QUEUE: u16 = 1;

impl VirtioFs {
    /// Mounts the file system of the device behind `transport`, with the default lock: [`Device::new`] and
    /// [`Device::mount`] in one.
    ///
    /// # Errors
    ///
    /// Those of [`Device::mount`].
    pub fn mount(
        transport: impl Transport + Send + 'static,
        memory: impl DmaMemory + Send + Sync + 'static,
        platform: impl Platform + 'static,
        config: Config,
    ) -> Result<Self, MountError> {
        Device::new(transport, memory).mount(platform, config)
    }
}

impl<R: Lock> Device<R> {
    /// Brings the device up, negotiates a session, and maps the window if there is one.
    ///
    /// A device without a window, and a window that cannot be used, are no errors: [`VirtioFs::dax_status`] says why DAX
    /// is off, and files are read and written by requests.
    ///
    /// # Errors
    ///
    /// The configuration is unusable ([`MountError::DataBuffers`], [`MountError::NoQueueSize`],
    /// [`MountError::LockInHandler`]); a window is required and cannot be used; the device is no file system device, a legacy one, or misbehaves; there is no DMA
    /// memory; the server refuses the session.
    pub fn mount(self, platform: impl Platform + 'static, config: Config) -> Result<VirtioFs<R>, MountError> {
        check::<R>(&config)?;
        let platform: Arc<dyn Platform> = Arc::new(platform);
        let region =
            if config.dax { self.port.with(|transport| transport.shm_region(ShmId::FS_DAX_WINDOW)) } else { None };
        let outcome = self.mount_on(platform, &config, region);
        if outcome.is_err() {
            // Handles of interrupts may live on.
            self.port.close();
        }
        outcome
    }

    #[inline(never)]
    fn mount_on(
        &self,
        platform: Arc<dyn Platform>,
        config: &Config,
        region: Option<Result<Option<ShmRegion>, ShmError>>,
    ) -> Result<VirtioFs<R>, MountError> {
        let (connection, Negotiated { tag, features, .. }) = self.connect(platform, config)?;
        let called = connection.clone();
        let _call = called.begin_call();
        let protocol = match open_session(&connection, config) {
            Ok(protocol) => protocol,
            Err(error) => {
                connection.stop();
                return Err(error);
            }
        };
        let who = config.credentials;
        let rpc = rpc(connection, protocol, who);
        let window = window(&rpc, region, config);
        match &window {
            Ok(window) => log::info!(
                "virtio-fs {tag:?}: DAX window of {} MiB at {:#x}, {} ranges",
                window.region().len() >> 20,
                window.region().addr(),
                window.ranges(),
            ),
            Err(why) => log::info!("virtio-fs {tag:?}: DAX {why}"),
        }
        if let (Err(why), true) = (&window, config.require_dax) {
            rpc.connection().stop();
            return Err(MountError::NoDax(why.clone()));
        }
        let volume = volume(rpc, window.as_ref().ok(), config);
        // From here on the session is ended when the last reference to it goes.
        let io = file_io(volume, window, config);
        io.volume().open_root()?;
        io.volume().rpc.connection().kick_notifications();
        Ok(VirtioFs::new(Arc::new(Mounted { io, tag, features }), who))
    }

    /// The device, brought up, with its queues and buffers.
    // Apart for the reason that is given below.
    #[inline(never)]
    fn connect(
        &self,
        platform: Arc<dyn Platform>,
        config: &Config,
    ) -> Result<(Arc<Connection<R>>, Negotiated), MountError> {
        let pool =
            DataPool::new(&self.memory, config.data_buffers, config.data_buffer_size).ok_or(MountError::NoDmaMemory)?;
        let device = bring_up(&self.port, &self.memory, &*platform, config)?;
        let limits = config.connection();
        let (channels, notifications) = (device.channels, device.notifications);
        let connection = Connection::new(platform, self.port.clone(), channels, notifications, pool, limits);
        Ok((Arc::new(connection), device.negotiated))
    }
}

// What follows is apart from `mount_on` for its temporaries, which would stay on the stack until the window is made.

/// The requests of a session.
#[inline(never)]
fn rpc<R: Lock>(connection: Arc<Connection<R>>, protocol: Protocol, who: Credentials) -> Arc<Rpc<R>> {
    Arc::new(Rpc::new(connection, protocol, who))
}

/// Access to the files of a volume.
#[inline(never)]
fn file_io<R: Lock>(
    volume: Arc<Volume<R>>,
    window: Result<Arc<DaxWindow<R>>, DaxStatus>,
    config: &Config,
) -> Arc<FileIo<R>> {
    Arc::new(FileIo::new(volume, window, config.io()))
}

/// A volume of a session, which acts upon late answers.
#[inline(never)]
fn volume<R: Lock>(rpc: Arc<Rpc<R>>, window: Option<&Arc<DaxWindow<R>>>, config: &Config) -> Arc<Volume<R>> {
    let mapped = window.map(|window| window.clone() as Arc<dyn MappedBytes>);
    let volume = Arc::new(Volume::new(rpc, mapped, config.volume()));
    volume.rpc.connection().set_settler(Arc::<Volume<R>>::downgrade(&volume));
    volume
}

/// Refuses what cannot work, before the device is touched.
fn check<R: Lock>(config: &Config) -> Result<(), MountError> {
    if config.data_buffers == 0 || config.data_buffer_size < 4096 {
        return Err(MountError::DataBuffers { count: config.data_buffers, size: config.data_buffer_size });
    }
    if config.queue_size == 0 {
        return Err(MountError::NoQueueSize);
    }
    if config.interrupts == Interrupts::InHandler && !R::DISABLES_INTERRUPTS {
        return Err(MountError::LockInHandler);
    }
    Ok(())
}

/// A device that runs, and its queues.
struct InitializedDevice<R: Lock> {
    negotiated: Negotiated,
    /// The hiprio queue, then the request queues.
    channels: Box<[Channel<R>]>,
    notifications: Option<NotificationQueue<R>>,
}

/// The queues that the device may know of.
struct Queues<R: Lock> {
    channels: Vec<Channel<R>>,
    notifications: Option<NotificationQueue<R>>,
}

/// Brings the device up to DRIVER_OK. If that fails, its queues are freed after it was reset; if it does not reset, never.
fn bring_up<R: Lock>(
    port: &Port<R>,
    memory: &Memory,
    platform: &dyn Platform,
    config: &Config,
) -> Result<InitializedDevice<R>, MountError> {
    port.claim(platform)?;
    let mut queues = Queues { channels: Vec::new(), notifications: None };
    match set_up_queues(port, memory, config, &mut queues) {
        Ok(negotiated) => {
            port.start();
            let Queues { channels, notifications } = queues;
            Ok(InitializedDevice { negotiated, channels: channels.into_boxed_slice(), notifications })
        }
        Err(error) => {
            if !port.fail(platform) {
                log::error!("virtio-fs: the device did not reset; its queues stay allocated for good");
                port.abandon();
                core::mem::forget(queues);
            }
            Err(error)
        }
    }
}

fn set_up_queues<R: Lock>(
    port: &Port<R>,
    memory: &Memory,
    config: &Config,
    queues: &mut Queues<R>,
) -> Result<Negotiated, MountError> {
    let negotiated = port.negotiate()?;
    let indirect = negotiated.has(INDIRECT_DESC);
    let event_idx = negotiated.has(EVENT_IDX);
    let interrupts = config.interrupts != Interrupts::Off;
    let least = if indirect { 1 } else { MAX_SEGMENTS as u16 };
    let areas = |RingAddresses { descriptors, driver_area, device_area }| [descriptors, driver_area, device_area];

    // With notifications, queue 1 is theirs and the request queues follow it (5.11.2).
    let first = if negotiated.notification_len.is_some() { NOTIFICATION_QUEUE + 1 } else { 1 };
    let wanted = config.max_request_queues.clamp(1, u16::MAX - first);
    let count = u16::try_from(negotiated.request_queues).map_or(wanted, |offered| offered.min(wanted));
    for index in core::iter::once(0).chain(first..first + count) {
        let size = port.queue_size(index, config.queue_size, least)?;
        let channel = Channel::new(memory, index, size, indirect, event_idx).ok_or(MountError::NoDmaMemory)?;
        channel.set_interrupts(interrupts);
        let (size, addresses) = channel.layout();
        queues.channels.push(channel);
        port.enable_queue(index, size, areas(addresses))?;
    }
    if let Some(len) = negotiated.notification_len {
        let size = port.queue_size(NOTIFICATION_QUEUE, config.queue_size, least)?;
        let queue = NotificationQueue::new(memory, NOTIFICATION_QUEUE, size, indirect, event_idx, len)
            .ok_or(MountError::NoDmaMemory)?;
        queue.set_interrupts(interrupts);
        let (size, addresses) = queue.layout();
        queues.notifications = Some(queue);
        port.enable_queue(NOTIFICATION_QUEUE, size, areas(addresses))?;
    }
    Ok(negotiated)
}

/// Sends INIT and makes sense of the answer.
#[inline(never)]
fn open_session<R: Lock>(connection: &Arc<Connection<R>>, config: &Config) -> Result<Protocol, MountError> {
    let negotiation = session::offer(session::Wishes {
        map: config.dax && config.dax_mode != DaxMode::Never,
        marks: config.dax_mode == DaxMode::Inode,
        data_buffer_size: config.data_buffer_size,
    });
    let reply = requests::init(connection, config.credentials, &negotiation);
    session::outcome(negotiation, reply)
}

/// Maps the device's window and builds the allocator for it; or why there is no DAX.
#[inline(never)]
fn window<R: Lock>(
    rpc: &Arc<Rpc<R>>,
    region: Option<Result<Option<ShmRegion>, ShmError>>,
    config: &Config,
) -> Result<Arc<DaxWindow<R>>, DaxStatus> {
    let whole = match region {
        None => return Err(DaxStatus::SwitchedOff),
        Some(Ok(None)) => return Err(DaxStatus::NoWindow),
        Some(Err(error)) => return Err(DaxStatus::BadWindow(error)),
        Some(Ok(Some(region))) => region,
    };
    whole.check_aligned(PAGE_SIZE as u64).map_err(DaxStatus::BadWindow)?;
    let region = match &config.window_part {
        None => whole,
        Some(part) => part.of(&whole, config.range_size).map_err(DaxStatus::BadPart)?,
    };
    let region = region.part(0, region.len().min(config.max_window)).map_err(DaxStatus::BadWindow)?;
    let settings = config.allocator(region.len(), rpc.protocol().map_alignment_bytes());
    let ranges = settings.ranges().map_err(DaxStatus::Unusable)?;
    let owned = match &config.window_part {
        None => None,
        Some(part) => Some(part.own(rpc.platform()).map_err(|holder| DaxStatus::PartTaken { holder })?),
    };
    // Mapped before it is described: what cannot be mapped costs no memory.
    let memory = WindowMemory::map(rpc.platform(), whole, region, owned)?;
    let alignment = settings.map_alignment.max(PAGE_SIZE as u64);
    match allocator(settings, ranges) {
        Ok(window) => Ok(Arc::new(DaxWindow::new(rpc.clone(), window, memory, config.window(alignment)))),
        Err(error) => {
            memory.unmap(rpc.platform());
            Err(DaxStatus::Unusable(error))
        }
    }
}

/// The window's allocator, which is large for a stack: off it at once.
#[inline(never)]
fn allocator(settings: dax_window::Config, ranges: usize) -> Result<Box<Window>, ConfigError> {
    let place = Box::new_uninit();
    Ok(Box::write(place, Window::new(settings, Storage::heap(ranges)?)?))
}
