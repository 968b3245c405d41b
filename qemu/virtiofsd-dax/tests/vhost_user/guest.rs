//! A front end and a guest in one: it starts the daemon, keeps a record of what that asks for, and sends requests.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vhost::vhost_user::message::{
    VhostUserHeaderFlag, VhostUserMMap, VhostUserProtocolFeatures, VhostUserSharedMsg, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{
    Frontend, FrontendReqHandler, HandlerResult, VhostUserFrontend as _, VhostUserFrontendReqHandler,
};
use vhost::{VhostBackend as _, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes as _, FileOffset, GuestAddress, GuestMemory as _, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);
const MEMORY: usize = 8 << 20;
const QUEUE_SIZE: u16 = 64;
const REPLY_ROOM: usize = 4096;

/// What the daemon asked of its front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Window offset, length, inode number of the file, offset in it.
    Map(u64, u64, u64, u64),
    /// Window offset, length.
    Unmap(u64, u64),
    /// With the size that a watched file had then.
    Barrier(Option<u64>),
}

/// QEMU's side of the back-end channel.
#[derive(Debug, Default)]
pub(crate) struct Qemu {
    pub(crate) asked: Vec<Asked>,
    pub(crate) refuse_maps: bool,
    pub(crate) watched: Option<PathBuf>,
}

struct Channel(Arc<Mutex<Qemu>>);

impl Channel {
    fn note(&self, asked: Asked) {
        self.0.lock().expect("no test panics with it").asked.push(asked);
    }
}

impl VhostUserFrontendReqHandler for Channel {
    fn shared_object_remove(&self, _uuid: &VhostUserSharedMsg) -> HandlerResult<u64> {
        let watched = self.0.lock().expect("no test panics with it").watched.clone();
        self.note(Asked::Barrier(watched.and_then(|path| Some(path.metadata().ok()?.len()))));
        // As QEMU answers for an object that it does not know.
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }

    fn shmem_map(&self, request: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        let &VhostUserMMap { shmid, fd_offset, shm_offset, len, flags, .. } = request;
        assert_eq!((shmid, flags), (0, 1));
        let inode = Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())).metadata()?.ino();
        self.note(Asked::Map(shm_offset, len, inode, fd_offset));
        if self.0.lock().expect("no test panics with it").refuse_maps {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Ok(0)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        let &VhostUserMMap { shm_offset, len, .. } = request;
        self.note(Asked::Unmap(shm_offset, len));
        Ok(0)
    }
}

/// A reply: the error, 0 or negative, and what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) error: i32,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.body[offset..offset + 4].try_into().expect("four bytes"))
    }

    pub(crate) fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.body[offset..offset + 8].try_into().expect("eight bytes"))
    }
}

/// The whole arrangement.
pub(crate) struct Guest {
    pub(crate) folder: TempDir,
    pub(crate) frontend: Frontend,
    pub(crate) qemu: Arc<Mutex<Qemu>>,
    child: Daemon,
    memory: GuestMemoryMmap<()>,
    kicks: Vec<EventFd>,
    sent: Vec<u16>,
    seen: Vec<u16>,
    unique: u64,
    pub(crate) uid: u32,
}

/// The daemon's process, which does not outlive its test.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, and then both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that listens, before anybody connected.
pub(crate) fn start_daemon(folder: &Path, arguments: &[&str]) -> Daemon {
    let share = folder.join("share");
    std::fs::create_dir_all(&share).expect("a new folder");
    let socket = folder.join("socket");
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtiofsd-dax"))
        .arg("--socket-path")
        .arg(&socket)
        .arg("--shared-dir")
        .arg(share)
        .arg("--record")
        .arg(folder.join("record"))
        .args(["--sandbox", "none"])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts");
    let begin = Instant::now();
    while !socket.exists() {
        if child.try_wait().expect("it can be asked").is_some() || begin.elapsed() > DEADLINE {
            let mut log = String::new();
            child.kill().expect("it can be killed");
            let _ = child.stderr.take().expect("piped").read_to_string(&mut log);
            panic!("no socket: {log}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Daemon(child)
}

/// Sixteen-bit numbers in the rings are shared with the daemon.
fn queue_base(queue: usize) -> u64 {
    0x10_000 * (queue as u64 + 1)
}

impl Guest {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::with_queues(2, arguments)
    }

    pub(crate) fn with_queues(queues: usize, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = start_daemon(folder.path(), arguments);
        let mut frontend = Frontend::connect(folder.path().join("socket"), queues as u64).expect("a connection");
        let file = tempfile::tempfile().expect("a file");
        file.set_len(MEMORY as u64).expect("room");
        let memory =
            GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), MEMORY, Some(FileOffset::new(file, 0)))])
                .expect("memory");

        frontend.set_owner().expect("SET_OWNER");
        let features = frontend.get_features().expect("GET_FEATURES");
        let version_1 = 1 << 32;
        let wanted = version_1 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        assert_eq!(features & wanted, wanted);
        let protocol = frontend.get_protocol_features().expect("GET_PROTOCOL_FEATURES");
        assert!(!protocol.contains(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS));
        frontend.set_protocol_features(protocol).expect("SET_PROTOCOL_FEATURES");
        frontend.set_features(wanted).expect("SET_FEATURES");
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        assert_eq!(frontend.get_queue_num().expect("GET_QUEUE_NUM"), queues as u64);

        let qemu = Arc::new(Mutex::new(Qemu::default()));
        if protocol.contains(VhostUserProtocolFeatures::SHMEM) {
            let mut handler = FrontendReqHandler::new(Arc::new(Channel(Arc::clone(&qemu)))).expect("a channel");
            handler.set_reply_ack_flag(true);
            struct Fd(i32);
            impl AsRawFd for Fd {
                fn as_raw_fd(&self) -> i32 {
                    self.0
                }
            }
            frontend.set_backend_request_fd(&Fd(handler.get_tx_raw_fd())).expect("SET_BACKEND_REQ_FD");
            std::thread::spawn(move || {
                // A refusal is an error here too; only a broken connection ends it.
                while !matches!(
                    handler.handle_request(),
                    Err(vhost::vhost_user::Error::Disconnected
                        | vhost::vhost_user::Error::SocketBroken(_)
                        | vhost::vhost_user::Error::PartialMessage)
                ) {}
            });
        }
        let mut guest = Guest {
            folder,
            frontend,
            qemu,
            child,
            memory,
            kicks: (0..queues).map(|_| EventFd::new(0).expect("an event")).collect(),
            sent: vec![0; queues],
            seen: vec![0; queues],
            unique: 0,
            uid: 0,
        };
        guest.start();
        guest
    }

    fn start(&mut self) {
        let region = self.memory.iter().next().expect("one region");
        let info = VhostUserMemoryRegionInfo::from_guest_region(region).expect("it has a file");
        let start = info.userspace_addr;
        self.frontend.set_mem_table(&[info]).expect("SET_MEM_TABLE");
        for queue in 0..self.kicks.len() {
            let base = queue_base(queue);
            self.frontend.set_vring_num(queue, QUEUE_SIZE).expect("SET_VRING_NUM");
            let config = VringConfigData {
                queue_max_size: QUEUE_SIZE,
                queue_size: QUEUE_SIZE,
                flags: 0,
                desc_table_addr: start + base,
                avail_ring_addr: start + base + 0x1000,
                used_ring_addr: start + base + 0x2000,
                log_addr: None,
            };
            self.frontend.set_vring_base(queue, 0).expect("SET_VRING_BASE");
            self.frontend.set_vring_addr(queue, &config).expect("SET_VRING_ADDR");
            let call = EventFd::new(0).expect("an event");
            self.frontend.set_vring_call(queue, &call).expect("SET_VRING_CALL");
            self.frontend.set_vring_kick(queue, &self.kicks[queue]).expect("SET_VRING_KICK");
        }
        for queue in 0..self.kicks.len() {
            self.frontend.set_vring_enable(queue, true).expect("SET_VRING_ENABLE");
        }
    }

    pub(crate) fn show_window(&mut self) -> u64 {
        let config = self.frontend.get_shmem_config().expect("GET_SHMEM_CONFIG");
        assert_eq!(config.nregions, 1);
        config.memory_sizes[0]
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.qemu.lock().expect("no test panics with it").asked)
    }

    /// The bytes of a request.
    pub(crate) fn encode(&mut self, opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        self.unique += 2;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(40 + body.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&opcode.to_ne_bytes());
        bytes.extend_from_slice(&self.unique.to_ne_bytes());
        bytes.extend_from_slice(&node.to_ne_bytes());
        bytes.extend_from_slice(&self.uid.to_ne_bytes());
        bytes.extend_from_slice(&self.uid.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Puts raw requests into a queue, all before the daemon is told, and waits for what comes back: the used length
    /// and the reply's bytes of each.
    pub(crate) fn raw(&mut self, queue: usize, requests: &[Vec<u8>], reply_room: usize) -> Vec<(usize, Vec<u8>)> {
        let base = queue_base(queue);
        let buffers = 0x100_000 + queue as u64 * 0x200_000;
        let begin = self.sent[queue];
        for (index, request) in requests.iter().enumerate() {
            assert!(index < usize::from(QUEUE_SIZE) / 2 && request.len() <= 0x2000);
            let head = index as u16 * 2;
            let at = buffers + index as u64 * 0x8000;
            self.memory.write_slice(request, GuestAddress(at)).expect("in memory");
            self.memory.write_slice(&[0xEE; REPLY_ROOM], GuestAddress(at + 0x4000)).expect("in memory");
            let next: u16 = if reply_room > 0 { 1 } else { 0 };
            self.descriptor(base, head, at, request.len() as u32, next, head + 1);
            self.descriptor(base, head + 1, at + 0x4000, reply_room as u32, 2, 0);
            let slot = u64::from(self.sent[queue] % QUEUE_SIZE);
            self.memory.write_obj(head, GuestAddress(base + 0x1004 + slot * 2)).expect("in memory");
            self.sent[queue] = self.sent[queue].wrapping_add(1);
        }
        self.memory.store(self.sent[queue], GuestAddress(base + 0x1002), Ordering::Release).expect("in memory");
        self.kicks[queue].write(1).expect("a kick");
        let mut replies = vec![(0, Vec::new()); requests.len()];
        let started = Instant::now();
        while self.seen[queue] != begin.wrapping_add(requests.len() as u16) {
            let index: u16 = self.memory.load(GuestAddress(base + 0x2002), Ordering::Acquire).expect("in memory");
            if index == self.seen[queue] {
                assert!(started.elapsed() < DEADLINE, "no answer; the daemon asked {:?}", self.asked());
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let slot = base + 0x2004 + u64::from(self.seen[queue] % QUEUE_SIZE) * 8;
            let head: u32 = self.memory.read_obj(GuestAddress(slot)).expect("in memory");
            let len: u32 = self.memory.read_obj(GuestAddress(slot + 4)).expect("in memory");
            let request = head as usize / 2;
            let mut bytes = vec![0; len as usize];
            let at = buffers + request as u64 * 0x8000 + 0x4000;
            self.memory.read_slice(&mut bytes, GuestAddress(at)).expect("in memory");
            replies[request] = (len as usize, bytes);
            self.seen[queue] = self.seen[queue].wrapping_add(1);
        }
        replies
    }

    fn descriptor(&self, base: u64, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = base + u64::from(index) * 16;
        self.memory.write_obj(address, GuestAddress(at)).expect("in memory");
        self.memory.write_obj(len, GuestAddress(at + 8)).expect("in memory");
        self.memory.write_obj(flags, GuestAddress(at + 12)).expect("in memory");
        self.memory.write_obj(next, GuestAddress(at + 14)).expect("in memory");
    }

    /// Several requests that come together.
    pub(crate) fn together(&mut self, queue: usize, requests: &[(u32, u64, Vec<u8>)]) -> Vec<Reply> {
        let encoded: Vec<_> = requests.iter().map(|(opcode, node, body)| self.encode(*opcode, *node, body)).collect();
        let replies = self.raw(queue, &encoded, REPLY_ROOM);
        encoded
            .iter()
            .zip(replies)
            .map(|(request, (len, bytes))| {
                assert!(len >= 16, "a reply has a header");
                assert_eq!(bytes[0..4], (len as u32).to_ne_bytes(), "the header's length is the reply's");
                assert_eq!(bytes[8..16], request[8..16], "it answers this request");
                let error = i32::from_ne_bytes(bytes[4..8].try_into().expect("four bytes"));
                Reply { error, body: bytes[16..].to_vec() }
            })
            .collect()
    }

    pub(crate) fn request(&mut self, opcode: u32, node: u64, body: &[u8]) -> Reply {
        self.together(1, &[(opcode, node, body.to_vec())]).remove(0)
    }

    /// Begins a session as Linux 7.2 does.
    pub(crate) fn init(&mut self) -> Reply {
        let mut body = vec![0; 64];
        for (offset, value) in [(0, 7u32), (4, 45), (8, 0x20000), (12, 0x7fff_fffb), (16, 0x5fe | 1 << 8)] {
            body[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        self.request(26, 0, &body)
    }

    /// Looks a name up in the share's root; returns node and attribute flags.
    pub(crate) fn lookup(&mut self, name: &str) -> (u64, u32) {
        let reply = self.request(1, 1, format!("{name}\0").as_bytes());
        assert_eq!(reply.error, 0, "{name}");
        (reply.u64(0), reply.u32(124))
    }

    /// A file in the share.
    pub(crate) fn file(&self, name: &str, len: usize, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.share().join(name);
        std::fs::write(&path, vec![b'x'; len]).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its permissions");
        path
    }

    /// Closes the connection, as QEMU does when it goes; returns the exit status, the log and the record's last line.
    pub(crate) fn end(self) -> (Option<i32>, String, serde_json::Value) {
        let Guest { folder, frontend, mut child, .. } = self;
        drop(frontend);
        let status = wait(&mut child);
        let mut log = String::new();
        child.0.stderr.take().expect("piped").read_to_string(&mut log).expect("a log in UTF-8");
        assert!(!folder.path().join("socket").exists(), "the socket is left behind");
        let record = std::fs::read_to_string(folder.path().join("record")).expect("a record");
        for line in record.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
        let last = record.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a summary");
        (status, log, last)
    }
}

/// Waits for a process to end, but not for ever.
pub(crate) fn wait(child: &mut Daemon) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait().expect("it can be asked") {
            return status.code();
        }
        assert!(begin.elapsed() < DEADLINE, "the daemon does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The body of SETUPMAPPING, everything in bytes.
pub(crate) fn setup(file_offset: u64, len: u64, window_offset: u64) -> Vec<u8> {
    [u64::MAX, file_offset, len, 3, window_offset].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// The body of REMOVEMAPPING.
pub(crate) fn removal(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut body = (ranges.len() as u32).to_ne_bytes().to_vec();
    for &(offset, len) in ranges {
        body.extend_from_slice(&offset.to_ne_bytes());
        body.extend_from_slice(&len.to_ne_bytes());
    }
    body
}

/// The inode number of a file.
pub(crate) fn inode(path: &Path) -> u64 {
    File::open(path).and_then(|file| file.metadata()).expect("it exists").ino()
}
