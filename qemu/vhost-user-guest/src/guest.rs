//! The front end that negotiates, and the guest that writes into its queues.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Error as VhostUserError, Frontend, FrontendReqHandler, VhostUserFrontend as _};
use vhost::{VhostBackend as _, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes as _, FileOffset, GuestAddress, GuestMemory as _, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use crate::daemon::{DEADLINE, Daemon, log_of};
use crate::qemu::{Asked, Channel, Qemu};

/// Entries of a queue.
pub const QUEUE_SIZE: u16 = 256;
/// Requests that are in a queue at a time at most.
pub const SLOTS: usize = 64;
/// Descriptors that each of them has.
pub const DESCRIPTORS: usize = 4;
/// Longest request, in bytes.
pub const REQUEST_ROOM: usize = 0x8000;
/// Longest reply, in bytes.
pub const REPLY_ROOM: usize = 0x8000;

/// Where the buffers of the first queue begin.
const BUFFERS: u64 = 0x100_000;
/// How far apart those of the next queue are.
const BUFFERS_LEN: u64 = SLOTS as u64 * (REQUEST_ROOM + REPLY_ROOM) as u64;

/// `VIRTQ_DESC_F_NEXT`.
pub const NEXT: u16 = 1;
/// `VIRTQ_DESC_F_WRITE`.
pub const WRITE: u16 = 2;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// Its program.
    pub program: &'a Path,
    /// Its queues, the urgent one included.
    pub queues: usize,
    /// Further arguments.
    pub arguments: &'a [&'a str],
}

/// One descriptor as a guest writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Guest-physical address.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// [`NEXT`], [`WRITE`], and 4 for an indirect one.
    pub flags: u16,
    /// The next descriptor's index.
    pub next: u16,
}

/// A reply: the error, 0 or negative, and what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// From the header.
    pub error: i32,
    /// What follows it.
    pub body: Vec<u8>,
}

impl Reply {
    /// 32 bits of the body, 0 where it has none.
    pub fn u32(&self, offset: usize) -> u32 {
        self.body.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    /// 64 bits of the body, 0 where it has none.
    pub fn u64(&self, offset: usize) -> u64 {
        self.body.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    }
}

/// The whole arrangement.
pub struct Guest {
    /// Where the share, the socket, the record and the log are.
    pub folder: TempDir,
    /// QEMU's connection.
    pub frontend: Frontend,
    /// QEMU's window.
    pub qemu: Arc<Mutex<Qemu>>,
    /// The daemon.
    pub daemon: Daemon,
    /// Who asks, in requests of [`encode`](Self::encode).
    pub uid: u32,
    memory: GuestMemoryMmap<()>,
    kicks: Vec<EventFd>,
    sent: Vec<u16>,
    seen: Vec<u16>,
    unique: u64,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("folder", &self.folder).field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

/// Where a queue's ring begins.
fn ring(queue: usize) -> u64 {
    0x10_000 * (queue as u64 + 1)
}

/// Where a queue's ring has its available index.
fn available(queue: usize) -> GuestAddress {
    GuestAddress(ring(queue) + 0x1002)
}

/// Where the request of a slot lies; its reply lies [`REQUEST_ROOM`] bytes further.
pub fn buffer(queue: usize, slot: usize) -> u64 {
    BUFFERS + queue as u64 * BUFFERS_LEN + (slot * (REQUEST_ROOM + REPLY_ROOM)) as u64
}

struct Fd(i32);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> i32 {
        self.0
    }
}

impl Guest {
    /// Starts a daemon and negotiates with it.
    ///
    /// # Errors
    ///
    /// If either does not work as it must.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, start)
    }

    /// As [`start`](Self::start), in a folder that may have a share.
    ///
    /// # Errors
    ///
    /// If either does not work as it must.
    pub fn start_in(folder: TempDir, start: &Start<'_>) -> Result<Self> {
        let daemon = Daemon::start(start.program, folder.path(), start.arguments)?;
        let queues = start.queues;
        let frontend = Frontend::connect(folder.path().join("socket"), queues as u64)?;
        let len = usize::try_from(BUFFERS + queues as u64 * BUFFERS_LEN)?;
        let file = tempfile::tempfile()?;
        file.set_len(len as u64)?;
        let memory = GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), len, Some(FileOffset::new(file, 0)))])?;
        let mut guest = Guest {
            folder,
            frontend,
            qemu: Arc::default(),
            daemon,
            uid: 0,
            memory,
            kicks: (0..queues).map(|_| EventFd::new(0)).collect::<Result<_, _>>()?,
            sent: vec![0; queues],
            seen: vec![0; queues],
            unique: 0,
        };
        guest.negotiate()?;
        guest.run()?;
        Ok(guest)
    }

    fn negotiate(&mut self) -> Result<()> {
        let frontend = &mut self.frontend;
        frontend.set_owner()?;
        let wanted = 1 << 32 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        ensure!(frontend.get_features()? & wanted == wanted, "a feature is missing");
        let protocol = frontend.get_protocol_features()?;
        ensure!(!protocol.contains(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS), "memory slots are offered");
        frontend.set_protocol_features(protocol)?;
        frontend.set_features(wanted)?;
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        ensure!(frontend.get_queue_num()? == self.kicks.len() as u64, "another number of queues");
        if !protocol.contains(VhostUserProtocolFeatures::SHMEM) {
            return Ok(());
        }
        let mut handler = FrontendReqHandler::new(Arc::new(Channel(Arc::clone(&self.qemu))))?;
        handler.set_reply_ack_flag(true);
        frontend.set_backend_request_fd(&Fd(handler.get_tx_raw_fd()))?;
        std::thread::spawn(move || {
            // A refusal is an error here too; only a broken connection ends it.
            while !matches!(
                handler.handle_request(),
                Err(VhostUserError::Disconnected | VhostUserError::SocketBroken(_) | VhostUserError::PartialMessage)
            ) {}
        });
        Ok(())
    }

    /// Sets the queues up, empty, and starts the device.
    ///
    /// # Errors
    ///
    /// If the daemon does not take it.
    pub fn run(&mut self) -> Result<()> {
        let region = self.memory.iter().next().context("one region")?;
        let info = VhostUserMemoryRegionInfo::from_guest_region(region)?;
        let start = info.userspace_addr;
        self.frontend.set_mem_table(&[info])?;
        for queue in 0..self.kicks.len() {
            let base = ring(queue);
            self.memory.write_slice(&[0; 0x3000], GuestAddress(base))?;
            (self.sent[queue], self.seen[queue]) = (0, 0);
            self.frontend.set_vring_num(queue, QUEUE_SIZE)?;
            let config = VringConfigData {
                queue_max_size: QUEUE_SIZE,
                queue_size: QUEUE_SIZE,
                flags: 0,
                desc_table_addr: start + base,
                avail_ring_addr: start + base + 0x1000,
                used_ring_addr: start + base + 0x2000,
                log_addr: None,
            };
            self.frontend.set_vring_base(queue, 0)?;
            self.frontend.set_vring_addr(queue, &config)?;
            self.frontend.set_vring_call(queue, &EventFd::new(0)?)?;
            self.frontend.set_vring_kick(queue, &self.kicks[queue])?;
        }
        for queue in 0..self.kicks.len() {
            self.frontend.set_vring_enable(queue, true)?;
        }
        self.qemu().running = true;
        Ok(())
    }

    /// Stops the device as QEMU does when its guest resets it; [`run`](Self::run) starts it again.
    ///
    /// # Errors
    ///
    /// If the daemon does not take it.
    pub fn reset(&mut self) -> Result<()> {
        for queue in 0..self.kicks.len() {
            self.frontend.set_vring_enable(queue, false)?;
        }
        for queue in 0..self.kicks.len() {
            self.frontend.get_vring_base(queue)?;
        }
        self.qemu().reset();
        Ok(())
    }

    /// QEMU's window.
    pub fn qemu(&self) -> MutexGuard<'_, Qemu> {
        self.qemu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the window, as QEMU does; returns its size in bytes.
    ///
    /// # Errors
    ///
    /// If there is not exactly one.
    pub fn show_window(&mut self) -> Result<u64> {
        let config = self.frontend.get_shmem_config()?;
        ensure!(config.nregions == 1, "{} windows", config.nregions);
        self.qemu().window = config.memory_sizes[0];
        Ok(config.memory_sizes[0])
    }

    /// The shared folder.
    pub fn share(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    /// What the daemon asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.qemu().asked)
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        log_of(self.folder.path())
    }

    /// The bytes of a request.
    pub fn encode(&mut self, opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        self.unique += 2;
        let mut bytes = Vec::with_capacity(40 + body.len());
        let len = u32::try_from(40 + body.len()).unwrap_or(u32::MAX);
        for word in [len, opcode] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for word in [self.unique, node] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for word in [self.uid, self.uid, 0, 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(body);
        bytes
    }

    /// Writes into the guest's memory.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn poke(&self, address: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.memory.write_slice(bytes, GuestAddress(address))?)
    }

    /// Reads from the guest's memory.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn peek(&self, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.memory.read_slice(&mut bytes, GuestAddress(address))?;
        Ok(bytes)
    }

    /// Writes a request into a slot's buffer, with the usual two descriptors.
    ///
    /// # Errors
    ///
    /// If it is too long.
    pub fn place(&self, queue: usize, slot: usize, request: &[u8], room: usize) -> Result<()> {
        ensure!(slot < SLOTS && request.len() <= REQUEST_ROOM && room <= REPLY_ROOM, "a request too long");
        let at = buffer(queue, slot);
        self.poke(at, request)?;
        let reply = at + REQUEST_ROOM as u64;
        self.poke(reply, &[0xEE; 16])?;
        let first = u16::try_from(slot * DESCRIPTORS)?;
        let next = if room > 0 { NEXT } else { 0 };
        let request = Descriptor { address: at, len: u32::try_from(request.len())?, flags: next, next: first + 1 };
        let reply = Descriptor { address: reply, len: u32::try_from(room)?, flags: WRITE, next: 0 };
        self.describe(queue, first, request)?;
        self.describe(queue, first + 1, reply)
    }

    /// Writes a descriptor.
    ///
    /// # Errors
    ///
    /// If its index is none of the queue's.
    pub fn describe(&self, queue: usize, index: u16, descriptor: Descriptor) -> Result<()> {
        ensure!(index < QUEUE_SIZE, "no descriptor {index}");
        let Descriptor { address, len, flags, next } = descriptor;
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&address.to_ne_bytes());
        bytes[8..12].copy_from_slice(&len.to_ne_bytes());
        bytes[12..14].copy_from_slice(&flags.to_ne_bytes());
        bytes[14..16].copy_from_slice(&next.to_ne_bytes());
        self.poke(ring(queue) + u64::from(index) * 16, &bytes)
    }

    /// Makes chains available that begin at these descriptors, all before the daemon is notified.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn offer(&mut self, queue: usize, heads: &[u16]) -> Result<()> {
        for &head in heads {
            let place = ring(queue) + 0x1004 + u64::from(self.sent[queue] % QUEUE_SIZE) * 2;
            self.poke(place, &head.to_ne_bytes())?;
            self.sent[queue] = self.sent[queue].wrapping_add(1);
        }
        self.memory.store(self.sent[queue], available(queue), Ordering::Release)?;
        self.kick(queue)
    }

    /// Writes an available index that nothing stands behind.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn jump(&mut self, queue: usize, ahead: u16) -> Result<()> {
        self.memory.store(self.sent[queue].wrapping_add(ahead), available(queue), Ordering::Release)?;
        self.kick(queue)
    }

    /// How many chains were made available in a queue, modulo 2^16.
    pub fn sent(&self, queue: usize) -> u16 {
        self.sent[queue]
    }

    /// Lets a queue that was stopped go on where it was.
    ///
    /// # Errors
    ///
    /// If the daemon does not take it.
    pub fn go_on(&mut self, queue: usize, base: u16) -> Result<()> {
        self.frontend.set_vring_base(queue, base)?;
        self.frontend.set_vring_call(queue, &EventFd::new(0)?)?;
        Ok(self.frontend.set_vring_kick(queue, &self.kicks[queue])?)
    }

    /// Tells the daemon of a queue.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn kick(&self, queue: usize) -> Result<()> {
        Ok(self.kicks[queue].write(1)?)
    }

    /// What came back since the last call: head and used length of each.
    ///
    /// # Errors
    ///
    /// If the used ring cannot be.
    pub fn collect(&mut self, queue: usize) -> Result<Vec<(u32, u32)>> {
        let index: u16 = self.memory.load(GuestAddress(ring(queue) + 0x2002), Ordering::Acquire)?;
        let mut back = Vec::new();
        while self.seen[queue] != index {
            ensure!(back.len() < usize::from(QUEUE_SIZE), "the used index is {index}");
            let place = ring(queue) + 0x2004 + u64::from(self.seen[queue] % QUEUE_SIZE) * 8;
            let at = |offset| self.memory.read_obj(GuestAddress(place + offset));
            back.push((at(0)?, at(4)?));
            self.seen[queue] = self.seen[queue].wrapping_add(1);
        }
        Ok(back)
    }

    /// Waits until `count` chains came back.
    ///
    /// # Errors
    ///
    /// If they do not, in time.
    pub fn wait(&mut self, queue: usize, count: usize) -> Result<Vec<(u32, u32)>> {
        let (begin, mut tries) = (Instant::now(), 0);
        let mut back = Vec::new();
        while back.len() < count {
            back.extend(self.collect(queue)?);
            tries += 1;
            if back.len() < count && tries > 20 {
                std::thread::sleep(Duration::from_micros(if tries > 2000 { 1000 } else { 50 }));
                if begin.elapsed() > DEADLINE {
                    bail!("{} of {count} answers; the daemon asked {:?}", back.len(), self.asked());
                }
            } else {
                std::thread::yield_now();
            }
        }
        Ok(back)
    }

    /// Puts raw requests into a queue, all before the daemon is notified, and waits for what comes back: the used length
    /// and the reply's bytes of each.
    ///
    /// # Errors
    ///
    /// If nothing comes back.
    pub fn raw(&mut self, queue: usize, requests: &[Vec<u8>], room: usize) -> Result<Vec<(usize, Vec<u8>)>> {
        for (slot, request) in requests.iter().enumerate() {
            self.place(queue, slot, request, room)?;
        }
        let heads: Vec<u16> = (0..requests.len()).map(|slot| (slot * DESCRIPTORS) as u16).collect();
        self.offer(queue, &heads)?;
        let mut replies = vec![(0, Vec::new()); requests.len()];
        for (head, len) in self.wait(queue, requests.len())? {
            let slot = head as usize / DESCRIPTORS;
            let bytes = self.peek(buffer(queue, slot) + REQUEST_ROOM as u64, len as usize)?;
            *replies.get_mut(slot).context("a head that nobody sent")? = (len as usize, bytes);
        }
        Ok(replies)
    }

    /// Several requests that come together.
    ///
    /// # Errors
    ///
    /// If a reply is none.
    pub fn together(&mut self, queue: usize, requests: &[(u32, u64, Vec<u8>)]) -> Result<Vec<Reply>> {
        let encoded: Vec<_> = requests.iter().map(|(opcode, node, body)| self.encode(*opcode, *node, body)).collect();
        let replies = self.raw(queue, &encoded, 4096)?;
        encoded.iter().zip(replies).map(|(request, (_, bytes))| parse(request, &bytes)).collect()
    }

    /// One request, in the first request queue.
    ///
    /// # Errors
    ///
    /// If its reply is none.
    pub fn request(&mut self, opcode: u32, node: u64, body: &[u8]) -> Result<Reply> {
        self.together(1, &[(opcode, node, body.to_vec())])?.pop().context("one reply")
    }

    /// Begins a session as Linux 7.2 does.
    ///
    /// # Errors
    ///
    /// If the reply is none.
    pub fn init(&mut self) -> Result<Reply> {
        let mut body = vec![0; 64];
        for (offset, value) in [(0, 7u32), (4, 45), (8, 0x20000), (12, 0x7fff_fffb), (16, 0x5fe | 1 << 8)] {
            body[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        self.request(26, 0, &body)
    }

    /// Closes the connection, as QEMU does when it goes; returns the folder, the exit status and the log.
    ///
    /// # Errors
    ///
    /// If the daemon does not end.
    pub fn end(self) -> Result<(TempDir, ExitStatus, String)> {
        let Guest { folder, frontend, mut daemon, .. } = self;
        drop(frontend);
        let status = daemon.wait()?;
        let log = log_of(folder.path());
        Ok((folder, status, log))
    }
}

/// A reply to a request.
///
/// # Errors
///
/// If it is none.
pub fn parse(request: &[u8], bytes: &[u8]) -> Result<Reply> {
    ensure!(bytes.len() >= 16, "a reply of {} bytes", bytes.len());
    let len = u32::from_ne_bytes(bytes[0..4].try_into()?);
    ensure!(len as usize == bytes.len(), "a reply of {} bytes says {len}", bytes.len());
    ensure!(bytes[8..16] == request[8..16], "an answer to another request");
    let error = i32::from_ne_bytes(bytes[4..8].try_into()?);
    ensure!((-4095..=0).contains(&error), "error {error}");
    Ok(Reply { error, body: bytes[16..].to_vec() })
}
