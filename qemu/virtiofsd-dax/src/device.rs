//! The vhost-user device: what it offers to the front end, and its queues.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost_user_backend::VhostUserBackend;
use vhost_user_backend::VringT as _;
use vhost_user_backend::bitmap::BitmapMmapRegion;
use virtio_queue::QueueT as _;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use crate::chain::Request;
use crate::fault::{self, Action, Faults};
use crate::memory::{OUT_HEADER, SharedMemory};
use crate::opcode;
use crate::pool::Pool;
use crate::queue::{Queue, Slot, Taken, Vring};
use crate::record::{self, Record};
use crate::scratch::Scratch;
use crate::share::HostFs;
use crate::worker::Worker;

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

/// Most queues of a device: vhost-user-backend has that many bits for them.
pub const MAX_QUEUES: u16 = 64;

/// What a device is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name by which a guest mounts it.
    pub tag: String,
    /// Queues beside the one for urgent requests, fewer than [`MAX_QUEUES`].
    pub request_queues: u16,
    /// Size of the window in bytes; `None` for no window.
    pub window: Option<u64>,
    /// How many requests are carried out at a time.
    pub threads: usize,
}

/// A virtio-fs device.
#[derive(Debug)]
pub struct Device<F: HostFs> {
    options: Options,
    engine: Arc<Engine<F>>,
    /// Threads for the queue of urgent requests, and for all others.
    pools: [Arc<Pool>; 2],
}

/// What all threads share.
struct Engine<F: HostFs> {
    worker: Worker<F>,
    queues: Vec<Queue>,
    /// The queues as the crates keep them, once there was a request.
    vrings: OnceLock<Arc<[Vring]>>,
    memory: Mutex<Option<SharedMemory>>,
    faults: Mutex<Faults>,
    /// Whether nothing is ever answered again, on purpose.
    hung: AtomicBool,
    record: Arc<Record>,
}

impl<F: HostFs> std::fmt::Debug for Engine<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("queues", &self.queues).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: HostFs + 'static> Device<F> {
    /// A device; `worker` carries out its requests, but for `faults`.
    ///
    /// # Errors
    ///
    /// If its threads cannot be started.
    pub fn new(options: Options, worker: Worker<F>, faults: Faults, record: Arc<Record>) -> io::Result<Self> {
        let engine = Arc::new(Engine {
            worker,
            queues: (0..=usize::from(options.request_queues)).map(Queue::new).collect(),
            vrings: OnceLock::new(),
            memory: Mutex::new(None),
            faults: Mutex::new(faults),
            hung: AtomicBool::new(false),
            record,
        });
        let start = |name, threads| {
            let engine = Arc::clone(&engine);
            Pool::start(name, threads, move |pool, queue, scratch| engine.work(pool, queue, scratch))
        };
        let pools = [start("urgent", 1)?, start("request", options.threads.max(1))?];
        Ok(Device { options, engine, pools })
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

impl<F: HostFs> Engine<F> {
    /// Takes one request from a queue, or set-ups that came together, and carries it out.
    fn work(&self, pool: &Pool, index: usize, scratch: &mut Scratch) {
        let Some(memory) = lock(&self.memory).clone() else { return };
        let Some((queue, vring)) = self.queues.get(index).zip(self.vrings.get().and_then(|all| all.get(index))) else {
            return;
        };
        let (taken, more) = queue.take(vring, &memory, scratch);
        if more {
            // Before this one is carried out: it may take its time.
            pool.kick(index);
        }
        let reply = Reply { engine: self, queue, vring };
        match taken {
            None => {}
            Some(Taken::Nonsense(slot)) => reply.give(&slot, scratch, 0),
            Some(Taken::Dishonest(slot, request)) => reply.refuse(&slot, &request, scratch, libc::EINVAL),
            Some(Taken::SetUps(setups)) => self.set_up(&reply, setups, scratch),
            Some(Taken::One(slot, request)) => self.one(&reply, &slot, &request, scratch),
        }
    }

    /// What a fault leaves to be done: nothing if it took the request over, else how honest the answer is.
    fn fault(&self, reply: &Reply<'_, F>, slot: &Slot, request: &Request, scratch: &Scratch) -> Option<Honesty> {
        let action = lock(&self.faults).next(request.header.opcode);
        match action {
            None => return Some(Honesty::Honest),
            Some(Action::Unknown) => return Some(Honesty::Failed),
            Some(Action::Lie) => return Some(Honesty::Noise),
            Some(Action::Delay(time)) => {
                fault::wait(time);
                return Some(Honesty::Honest);
            }
            Some(Action::Lose) => {}
            Some(Action::Hang) => {
                self.hung.store(true, Ordering::Relaxed);
                fault::hang();
            }
            Some(Action::Crash) => std::process::abort(),
            Some(Action::Refuse(errno)) => reply.refuse(slot, request, scratch, errno),
        }
        None
    }

    fn set_up(&self, reply: &Reply<'_, F>, setups: Vec<(Slot, Request)>, scratch: &Scratch) {
        let mut asked = Vec::with_capacity(setups.len());
        for (slot, request) in setups {
            if let Some(honesty) = self.fault(reply, &slot, &request, scratch) {
                asked.push((slot, request, honesty));
            }
        }
        if asked.is_empty() {
            return;
        }
        let requests: Vec<&Request> = asked.iter().map(|(_, request, _)| request).collect();
        let errors = self.worker.set_up(&requests);
        for ((slot, request, honesty), errno) in asked.iter().zip(errors) {
            reply.refuse(slot, request, scratch, honesty.errno(errno));
        }
    }

    fn one(&self, reply: &Reply<'_, F>, slot: &Slot, request: &Request, scratch: &mut Scratch) {
        let Some(honesty) = self.fault(reply, slot, request, scratch) else { return };
        if request.header.opcode == opcode::REMOVEMAPPING {
            let errno = self.worker.remove(request);
            reply.refuse(slot, request, scratch, honesty.errno(errno));
            return;
        }
        let mut len = self.worker.serve(request, scratch, slot.room());
        match honesty {
            Honesty::Failed if len >= OUT_HEADER => {
                len = scratch.reply_header(request.header.unique, -libc::EIO);
            }
            Honesty::Noise => garble(scratch, request.header.unique, len),
            Honesty::Honest | Honesty::Failed => {}
        }
        let error = if len == 0 { 0 } else { scratch.reply_error() };
        reply.note(request, error, len);
        reply.give(slot, scratch, len);
    }
}

/// What an answer has to do with what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Honesty {
    /// It is the truth.
    Honest,
    /// It says that it failed.
    Failed,
    /// It is noise.
    Noise,
}

impl Honesty {
    /// The errno to answer where there is nothing else in an answer.
    fn errno(self, truth: i32) -> i32 {
        match self {
            Honesty::Honest => truth,
            Honesty::Failed => libc::EIO,
            // The other one.
            Honesty::Noise if truth == 0 => libc::EIO,
            Honesty::Noise => 0,
        }
    }
}

/// Puts noise into a reply of `len` bytes: into its body, and for some into the length or the error of its header.
fn garble(scratch: &Scratch, unique: u64, len: usize) {
    /// No more than this is changed, in bytes: fields are at the beginning.
    const MOST: usize = 512;
    let mut noise = fault::noise(unique);
    let kind = noise() % 4;
    for offset in (OUT_HEADER..len.min(MOST)).step_by(4).filter(|offset| offset + 4 <= len) {
        // Small numbers pass more checks than large ones; the smallest are those of nodes and open files, which a guest would
        // take for what it asked for.
        let word = if noise().is_multiple_of(2) { 4096 + noise() % 4096 } else { noise() };
        scratch.amend(offset, |_| word);
    }
    match kind {
        0 => scratch.amend(0, |len| len.wrapping_add(noise() % 64).wrapping_sub(32)),
        1 => scratch.amend(4, |_| (noise() % 1200).wrapping_neg()),
        _ => {}
    }
}

/// The way back to the guest.
struct Reply<'a, F: HostFs> {
    engine: &'a Engine<F>,
    queue: &'a Queue,
    vring: &'a Vring,
}

impl<F: HostFs> Reply<'_, F> {
    /// Answers with nothing but an errno, or 0.
    fn refuse(&self, slot: &Slot, request: &Request, scratch: &Scratch, errno: i32) {
        let room = slot.room() >= OUT_HEADER;
        let len = if room { scratch.reply_header(request.header.unique, -errno) } else { 0 };
        self.note(request, -errno, len);
        self.give(slot, scratch, len);
    }

    fn give(&self, slot: &Slot, scratch: &Scratch, len: usize) {
        if self.engine.hung.load(Ordering::Relaxed) {
            fault::hang();
        }
        self.queue.give(self.vring, slot, scratch, len);
    }

    fn note(&self, request: &Request, error: i32, len: usize) {
        let header = &request.header;
        self.engine.record.request(&record::Request {
            queue: self.queue.index(),
            opcode: header.opcode,
            node: header.nodeid,
            unique: header.unique,
            uid: request.uid(),
            error,
            len,
        });
    }
}

impl<F: HostFs + 'static> VhostUserBackend for Device<F> {
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
        *lock(&self.engine.memory) = Some(memory);
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Backend) {
        self.engine.worker.table().set_channel(channel);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        self.engine.worker.table().show();
        match self.options.window {
            Some(window) => Ok(VhostUserShMemConfig::new(1, &[window])),
            None => Ok(VhostUserShMemConfig::default()),
        }
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        // One thread hears of kicks; others carry the requests out.
        vec![u64::MAX]
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, event: u16, _set: EventSet, vrings: &[Vring], _thread: usize) -> io::Result<()> {
        let vrings = self.engine.vrings.get_or_init(|| {
            let vrings: Arc<[Vring]> = vrings.into();
            let running = Arc::clone(&vrings);
            self.engine.worker.table().set_running(move || is_running(&running));
            vrings
        });
        let queue = usize::from(event);
        if queue < vrings.len() {
            self.pools[usize::from(queue != 0)].kick(queue);
        }
        Ok(())
    }
}
