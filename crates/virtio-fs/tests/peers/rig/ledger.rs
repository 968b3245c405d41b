//! An account of everything that driver and server say to each other, kept by the device between them.
//!
//! It knows the protocol by its own offsets, not by the crate that the driver uses, and writes down whatever the driver
//! must not do: nodes and handles that it does not hold, more forgotten than was looked up, mappings that overlap or leave
//! the window, headers that do not fit the message. At the end it says what the driver still owes the server.

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) mod op {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const SETUPMAPPING: u32 = 48;
    pub(crate) const REMOVEMAPPING: u32 = 49;
    pub(crate) const SYNCFS: u32 = 50;
    pub(crate) const TMPFILE: u32 = 51;
}

const ROOT: u64 = 1;
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const ENTRY: usize = 128;

/// A request as it lay in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) queue: u16,
    /// The first descriptor of its chain.
    pub(crate) head: u16,
    pub(crate) bytes: Vec<u8>,
    /// How many bytes the device may write.
    pub(crate) room: usize,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes(bytes.try_into().expect("2 bytes")))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}

impl Request {
    pub(crate) fn opcode(&self) -> u32 {
        u32_at(&self.bytes, 4)
    }

    pub(crate) fn unique(&self) -> u64 {
        u64_at(&self.bytes, 8)
    }

    pub(crate) fn node(&self) -> u64 {
        u64_at(&self.bytes, 16)
    }

    fn u32(&self, at: usize) -> u32 {
        u32_at(&self.bytes, at)
    }

    fn u64(&self, at: usize) -> u64 {
        u64_at(&self.bytes, at)
    }

    /// Names and offsets of mappings in a REMOVEMAPPING.
    pub(crate) fn removals(&self) -> Vec<(u64, u64)> {
        self.bytes.get(44..).unwrap_or_default().chunks_exact(16).map(|one| (u64_at(one, 0), u64_at(one, 8))).collect()
    }
}

/// What the driver has mapped at an offset of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) len: u64,
    pub(crate) node: u64,
    pub(crate) file_offset: u64,
    pub(crate) writable: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Look-up counts.
    nodes: HashMap<u64, u64>,
    handles: HashMap<u64, u64>,
    pub(crate) mappings: BTreeMap<u64, Mapping>,
    in_flight: HashSet<u64>,
    window: u64,
    remaps: bool,
    ready: bool,
    over: bool,
    max_write: u32,
    /// How often each opcode came, over all sessions.
    pub(crate) counts: HashMap<u32, u64>,
    /// The most mappings at a time.
    pub(crate) most_mappings: usize,
    /// The most removals in one request.
    pub(crate) largest_removal: usize,
    /// Whether the driver was to distinguish what it cannot: after a request that it gave up, debts are not its fault.
    pub(crate) forgiving: bool,
    /// Whether the device lies to the driver.
    pub(crate) lies: bool,
}

impl Ledger {
    pub(crate) fn new(window: u64, remaps: bool) -> Self {
        Self { window, remaps, ..Self::default() }
    }

    pub(crate) fn count(&self, opcode: u32) -> u64 {
        self.counts.get(&opcode).copied().unwrap_or(0)
    }

    /// Takes a request down; returns the driver's mistakes in it.
    // Long: the rules for each operation, one arm each.
    pub(crate) fn request(&mut self, request: &Request) -> Vec<String> {
        let mut wrong = Vec::new();
        let opcode = request.opcode();
        let len = request.bytes.len();
        *self.counts.entry(opcode).or_default() += 1;
        let mut blame = |what: String| wrong.push(format!("request {opcode} of {len} bytes: {what}"));
        if len < IN_HEADER || request.u32(0) as usize != len {
            blame(format!("its header says {} bytes", request.u32(0)));
            return wrong;
        }
        let (padding, extensions) = (u16_at(&request.bytes, 38), u16_at(&request.bytes, 36));
        if padding != 0 || usize::from(extensions) * 8 > len - IN_HEADER {
            blame(format!("padding {padding}, extensions {extensions}"));
        }
        let silent = matches!(opcode, op::FORGET | op::BATCH_FORGET | op::INTERRUPT);
        match (silent, request.queue) {
            // An INTERRUPT may be answered: EAGAIN for a request that the server doesn't know.
            (true, 0) if request.room == 0 || opcode == op::INTERRUPT => {}
            (false, 1..) if request.room >= OUT_HEADER => {}
            _ => blame(format!("on queue {} with room for {} bytes", request.queue, request.room)),
        }
        if !silent && (request.unique() == 0 || !self.in_flight.insert(request.unique())) {
            blame(format!("unique {:#x} is in flight already, or 0", request.unique()));
        }
        match opcode {
            op::INIT if self.ready => blame("a second one".into()),
            op::INIT => {}
            _ if !self.ready => blame("before INIT was answered".into()),
            _ if self.over => blame("after DESTROY".into()),
            _ => {}
        }
        let anywhere = [op::INIT, op::DESTROY, op::BATCH_FORGET, op::INTERRUPT, op::REMOVEMAPPING, op::STATFS];
        let mut nodes = vec![request.node()];
        match opcode {
            op::LINK | op::RENAME | op::RENAME2 => nodes.push(request.u64(40)),
            _ if anywhere.contains(&opcode) && request.node() == 0 => nodes.clear(),
            _ => {}
        }
        for node in nodes {
            if !self.knows(node) {
                blame(format!("node {node} is not held"));
            }
        }
        match opcode {
            op::FORGET => wrong.extend(self.forget(request.node(), request.u64(40))),
            op::BATCH_FORGET => {
                let forgets: Vec<_> =
                    request.bytes[48.min(len)..].chunks_exact(16).map(|one| (u64_at(one, 0), u64_at(one, 8))).collect();
                if request.u32(40) as usize != forgets.len() || forgets.is_empty() {
                    blame(format!("{} announced, {} there", request.u32(40), forgets.len()));
                }
                for (node, count) in forgets {
                    wrong.extend(self.forget(node, count));
                }
            }
            op::READ | op::READDIR | op::READDIRPLUS => {
                let size = request.u32(56) as usize;
                if request.room < OUT_HEADER + size || size > self.max_write as usize && opcode == op::READ {
                    blame(format!("{size} bytes wanted, room for {}", request.room));
                }
                wrong.extend(self.handle(request));
            }
            op::WRITE => {
                let size = request.u32(56) as usize;
                if size != len - 80 || size > self.max_write as usize {
                    blame(format!("{size} bytes announced, {} there, {} allowed", len - 80, self.max_write));
                }
                wrong.extend(self.handle(request));
            }
            op::FLUSH | op::FSYNC | op::FSYNCDIR | op::LSEEK | op::FALLOCATE => wrong.extend(self.handle(request)),
            op::GETATTR if request.u32(40) & 1 != 0 && !self.handles.contains_key(&request.u64(48)) => {
                blame(format!("handle {} is not open", request.u64(48)));
            }
            op::SETATTR if request.u32(40) & 1 << 6 != 0 && !self.handles.contains_key(&request.u64(48)) => {
                blame(format!("handle {} is not open", request.u64(48)));
            }
            op::RELEASE | op::RELEASEDIR => {
                wrong.extend(self.handle(request));
                self.handles.remove(&request.u64(40));
            }
            op::SETUPMAPPING => wrong.extend(self.set_up(request)),
            op::REMOVEMAPPING => wrong.extend(self.remove(request)),
            op::DESTROY => {
                // What is still open is closed with the session; look-ups and mappings are to be gone by now.
                self.over = true;
                self.handles.clear();
            }
            _ => {}
        }
        wrong
    }

    /// Takes a reply down, before the driver can see it.
    pub(crate) fn reply(&mut self, request: &Request, reply: &[u8]) {
        self.in_flight.remove(&request.unique());
        let opcode = request.opcode();
        if reply.len() < OUT_HEADER || u32_at(reply, 4) != 0 {
            return;
        }
        let body = &reply[OUT_HEADER..];
        match opcode {
            op::INIT => {
                self.ready = true;
                self.over = false;
                self.max_write = u32_at(body, 20);
            }
            op::LOOKUP | op::MKNOD | op::MKDIR | op::SYMLINK | op::LINK => self.found(u64_at(body, 0)),
            op::CREATE | op::TMPFILE => {
                self.found(u64_at(body, 0));
                self.handles.insert(u64_at(body, ENTRY), u64_at(body, 0));
            }
            op::OPEN | op::OPENDIR => {
                self.handles.insert(u64_at(body, 0), request.node());
            }
            op::READDIRPLUS => {
                let mut rest = body;
                while rest.len() >= ENTRY + 24 {
                    let name_len = u32_at(rest, ENTRY + 16) as usize;
                    self.found(u64_at(rest, 0));
                    rest = &rest[(ENTRY + 24 + name_len).next_multiple_of(8).min(rest.len())..];
                }
            }
            op::SETUPMAPPING => {
                let writable = request.u64(64) & 1 != 0;
                let mapping =
                    Mapping { len: request.u64(56), node: request.node(), file_offset: request.u64(48), writable };
                self.mappings.insert(request.u64(72), mapping);
                self.most_mappings = self.most_mappings.max(self.mappings.len());
            }
            op::REMOVEMAPPING => {
                for (offset, _) in request.removals() {
                    self.mappings.remove(&offset);
                }
            }
            _ => {}
        }
    }

    /// The device was reset: the session is over. Returns the driver's mistakes.
    pub(crate) fn reset(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.ready && !self.forgiving {
            wrong.extend(self.debts());
        }
        self.nodes.clear();
        self.handles.clear();
        self.mappings.clear();
        self.in_flight.clear();
        self.ready = false;
        self.over = false;
        wrong
    }

    /// What the driver still holds.
    pub(crate) fn debts(&self) -> Vec<String> {
        let mut debts = Vec::new();
        if !self.nodes.is_empty() {
            debts.push(format!("look-up counts never forgotten: {:?}", self.nodes));
        }
        if !self.handles.is_empty() {
            debts.push(format!("handles never released: {:?}", self.handles));
        }
        if !self.mappings.is_empty() {
            debts.push(format!("mappings never removed: {:?}", self.mappings));
        }
        debts
    }

    /// Nodes held, handles open.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.nodes.len(), self.handles.len())
    }

    /// Whether the driver holds a look-up of a node.
    pub(crate) fn holds(&self, node: u64) -> bool {
        self.nodes.contains_key(&node)
    }

    fn knows(&self, node: u64) -> bool {
        node == ROOT || self.holds(node)
    }

    fn found(&mut self, node: u64) {
        if node != 0 && node != ROOT {
            *self.nodes.entry(node).or_default() += 1;
        }
    }

    fn forget(&mut self, node: u64, count: u64) -> Option<String> {
        let held = self.nodes.get(&node).copied().unwrap_or(0);
        match held.checked_sub(count) {
            Some(left) if count > 0 => {
                if left == 0 {
                    self.nodes.remove(&node);
                } else {
                    self.nodes.insert(node, left);
                }
                None
            }
            _ => Some(format!("{count} look-ups of node {node} forgotten, {held} held")),
        }
    }

    fn handle(&self, request: &Request) -> Option<String> {
        let handle = request.u64(40);
        let node = self.handles.get(&handle);
        (node != Some(&request.node())).then(|| {
            let (opcode, wanted) = (request.opcode(), request.node());
            format!("request {opcode}: handle {handle} of node {wanted}, which is open for {node:?}")
        })
    }

    fn set_up(&self, request: &Request) -> Vec<String> {
        let (file_offset, len, flags, offset) = (request.u64(48), request.u64(56), request.u64(64), request.u64(72));
        let mut wrong = Vec::new();
        let end = offset.checked_add(len);
        if len == 0 || end.is_none_or(|end| end > self.window) || file_offset.checked_add(len).is_none() {
            wrong.push(format!("mapping of {len:#x} bytes at {offset:#x} in a window of {:#x}", self.window));
        }
        if !offset.is_multiple_of(4096) || !file_offset.is_multiple_of(4096) || !len.is_multiple_of(4096) {
            wrong.push(format!("mapping of {len:#x} bytes from {file_offset:#x} at {offset:#x} is unaligned"));
        }
        if flags & 2 == 0 || flags > 3 {
            wrong.push(format!("mapping with flags {flags:#x}"));
        }
        let end = end.unwrap_or(u64::MAX);
        for (&other, mapping) in self.mappings.range(..end).filter(|&(&other, mapping)| other + mapping.len > offset) {
            let same_place = other == offset && mapping.len <= len;
            if !self.remaps || !same_place {
                wrong.push(format!("mapping of {len:#x} bytes at {offset:#x} over {:#x} at {other:#x}", mapping.len));
            }
        }
        wrong
    }

    fn remove(&mut self, request: &Request) -> Vec<String> {
        let removals = request.removals();
        let mut wrong = Vec::new();
        self.largest_removal = self.largest_removal.max(removals.len());
        let announced = request.u32(40) as usize;
        if announced != removals.len() || removals.is_empty() || removals.len() > 256 {
            wrong.push(format!("{announced} removals announced, {} there", removals.len()));
        }
        for (offset, len) in removals {
            if self.mappings.get(&offset).is_none_or(|mapping| mapping.len != len) {
                wrong.push(format!("removal of {len:#x} bytes at {offset:#x}, where no such mapping is"));
            }
        }
        wrong
    }
}
