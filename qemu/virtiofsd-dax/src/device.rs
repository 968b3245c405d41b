//! The vhost-user device: what it offers to the front end, and its queues.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost_user_backend::bitmap::BitmapMmapRegion;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT as _};
use virtio_queue::{QueueOwnedT as _, QueueT as _};
use vm_memory::{GuestAddressSpace as _, GuestMemoryLoadGuard};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use crate::chain::{Chain, Memory, OUT_HEADER, ReplyRoom, Request, SharedMemory};
use crate::fault::{self, Action, Faults};
use crate::opcode;
use crate::record::{self, Record};
use crate::share::HostFs;
use crate::worker::{Link, SetupRequest, Worker};

/// `VIRTIO_F_VERSION_1`.
const VIRTIO_F_VERSION_1: u64 = 1 << 32;
/// `VIRTIO_RING_F_INDIRECT_DESC`.
const VIRTIO_RING_F_INDIRECT_DESC: u64 = 1 << 28;
/// `VIRTIO_RING_F_EVENT_IDX`.
const VIRTIO_RING_F_EVENT_IDX: u64 = 1 << 29;

/// `VHOST_USER_PROTOCOL_F_SHMEM`, as QEMU numbers it and as the vhost crate of this version does. The crate's is
/// QEMU's `GPA_ADDRESSES`, which is harmless; with only one of the two, one side or the other does not know regions.
const SHMEM_BITS: u64 = 1 << 22 | 1 << 21;

/// Longest tag, in bytes of UTF-8.
pub const MAX_TAG: usize = 36;

/// How many set-ups are carried out together at most: the guest waits for the first until the last is done.
const BATCH: usize = 64;

type Vring = VringMutex<SharedMemory>;

/// What a device is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name by which a guest mounts it.
    pub tag: String,
    /// Queues beside the one for urgent requests.
    pub request_queues: u16,
    /// Size of the window in bytes; `None` for no window.
    pub window: Option<u64>,
}

/// A virtio-fs device.
pub struct Device<F: HostFs> {
    options: Options,
    record: Arc<Record>,
    memory: Mutex<Option<SharedMemory>>,
    channel: Mutex<Option<Backend>>,
    /// Whether the front end asked for the window: one that did not shows the guest none.
    shown: AtomicBool,
    /// Taken out while they work, so that nothing is locked meanwhile.
    worker: Mutex<Option<(Worker<F>, Faults)>>,
}

impl<F: HostFs> std::fmt::Debug for Device<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("options", &self.options).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: HostFs> Device<F> {
    /// A device whose requests `worker` carries out, but for `faults`.
    pub fn new(options: Options, worker: Worker<F>, faults: Faults, record: Arc<Record>) -> Self {
        Device {
            options,
            record,
            memory: Mutex::new(None),
            channel: Mutex::new(None),
            shown: AtomicBool::new(false),
            worker: Mutex::new(Some((worker, faults))),
        }
    }

    /// Everything that is in a queue, until it is empty.
    fn drain(&self, worker: &mut Worker<F>, faults: &mut Faults, vrings: &[Vring], index: usize) -> io::Result<()> {
        let vring = vrings.get(index).ok_or_else(|| io::Error::other(format!("no queue {index}")))?;
        let memory = lock(&self.memory).clone().ok_or_else(|| io::Error::other("a kick before any memory"))?;
        let channel = lock(&self.channel).clone().filter(|_| self.shown.load(Ordering::Relaxed));
        let running = || is_running(vrings);
        let link = channel.as_ref().map(|channel| Link { channel, running: &running });
        let mut queue = Queue { vring, index, memory: &memory, record: &self.record, position: 0 };
        loop {
            vring.disable_notification().map_err(io::Error::other)?;
            queue.work(worker, faults, link.as_ref());
            if !vring.enable_notification().map_err(io::Error::other)? {
                return Ok(());
            }
        }
    }
}

/// Whether the front end bears requests: from the first SET_VRING_ENABLE(1) to the first SET_VRING_ENABLE(0).
fn is_running(vrings: &[Vring]) -> bool {
    let mut any = false;
    for vring in vrings {
        let state = vring.get_ref();
        if state.get_queue().ready() {
            if !state.is_enabled() {
                return false;
            }
            any = true;
        }
    }
    any
}

/// One queue while it is worked on.
struct Queue<'a> {
    vring: &'a Vring,
    index: usize,
    memory: &'a SharedMemory,
    record: &'a Record,
    /// Where the queue stood when a request was last taken: elsewhere later means that the device was stopped.
    position: u16,
}

/// A request that was taken from a queue.
struct Job {
    memory: GuestMemoryLoadGuard<Memory>,
    chain: Chain,
}

impl Queue<'_> {
    fn work<F: HostFs>(&mut self, worker: &mut Worker<F>, faults: &mut Faults, link: Option<&Link<'_>>) {
        let mut setups = Vec::new();
        while let Some(job) = self.take() {
            let request = match Request::read(&job.memory, job.chain.clone()) {
                Ok(request) => request,
                Err(error) => {
                    log::warn!("queue {}: a request that cannot be read: {error}", self.index);
                    self.finish(job.chain.head_index(), || 0);
                    self.signal();
                    continue;
                }
            };
            let fault = faults.next(request.header.opcode);
            match fault {
                None | Some(Action::Unknown) => {}
                Some(Action::Delay(time)) => fault::wait(time),
                Some(Action::Lose) => continue,
                Some(Action::Hang) => fault::hang(),
                Some(Action::Crash) => std::process::abort(),
                Some(Action::Refuse(errno)) => {
                    self.refuse(&job, &request, errno);
                    self.signal();
                    continue;
                }
            }
            let unknown = fault == Some(Action::Unknown);
            if request.header.opcode == opcode::SETUPMAPPING {
                setups.push(SetupRequest { request, chain: job.chain, unknown });
                if setups.len() >= BATCH {
                    self.set_up(worker, link, std::mem::take(&mut setups));
                }
                continue;
            }
            self.set_up(worker, link, std::mem::take(&mut setups));
            self.one(worker, link, &job, &request, unknown);
        }
        self.set_up(worker, link, setups);
    }

    fn take(&mut self) -> Option<Job> {
        let memory = self.memory.memory();
        let mut state = self.vring.get_mut();
        if !state.is_enabled() || !state.get_queue().ready() {
            return None;
        }
        let chain = match state.get_queue_mut().iter(memory.clone()) {
            Ok(mut chains) => chains.next()?,
            Err(error) => {
                log::warn!("queue {}: {error}", self.index);
                return None;
            }
        };
        self.position = state.get_queue().next_avail();
        Some(Job { memory, chain })
    }

    fn set_up<F: HostFs>(&self, worker: &mut Worker<F>, link: Option<&Link<'_>>, setups: Vec<SetupRequest>) {
        if setups.is_empty() {
            return;
        }
        let errors = worker.set_up(link, &setups);
        let memory = self.memory.memory();
        for (SetupRequest { request, chain, unknown }, errno) in setups.into_iter().zip(errors) {
            let errno = if unknown { libc::EIO } else { errno };
            let head = chain.head_index();
            let room = ReplyRoom::new(&memory, chain);
            self.finish(head, || {
                let len = room.write_header(request.header.unique, -errno);
                self.note(&request, -errno, len);
                len
            });
        }
        self.signal();
    }

    fn one<F: HostFs>(
        &self,
        worker: &mut Worker<F>,
        link: Option<&Link<'_>>,
        job: &Job,
        request: &Request,
        unknown: bool,
    ) {
        let memory: &Memory = &job.memory;
        let room = ReplyRoom::new(memory, job.chain.clone());
        let refused = if request.header.opcode == opcode::REMOVEMAPPING {
            Some(worker.remove(link, request, memory, job.chain.clone()))
        } else {
            worker.before(link, request).err()
        };
        if let Some(errno) = refused {
            self.refuse(job, request, if unknown { libc::EIO } else { errno });
        } else {
            // The server writes into the guest's memory: the device cannot be stopped while the queue is locked.
            let len = {
                let state = self.vring.get_mut();
                if !self.is_current(&state) {
                    return;
                }
                worker.serve(request, memory, job.chain.clone())
            };
            let mut len = worker.after(link, request, &room, len);
            self.finish(job.chain.head_index(), || {
                if unknown && len >= OUT_HEADER {
                    len = room.write_header(request.header.unique, -libc::EIO);
                }
                let error = if len == 0 { 0 } else { room.error() };
                self.note(request, error, len);
                len
            });
        }
        self.signal();
    }

    /// Answers with nothing but an errno, or 0.
    fn refuse(&self, job: &Job, request: &Request, errno: i32) {
        let room = ReplyRoom::new(&job.memory, job.chain.clone());
        self.finish(job.chain.head_index(), || {
            let len = room.write_header(request.header.unique, -errno);
            self.note(request, -errno, len);
            len
        });
    }

    fn note(&self, request: &Request, error: i32, len: usize) {
        let header = &request.header;
        self.record.request(&record::Request {
            queue: self.index,
            opcode: header.opcode,
            node: header.nodeid,
            unique: header.unique,
            uid: request.uid(),
            error,
            len,
        });
    }

    /// Whether the queue is where it was when the request at hand was taken. If not, its memory may be another
    /// guest's.
    fn is_current(&self, state: &VringState<SharedMemory>) -> bool {
        let queue = state.get_queue();
        let current = queue.ready() && queue.next_avail() == self.position;
        if !current {
            log::warn!("queue {}: a reply is dropped, the device was stopped", self.index);
        }
        current
    }

    /// Writes a reply and gives its request back to the guest.
    fn finish(&self, head: u16, reply: impl FnOnce() -> usize) {
        let mut state = self.vring.get_mut();
        if !self.is_current(&state) {
            return;
        }
        let len = u32::try_from(reply()).unwrap_or(0);
        if let Err(error) = state.add_used(head, len) {
            log::warn!("queue {}: a request cannot be given back: {error}", self.index);
        }
    }

    /// Tells the guest of what was given back, if it wants to know.
    fn signal(&self) {
        let mut state = self.vring.get_mut();
        if state.needs_notification().unwrap_or(true)
            && let Err(error) = state.signal_used_queue()
        {
            log::warn!("queue {}: the guest cannot be told: {error}", self.index);
        }
    }
}

impl<F: HostFs> VhostUserBackend for Device<F> {
    type Bitmap = BitmapMmapRegion;
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        usize::from(self.options.request_queues) + 1
    }

    fn max_queue_size(&self) -> usize {
        32768
    }

    fn features(&self) -> u64 {
        VIRTIO_F_VERSION_1
            | VIRTIO_RING_F_INDIRECT_DESC
            | VIRTIO_RING_F_EVENT_IDX
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        // Not CONFIGURE_MEM_SLOTS: with it QEMU announces every mapping, gets slow with many, and aborts at 512.
        let features = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::REPLY_ACK;
        if self.options.window.is_none() {
            return features;
        }
        // Shared objects are for the barrier alone.
        features | VhostUserProtocolFeatures::SHARED_OBJECT | VhostUserProtocolFeatures::from_bits_retain(SHMEM_BITS)
    }

    fn set_event_idx(&self, enabled: bool) {
        log::debug!("event index: {enabled}");
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut config = [0; MAX_TAG + 4];
        let tag = self.options.tag.as_bytes();
        config[..tag.len()].copy_from_slice(tag);
        config[MAX_TAG..].copy_from_slice(&u32::from(self.options.request_queues).to_le_bytes());
        let at = |index: u32| usize::try_from(index).ok().and_then(|index| config.get(index)).copied();
        (0..size).map(|index| offset.checked_add(index).and_then(at).unwrap_or(0)).collect()
    }

    fn update_memory(&self, memory: SharedMemory) -> io::Result<()> {
        *lock(&self.memory) = Some(memory);
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Backend) {
        *lock(&self.channel) = Some(channel);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        self.shown.store(true, Ordering::Relaxed);
        match self.options.window {
            Some(window) => Ok(VhostUserShMemConfig::new(1, &[window])),
            None => Ok(VhostUserShMemConfig::default()),
        }
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, event: u16, _set: EventSet, vrings: &[Vring], _thread: usize) -> io::Result<()> {
        // An error from here would end the thread that serves the queues.
        let Some((mut worker, mut faults)) = lock(&self.worker).take() else {
            log::error!("queue {event}: the worker is busy elsewhere");
            return Ok(());
        };
        if let Err(error) = self.drain(&mut worker, &mut faults, vrings, usize::from(event)) {
            log::error!("queue {event}: {error}");
        }
        *lock(&self.worker) = Some((worker, faults));
        Ok(())
    }
}
