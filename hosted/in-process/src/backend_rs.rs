//! fuse-backend-rs's server behind our model of a device and rust-vmm's queues.

use std::fmt;
use std::io::Write as _;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use fuse_backend_rs::abi::virtio_fs::RemovemappingOne;
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::passthrough::{Config, PassthroughFs};
use fuse_backend_rs::transport::{FsCacheReqHandler, Reader, VirtioFsWriter, Writer};
use krun_utils::eventfd::{EFD_NONBLOCK, EventFd};
use transport_mmio::model::MmioModel;
use transport_vhost_user::GuestMemory;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT as _, QueueT as _};
use virtio_transport::model::{Device, Spec};
use vm_memory::{Bytes as _, GuestMemoryMmap};

use super::window::Window;
use super::{ram, signal};

/// VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX.
const FEATURES: u64 = 1 << 28 | 1 << 29;
const EVENT_IDX: u64 = 1 << 29;
const QUEUE_SIZE: u16 = 256;
/// SETUPMAPPING and REMOVEMAPPING.
const MAPPING: [u32; 2] = [48, 49];
/// A request's header, of which the opcode is at 4 and the number at 8; a reply's.
const IN_HEADER: usize = 40;
const OUT_HEADER: u32 = 16;

type Chain = DescriptorChain<Arc<GuestMemoryMmap>>;

/// A device.
#[derive(Clone)]
pub(super) struct BackendRs(Arc<Shared>);

impl fmt::Debug for BackendRs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendRs").finish_non_exhaustive()
    }
}

struct Shared {
    device: Device,
    memory: Arc<GuestMemoryMmap>,
    server: Server<PassthroughFs>,
    window: Option<Arc<Window>>,
    /// Those that the driver has set up.
    queues: Vec<Mutex<Option<Queue>>>,
    signal: EventFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BackendRs {
    /// One that serves a folder.
    pub(super) fn new(
        folder: String,
        memory: &GuestMemory,
        window: Option<Arc<Window>>,
        request_queues: u16,
    ) -> Result<Self> {
        let config = Config { root_dir: folder, xattr: true, ..Config::default() };
        let fs = PassthroughFs::new(config).context("fuse-backend-rs makes no file system")?;
        let mut spec = Spec::file_system("backend-rs", request_queues);
        spec.queues.fill(QUEUE_SIZE);
        spec.features |= FEATURES;
        if let Some(window) = &window {
            spec = spec.with_region(0, window.guest_address(), window.len());
        }
        let queues = spec.queues.iter().map(|_| Mutex::new(None)).collect::<Vec<_>>();
        let shared = Arc::new(Shared {
            device: Device::new(spec),
            memory: Arc::new(ram::of(memory)?),
            server: Server::new(fs),
            window,
            signal: EventFd::new(EFD_NONBLOCK).context("no eventfd")?,
            queues,
        });
        let kicks = (0..shared.queues.len() as u16)
            .map(|queue| serve(shared.clone(), queue))
            .collect::<std::io::Result<Vec<_>>>()
            .context("no thread for a queue")?;
        shared.device.on_notify(move |queue| {
            // A thread ends with the process.
            if let Some(kick) = kicks.get(usize::from(queue)) {
                let _ = kick.send(());
            }
        });
        Ok(Self(shared))
    }

    /// Its registers, for the driver.
    pub(super) fn registers(&self) -> MmioModel {
        MmioModel::new(&self.0.device)
    }

    /// What it signals for an interrupt.
    pub(super) fn signal(&self) -> Result<OwnedFd> {
        signal::duplicate(&self.0.signal).context("an eventfd cannot be duplicated")
    }
}

/// Starts the thread of a queue; returns what wakes it when there are requests.
fn serve(shared: Arc<Shared>, queue: u16) -> std::io::Result<Sender<()>> {
    let (kick, kicks) = channel();
    std::thread::Builder::new().name("backend-rs queue".into()).spawn(move || {
        for () in kicks {
            while let Some(chain) = shared.take(queue) {
                shared.answer(queue, chain);
            }
        }
    })?;
    Ok(kick)
}

impl Shared {
    /// Calls `act` with a queue as the driver has set it up.
    fn with_queue<T>(&self, index: u16, act: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let mut queue = lock(self.queues.get(usize::from(index))?);
        let set_up = self.device.queue(index).filter(|queue| queue.ready)?;
        if queue.is_none() {
            let mut new = Queue::new(QUEUE_SIZE).ok()?;
            new.set_size(set_up.size);
            let [descriptors, driver, device] = set_up.areas.map(|area| (Some(area as u32), Some((area >> 32) as u32)));
            new.set_desc_table_address(descriptors.0, descriptors.1);
            new.set_avail_ring_address(driver.0, driver.1);
            new.set_used_ring_address(device.0, device.1);
            new.set_event_idx(self.device.driver_features() & EVENT_IDX != 0);
            new.set_ready(true);
            *queue = Some(new);
        }
        queue.as_mut().map(act)
    }

    /// The next request of a queue.
    fn take(&self, index: u16) -> Option<Chain> {
        let memory = &*self.memory;
        self.with_queue(index, |queue| {
            loop {
                // What fails here is a queue that is not in the guest's memory: it has no requests.
                queue.disable_notification(memory).ok()?;
                let next = queue.iter(self.memory.clone()).ok()?.next();
                if next.is_some() || !queue.enable_notification(memory).ok()? {
                    return next;
                }
            }
        })?
    }

    /// Has the server answer a request, and gives it back.
    fn answer(&self, index: u16, chain: Chain) {
        let head = chain.head_index();
        let len = self.serve(&chain).unwrap_or_else(|error| {
            log::error!("a request cannot be served: {error:#}");
            0
        });
        let memory = &*self.memory;
        let wanted = self.with_queue(index, |queue| {
            queue.add_used(memory, head, len).and_then(|()| queue.needs_notification(memory))
        });
        if let Some(Ok(true)) = wanted {
            self.device.interrupt(1);
            if let Err(error) = self.signal.write(1) {
                log::error!("an eventfd takes no signal: {error}");
            }
        }
    }

    fn serve(&self, chain: &Chain) -> Result<u32> {
        let memory = &*self.memory;
        let mut writer = VirtioFsWriter::new(memory, chain.clone())?;
        let mut mapper = self.window.clone().map(Mapper);
        if mapper.is_none()
            && let Some((opcode, unique)) = self.header(chain)
            && MAPPING.contains(&opcode)
        {
            let error = -libc::ENOSYS;
            let reply = [&OUT_HEADER.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()].concat();
            writer.write_all(&reply)?;
            return Ok(OUT_HEADER);
        }
        let reader = Reader::from_descriptor_chain(memory, chain.clone())?;
        let handler = mapper.as_mut().map(|mapper| mapper as &mut dyn FsCacheReqHandler);
        let len = self.server.handle_message(reader, Writer::VirtioFs(writer), handler, None)?;
        Ok(u32::try_from(len)?)
    }

    /// A request's opcode and number, if its header lies in one piece.
    fn header(&self, chain: &Chain) -> Option<(u32, u64)> {
        let first = chain.clone().readable().next()?;
        let mut header = [0; IN_HEADER];
        self.memory.read_slice(&mut header, first.addr()).ok()?;
        let opcode = u32::from_le_bytes(header[4..8].try_into().ok()?);
        Some((opcode, u64::from_le_bytes(header[8..16].try_into().ok()?)))
    }
}

/// Maps what the server asks for.
struct Mapper(Arc<Window>);

impl FsCacheReqHandler for Mapper {
    fn map(&mut self, file_offset: u64, offset: u64, len: u64, flags: u64, fd: RawFd) -> std::io::Result<()> {
        // The first flag is for writing.
        self.0.map(offset, len, fd, file_offset, flags & 1 != 0)
    }

    fn unmap(&mut self, removals: Vec<RemovemappingOne>) -> std::io::Result<()> {
        removals.into_iter().try_for_each(|RemovemappingOne { moffset, len }| self.0.unmap(moffset, len))
    }
}
