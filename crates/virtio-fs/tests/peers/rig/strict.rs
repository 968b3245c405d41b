//! A device of our own around fuse-backend-rs's server: strict with the driver, and at a test's word as wrong as one can
//! be.
//!
//! Registers are those of `virtio_transport::model`, queues are rust-vmm's, requests are served by a pass-through file
//! system, and the DAX window is filled with real mappings. Between the queue and the server sits a [`Ledger`], and a hook
//! that may answer in the server's place, change what it says, or keep the driver waiting.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use fuse_backend_rs::abi::virtio_fs::RemovemappingOne;
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::passthrough::{Config, PassthroughFs};
use fuse_backend_rs::transport::{FsCacheReqHandler, Reader, VirtioFsWriter, Writer};
use krun_utils::eventfd::{EFD_NONBLOCK, EventFd};
use transport_mmio::model::MmioModel;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use virtio_transport::Registers;
use virtio_transport::model::{Device, Manners, Spec};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::ledger::{Ledger, Request, op};
use super::window::Window;
use super::{lock, logs, ram};

const INDIRECT_DESC: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const NOTIFICATION: u64 = 1 << 0;
/// The queue of notifications, where there is one.
const NOTIFICATION_QUEUE: u16 = 1;
const STATUS: usize = 0x70;

/// What kind of host this is to the DAX window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// Maps anything anywhere, also past the end of a file and over another mapping.
    Generous,
    /// As stock QEMU: nothing over another mapping, nothing past the last whole page of a file, exact removals only.
    Stingy,
    /// Takes at most as many mappings at a time.
    Limited(usize),
    /// Maps nothing writable.
    ReadOnly,
    /// Knows no mappings: ENOSYS.
    Without,
}

/// What a device is to be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) request_queues: u16,
    pub(crate) queue_size: u16,
    pub(crate) indirect: bool,
    pub(crate) event_idx: bool,
    pub(crate) host: Host,
    /// Whether a driver may know that mappings can be replaced.
    pub(crate) remaps: bool,
    pub(crate) manners: Manners,
    /// The size of notifications, if it has a queue for them.
    pub(crate) notifications: Option<u32>,
    /// The configuration of the server's file system, but for its root.
    pub(crate) server: Config,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request_queues: 2,
            queue_size: 64,
            indirect: true,
            event_idx: true,
            host: Host::Generous,
            remaps: false,
            manners: Manners::default(),
            notifications: None,
            server: Config { xattr: true, ..Config::default() },
        }
    }
}

/// What the device does with a request.
pub(crate) enum Act {
    /// Has the server answer it.
    Serve,
    /// Has the server answer it, and changes what it says.
    Alter(Box<dyn FnOnce(&mut Answer) + Send>),
    /// Answers with this error; the server never hears of the request.
    Refuse(i32),
    /// Answers with these bytes after a correct header; the server never hears of the request.
    Invent(Vec<u8>),
    /// Keeps it, until [`Strict::release`].
    Hold,
}

/// What the device is about to return.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What is written to the chain.
    pub(crate) bytes: Vec<u8>,
    /// Ids and lengths for the used ring: one, unless a test wants it otherwise.
    pub(crate) used: Vec<(u32, u32)>,
    /// How far the used index moves beyond that.
    pub(crate) skip: u16,
}

impl Answer {
    fn new(head: u16, bytes: Vec<u8>) -> Self {
        let used = vec![(head.into(), bytes.len() as u32)];
        Self { bytes, used, skip: 0 }
    }
}

type Chain = DescriptorChain<Arc<GuestMemoryMmap>>;
type Hook = Box<dyn FnMut(&Request) -> Act + Send>;

/// A request that the device has taken from a queue and not returned.
struct Exchange {
    request: Request,
    chain: Chain,
    /// In which life of the device it came.
    life: u32,
}

struct Shared {
    device: Device,
    memory: Arc<GuestMemoryMmap>,
    folder: String,
    options: Options,
    window: Option<Arc<Window>>,
    server: Mutex<Arc<Server<PassthroughFs>>>,
    ledger: Mutex<Ledger>,
    hook: Mutex<Option<Hook>>,
    held: Mutex<Vec<Exchange>>,
    queues: Mutex<HashMap<u16, Queue>>,
    /// Shared while guest memory is touched, exclusive while the device is reset: a reset that is done is done.
    quiet: RwLock<u32>,
    interrupt: EventFd,
    interrupts: AtomicU64,
    /// It serves no queue any more.
    stopped: AtomicBool,
    /// Kicks that were not looked after, and answers under way.
    busy: AtomicUsize,
}

/// Work of the device that is counted already, until this is dropped.
struct Busy<'a>(&'a Shared);

impl<'a> Busy<'a> {
    fn took_over(shared: &'a Shared) -> Self {
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A device.
pub(crate) struct Strict {
    shared: Arc<Shared>,
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Strict {
    pub(crate) fn new(folder: &Path, window: Option<Arc<Window>>, options: Options) -> Self {
        let folder = folder.to_str().expect("a path in UTF-8").to_owned();
        let mut spec = Spec::file_system("strict", options.request_queues).with_manners(options.manners);
        if let Some(size) = options.notifications {
            spec.features |= NOTIFICATION;
            spec.config.extend(size.to_le_bytes());
            spec.queues.push(0);
        }
        spec.queues.fill(options.queue_size);
        spec.features |= if options.indirect { INDIRECT_DESC } else { 0 };
        spec.features |= if options.event_idx { EVENT_IDX } else { 0 };
        if let Some(window) = &window {
            spec = spec.with_region(0, window.address, window.len);
        }
        let queues = spec.queues.len() as u16;
        let ledger = Mutex::new(Ledger::new(window.as_ref().map_or(0, |window| window.len), options.remaps));
        let shared = Arc::new(Shared {
            device: Device::new(spec),
            memory: Arc::new(ram::memory()),
            server: Mutex::new(server(&folder, &options)),
            folder,
            options,
            window,
            ledger,
            hook: Mutex::default(),
            held: Mutex::default(),
            queues: Mutex::default(),
            quiet: RwLock::new(0),
            interrupt: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
            interrupts: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
        });
        let threads: Vec<_> = (0..queues)
            .map(|queue| {
                let (kick, kicks) = channel();
                let shared = shared.clone();
                let serve = move || {
                    kicks.iter().for_each(|()| {
                        let _busy = Busy::took_over(&shared);
                        shared.serve_queue(queue);
                    });
                };
                let thread = std::thread::Builder::new().name("strict queue".into()).spawn(serve).expect("a thread");
                (kick, thread)
            })
            .collect();
        let kicks: Vec<_> = threads.iter().map(|(kick, _)| kick.clone()).collect();
        let counted = Arc::downgrade(&shared);
        shared.device.on_notify(move |queue| {
            let Some(shared) = counted.upgrade() else { return };
            shared.busy.fetch_add(1, Ordering::SeqCst);
            // The thread ends with the device.
            if kicks[usize::from(queue)].send(()).is_err() {
                shared.busy.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Self { shared, threads }
    }

    /// Its registers, for the driver.
    pub(crate) fn registers(&self) -> StrictRegisters {
        StrictRegisters { model: MmioModel::new(&self.shared.device), shared: self.shared.clone() }
    }

    /// The device beneath, for what a test does to its registers.
    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    /// What it signals for an interrupt.
    pub(crate) fn interrupt(&self) -> RawFd {
        self.shared.interrupt.as_raw_fd()
    }

    /// How many interrupts it has raised.
    pub(crate) fn interrupts(&self) -> u64 {
        self.shared.interrupts.load(Ordering::Relaxed)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.shared.ledger)
    }

    /// Asks `hook` about every request from now on. Debts of a driver that was lied to are forgiven.
    pub(crate) fn misbehave(&self, hook: impl FnMut(&Request) -> Act + Send + 'static) {
        let mut ledger = self.ledger();
        ledger.forgiving = true;
        if !std::mem::replace(&mut ledger.lies, true) {
            logs::LIARS.fetch_add(1, Ordering::SeqCst);
        }
        *lock(&self.shared.hook) = Some(Box::new(hook));
    }

    /// Asks `hook` about every request from now on, which must not lie: delays are no lies.
    pub(crate) fn watch(&self, hook: impl FnMut(&Request) -> Act + Send + 'static) {
        *lock(&self.shared.hook) = Some(Box::new(hook));
    }

    /// Serves every request from now on.
    pub(crate) fn behave(&self) {
        *lock(&self.shared.hook) = None;
    }

    /// How many requests it keeps.
    pub(crate) fn held(&self) -> usize {
        lock(&self.shared.held).len()
    }

    /// Serves the one of the requests kept that came as number `index`.
    pub(crate) fn release(&self, index: usize) {
        self.shared.answer_held(index, Act::Serve);
    }

    /// [`Strict::release`] for later.
    pub(crate) fn releaser(&self, index: usize) -> impl FnOnce() + Send + 'static {
        let shared = self.shared.clone();
        move || shared.answer_held(index, Act::Serve)
    }

    /// Answers the one of the requests kept that came as number `index` with these bytes after a correct header.
    pub(crate) fn invent(&self, index: usize, body: Vec<u8>) {
        self.shared.answer_held(index, Act::Invent(body));
    }

    /// Refuses the one of the requests kept that came as number `index`.
    pub(crate) fn refuse(&self, index: usize, errno: i32) {
        self.shared.answer_held(index, Act::Refuse(errno));
    }

    /// Says whether it has nothing left to do but to keep what it keeps.
    pub(crate) fn at_rest(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        let shared = self.shared.clone();
        Box::new(move || shared.busy.load(Ordering::SeqCst) == 0)
    }

    /// Says something without being asked; `used` is how much it says that is, if not all. False if no buffer waits.
    pub(crate) fn notify(&self, bytes: &[u8], used: Option<u32>) -> bool {
        self.shared.notify(bytes, used)
    }

    /// Looks at no queue any more, nor at what it keeps.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }

    /// All that the driver has done wrong.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        self.shared.device.mistakes()
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.shared.device.on_notify(|_| {});
        for (kick, thread) in self.threads.drain(..) {
            drop(kick);
            // A panic of it was written down.
            let _ = thread.join();
        }
        if self.ledger().lies {
            logs::LIARS.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn server(folder: &str, options: &Options) -> Arc<Server<PassthroughFs>> {
    let config = Config { root_dir: folder.to_owned(), ..options.server.clone() };
    Arc::new(Server::new(PassthroughFs::new(config).expect("a pass-through file system")))
}

impl Shared {
    /// Serves all that is in a queue, on the queue's own thread.
    fn serve_queue(&self, index: u16) {
        if index == NOTIFICATION_QUEUE && self.options.notifications.is_some() {
            // What is there waits for the device to have something to say.
            return;
        }
        loop {
            let Some(exchange) = self.take(index) else { return };
            let act = lock(&self.hook).as_mut().map_or(Act::Serve, |hook| hook(&exchange.request));
            match act {
                Act::Hold => lock(&self.held).push(exchange),
                act => self.finish(exchange, act),
            }
        }
    }

    /// Answers the one of the requests kept that came as number `index`.
    fn answer_held(&self, index: usize, act: Act) {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let _busy = Busy::took_over(self);
        let exchange = lock(&self.held).remove(index);
        self.finish(exchange, act);
    }

    /// The queue as the driver has set it up.
    fn with_queue<T>(&self, index: u16, act: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let mut queues = lock(&self.queues);
        let set_up = self.device.queue(index).filter(|queue| queue.ready)?;
        let queue = queues.entry(index).or_insert_with(|| {
            let mut queue = Queue::new(self.options.queue_size).expect("a size that a queue can have");
            queue.set_size(set_up.size);
            let [descriptors, driver, device] = set_up.areas.map(|area| (Some(area as u32), Some((area >> 32) as u32)));
            queue.set_desc_table_address(descriptors.0, descriptors.1);
            queue.set_avail_ring_address(driver.0, driver.1);
            queue.set_used_ring_address(device.0, device.1);
            queue.set_event_idx(self.device.driver_features() & EVENT_IDX != 0);
            queue.set_ready(true);
            if !queue.is_valid(&*self.memory) {
                self.device.blame(format!("queue {index} is not where a queue can be: {set_up:x?}"));
            }
            queue
        });
        Some(act(queue))
    }

    /// The next request of a queue, if there is one.
    fn take(&self, index: u16) -> Option<Exchange> {
        let life = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let memory = &*self.memory;
        let chain = self.with_queue(index, |queue| {
            queue.disable_notification(memory).expect("the queue is in RAM");
            loop {
                let next = match queue.iter(self.memory.clone()) {
                    Ok(mut chains) => chains.next(),
                    Err(error) => {
                        self.device.blame(format!("queue {index}: {error}"));
                        None
                    }
                };
                if next.is_some() || !queue.enable_notification(memory).expect("the queue is in RAM") {
                    return next;
                }
                queue.disable_notification(memory).expect("the queue is in RAM");
            }
        })??;
        let mut bytes = Vec::new();
        let mut room = 0;
        for descriptor in chain.clone() {
            let (address, len) = (descriptor.addr(), descriptor.len() as usize);
            if len == 0 || !ram::in_use(address.0, len) {
                self.device.blame(format!("a buffer of {len} bytes at {address:?}, which is not the device's"));
                continue;
            }
            if descriptor.is_write_only() {
                room += len;
            } else {
                if room > 0 {
                    self.device.blame("a buffer to read after one to write");
                }
                let start = bytes.len();
                bytes.resize(start + len, 0);
                memory.read_slice(&mut bytes[start..], address).expect("the buffer is in RAM");
            }
        }
        if !chain.clone().any(|descriptor| descriptor.len() > 0) {
            self.device.blame(format!("queue {index}: a chain that cannot be read"));
        }
        let request = Request { queue: index, head: chain.head_index(), bytes, room };
        for mistake in lock(&self.ledger).request(&request) {
            self.device.blame(mistake);
        }
        Some(Exchange { request, chain, life: *life })
    }

    /// See [`Strict::notify`].
    fn notify(&self, bytes: &[u8], used: Option<u32>) -> bool {
        let _life = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
        let next = |queue: &mut Queue| queue.iter(self.memory.clone()).ok().and_then(|mut chains| chains.next());
        let Some(chain) = self.with_queue(NOTIFICATION_QUEUE, next).flatten() else { return false };
        let head = chain.head_index();
        for descriptor in chain.clone() {
            let (address, len) = (descriptor.addr(), descriptor.len() as usize);
            if !descriptor.is_write_only() || !ram::in_use(address.0, len) {
                self.device.blame(format!("a buffer for notifications of {len} bytes at {address:?}"));
            }
        }
        let mut writer = VirtioFsWriter::new(&*self.memory, chain).expect("a chain of the driver's");
        writer.write_all(bytes).expect("there is room");
        let answer =
            Answer { used: vec![(head.into(), used.unwrap_or(bytes.len() as u32))], ..Answer::new(head, Vec::new()) };
        self.give_back(NOTIFICATION_QUEUE, &answer);
        true
    }

    /// Answers a request.
    fn finish(&self, exchange: Exchange, act: Act) {
        let life = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
        if exchange.life != *life || self.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Exchange { request, chain, .. } = exchange;
        let mut alter = None;
        let bytes = match act {
            Act::Refuse(errno) => out(&request, -errno, &[]),
            Act::Invent(body) => out(&request, 0, &body),
            Act::Alter(change) => {
                alter = Some(change);
                self.serve(&request, &chain)
            }
            Act::Serve | Act::Hold => self.serve(&request, &chain),
        };
        let mut answer = Answer::new(request.head, bytes);
        if let Some(alter) = alter {
            alter(&mut answer);
        }
        lock(&self.ledger).reply(&request, &answer.bytes);
        let mut writer = VirtioFsWriter::new(&*self.memory, chain).expect("a chain that was read before");
        let len = answer.bytes.len().min(request.room);
        writer.write_all(&answer.bytes[..len]).expect("there is room");
        self.give_back(request.queue, &answer);
    }

    fn give_back(&self, index: u16, answer: &Answer) {
        let memory = &*self.memory;
        let wanted = self.with_queue(index, |queue| {
            for &(id, len) in &answer.used {
                match u16::try_from(id).ok().filter(|&id| id < queue.size()) {
                    Some(id) => queue.add_used(memory, id, len).expect("the queue is in RAM"),
                    None => {
                        let place = u64::from(queue.next_used() % queue.size());
                        let element = GuestAddress(queue.used_ring() + 4 + 8 * place);
                        let bytes = (u64::from(len) << 32 | u64::from(id)).to_le_bytes();
                        memory.write_slice(&bytes, element).expect("the queue is in RAM");
                        self.move_used(queue, 1);
                    }
                }
            }
            if answer.skip > 0 {
                self.move_used(queue, answer.skip);
            }
            queue.needs_notification(memory).expect("the queue is in RAM")
        });
        if wanted == Some(true) {
            self.interrupts.fetch_add(1, Ordering::Relaxed);
            self.device.interrupt(1);
            self.interrupt.write(1).expect("an eventfd takes a signal");
        }
    }

    fn move_used(&self, queue: &mut Queue, by: u16) {
        let next = queue.next_used().wrapping_add(by);
        queue.set_next_used(next);
        let index = GuestAddress(queue.used_ring() + 2);
        self.memory.store(next.to_le(), index, Ordering::Release).expect("the queue is in RAM");
    }

    /// Has the server answer; returns what it wrote.
    fn serve(&self, request: &Request, chain: &Chain) -> Vec<u8> {
        let memory = &*self.memory;
        let reader = Reader::from_descriptor_chain(memory, chain.clone()).expect("a chain that was read before");
        let writer = VirtioFsWriter::new(memory, chain.clone()).expect("a chain that was read before");
        let server = lock(&self.server).clone();
        let mappings = self.window.as_ref().filter(|_| self.options.host != Host::Without);
        let mut mapper = mappings.map(|window| Mapper {
            window: window.clone(),
            host: self.options.host,
            live: lock(&self.ledger).mappings.iter().map(|(&offset, mapping)| (offset, mapping.len)).collect(),
        });
        if mapper.is_none() && matches!(request.opcode(), op::SETUPMAPPING | op::REMOVEMAPPING) {
            return out(request, -libc::ENOSYS, &[]);
        }
        let handler = mapper.as_mut().map(|mapper| mapper as &mut dyn FsCacheReqHandler);
        match server.handle_message(reader, Writer::VirtioFs(writer), handler, None) {
            Ok(len) => self.written(chain, len),
            Err(error) => {
                self.device.blame(format!("request {} cannot be read: {error}", request.opcode()));
                Vec::new()
            }
        }
    }

    /// The first `len` bytes that were written to a chain.
    fn written(&self, chain: &Chain, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut rest = &mut bytes[..];
        for descriptor in chain.clone().writable() {
            let count = rest.len().min(descriptor.len() as usize);
            let (piece, tail) = rest.split_at_mut(count);
            self.memory.read_slice(piece, descriptor.addr()).expect("the buffer is in RAM");
            rest = tail;
        }
        bytes
    }

    fn reset(&self) {
        if let Some(window) = &self.window {
            window.unmap(0, window.len).expect("the window is there");
        }
        for debt in lock(&self.ledger).reset() {
            self.device.blame(debt);
        }
        lock(&self.queues).clear();
        lock(&self.held).clear();
        *lock(&self.server) = server(&self.folder, &self.options);
    }
}

/// A reply.
fn out(request: &Request, error: i32, body: &[u8]) -> Vec<u8> {
    let len = 16 + body.len() as u32;
    [&len.to_le_bytes()[..], &error.to_le_bytes(), &request.unique().to_le_bytes(), body].concat()
}

/// Does what a host does with the server's mappings.
struct Mapper {
    window: Arc<Window>,
    host: Host,
    /// Offsets and lengths.
    live: Vec<(u64, u64)>,
}

impl FsCacheReqHandler for Mapper {
    fn map(&mut self, file_offset: u64, offset: u64, len: u64, flags: u64, fd: RawFd) -> std::io::Result<()> {
        let refuse = |errno| Err(std::io::Error::from_raw_os_error(errno));
        let writable = flags & 1 != 0;
        match self.host {
            Host::Stingy => {
                let overlaps = self.live.iter().any(|&(other, size)| other < offset + len && offset < other + size);
                // SAFETY: a structure of integers.
                let mut stat: libc::stat = unsafe { std::mem::zeroed() };
                // SAFETY: the structure takes what is said of the descriptor.
                let known = unsafe { libc::fstat(fd, &raw mut stat) } == 0;
                if overlaps || !known || (stat.st_size as u64) < file_offset + len {
                    return refuse(libc::EINVAL);
                }
            }
            Host::Limited(most) if self.live.len() >= most => return refuse(libc::ENOMEM),
            Host::ReadOnly if writable => return refuse(libc::EROFS),
            _ => {}
        }
        self.window.map(offset, len, fd, file_offset, writable).map_err(std::io::Error::from_raw_os_error)
    }

    fn unmap(&mut self, removals: Vec<RemovemappingOne>) -> std::io::Result<()> {
        for RemovemappingOne { moffset, len } in removals {
            if self.host == Host::Stingy && !self.live.contains(&(moffset, len)) {
                return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
            }
            self.window.unmap(moffset, len).map_err(std::io::Error::from_raw_os_error)?;
        }
        Ok(())
    }
}

/// See [`Strict::registers`].
#[derive(Clone)]
pub(crate) struct StrictRegisters {
    model: MmioModel,
    shared: Arc<Shared>,
}

impl Registers for StrictRegisters {
    fn size(&self) -> usize {
        self.model.size()
    }

    fn read8(&self, offset: usize) -> u8 {
        self.model.read8(offset)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.model.read16(offset)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.model.read32(offset)
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.model.write8(offset, value);
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.model.write16(offset, value);
    }

    fn write32(&mut self, offset: usize, value: u32) {
        if (offset, value) == (STATUS, 0) {
            let mut life = self.shared.quiet.write().unwrap_or_else(PoisonError::into_inner);
            *life += 1;
            self.shared.reset();
            self.model.write32(offset, value);
            return;
        }
        self.model.write32(offset, value);
    }
}
