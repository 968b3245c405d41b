//! What an honest server would answer: a made-up file system, so that the driver gets far before it is lied to.
//!
//! Numbers and offsets are those of `linux/fuse.h`, written out: the driver's own protocol crate is not asked.

use std::collections::BTreeMap;

/// Requests by their numbers.
pub(crate) mod op {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const GETLK: u32 = 31;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const SETUPMAPPING: u32 = 48;
    pub(crate) const REMOVEMAPPING: u32 = 49;
    pub(crate) const TMPFILE: u32 = 51;
    pub(crate) const STATX: u32 = 52;
}

const ENOENT: i32 = 2;
const ENODATA: i32 = 61;
const REGULAR: u32 = 0o100_644;
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
/// Names in a folder.
const NAMES: [&[u8]; 5] = [b"f0", b"f1", b"d0", b"l0", b"."];

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    /// Sizes of files by node.
    sizes: BTreeMap<u64, u64>,
    /// The size of files that have none yet.
    pub(crate) size: u64,
    /// The entry and attribute timeouts, in seconds.
    pub(crate) valid: u64,
    /// FUSE_INIT's flags and more, and its largest write.
    pub(crate) flags: u64,
    pub(crate) max_write: u32,
    pub(crate) map_alignment: u16,
}

/// Bytes of a reply's body.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u16(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn zeros(mut self, len: usize) -> Self {
        self.0.resize(self.0.len() + len, 0);
        self
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// The opcode of a request.
pub(crate) fn opcode(request: &[u8]) -> u32 {
    u32_at(request, 4)
}

/// The number of a request.
pub(crate) fn unique(request: &[u8]) -> u64 {
    u64_at(request, 8)
}

/// Where a SETUPMAPPING, or the items of a REMOVEMAPPING, lie in the window: offsets and lengths.
pub(crate) fn mappings(request: &[u8]) -> Vec<(u64, u64)> {
    match opcode(request) {
        op::SETUPMAPPING => vec![(u64_at(request, 40 + 32), u64_at(request, 40 + 16))],
        op::REMOVEMAPPING => {
            let count = u32_at(request, 40) as usize;
            (0..count.min(4096))
                .map(|item| 44 + 16 * item)
                .map(|at| (u64_at(request, at), u64_at(request, at + 8)))
                .collect()
        }
        _ => Vec::new(),
    }
}

impl Server {
    pub(crate) fn new(size: u64, valid: u64) -> Self {
        // ASYNC_READ, POSIX_LOCKS, ATOMIC_O_TRUNC, BIG_WRITES, DONT_MASK, READDIRPLUS, PARALLEL_DIROPS, MAX_PAGES, MAP_ALIGNMENT.
        let flags = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 13 | 1 << 18 | 1 << 22 | 1 << 26;
        Self { sizes: BTreeMap::new(), size, valid, flags, max_write: 1 << 17, map_alignment: 12 }
    }

    fn mode(node: u64) -> u32 {
        match node % 4 {
            1 => FOLDER,
            3 => LINK,
            _ => REGULAR,
        }
    }

    fn attr(&self, body: Body, node: u64) -> Body {
        let size = self.sizes.get(&node).copied().unwrap_or(self.size);
        let size = if node % 4 == 3 { 2 } else { size };
        let body = body.u64(node).u64(size).u64(size / 512).u64(1).u64(1).u64(1).u32(0).u32(0).u32(0);
        body.u32(Self::mode(node)).u32(1).u32(0).u32(0).u32(0).u32(4096).u32(0)
    }

    fn entry(&self, body: Body, node: u64) -> Body {
        let body = body.u64(node).u64(0).u64(self.valid).u64(self.valid).u32(0).u32(0);
        self.attr(body, node)
    }

    /// The node that a name in a folder has: the name says what it is. 0: there is none.
    fn node(parent: u64, name: &[u8]) -> u64 {
        let kind = match name.first() {
            Some(b'f') => 2,
            Some(b'd') => 1,
            Some(b'l') => 3,
            _ => return 0,
        };
        let rest = name.iter().fold(parent, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        4 * (2 + rest % 1000) + kind
    }

    /// Answers a request: an error, or a body; `None` where there is no answer.
    pub(crate) fn answer(&mut self, request: &[u8]) -> Option<Result<Vec<u8>, i32>> {
        let node = u64_at(request, 16);
        let body = request.get(40..).unwrap_or_default();
        let name = |at: usize| body.get(at..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        let made = match opcode(request) {
            op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return None,
            op::LOOKUP => match Self::node(node, name(0)) {
                0 => return Some(Err(ENOENT)),
                found => self.entry(Body::default(), found),
            },
            op::SYMLINK => self.entry(Body::default(), Self::node(node, b"l-new")),
            op::MKDIR => self.entry(Body::default(), Self::node(node, b"d-new")),
            op::MKNOD => self.entry(Body::default(), Self::node(node, b"f-new")),
            op::LINK => self.entry(Body::default(), u64_at(body, 0)),
            op::CREATE | op::TMPFILE => {
                let made = self.entry(Body::default(), Self::node(node, b"f-made"));
                made.u64(node % 7).u32(0).u32(0)
            }
            op::GETATTR => self.attr(Body::default().u64(self.valid).u32(0).u32(0), node),
            op::SETATTR => {
                if u32_at(body, 0) & 8 != 0 {
                    self.sizes.insert(node, u64_at(body, 16));
                }
                self.attr(Body::default().u64(self.valid).u32(0).u32(0), node)
            }
            op::READLINK => Body(b"f0".to_vec()),
            _ => return Some(self.answer_by_handle(opcode(request), node, body)),
        };
        Some(Ok(made.0))
    }

    fn answer_by_handle(&mut self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        let made = match opcode {
            op::OPEN | op::OPENDIR => Body::default().u64(node % 7).u32(0).u32(0),
            op::READ => {
                let size = self.sizes.get(&node).copied().unwrap_or(self.size);
                let left = size.saturating_sub(u64_at(body, 8)).min(u64::from(u32_at(body, 16)));
                Body(vec![7; usize::try_from(left).unwrap_or(0).min(1 << 20)])
            }
            op::WRITE => {
                let (offset, len) = (u64_at(body, 8), u32_at(body, 16));
                let size = self.sizes.entry(node).or_insert(self.size);
                *size = (*size).max(offset.saturating_add(u64::from(len)));
                Body::default().u32(len).u32(0)
            }
            op::STATFS => Body::default().zeros(80),
            op::GETXATTR | op::LISTXATTR => return Err(ENODATA),
            op::INIT => self.init(),
            op::READDIR | op::READDIRPLUS => self.list(node, body, opcode == op::READDIRPLUS),
            op::GETLK => Body::default().u64(0).u64(0).u32(2).u32(0),
            op::LSEEK => Body::default().u64(u64_at(body, 8)),
            op::COPY_FILE_RANGE => Body::default().u32(u64_at(body, 40) as u32).u32(0),
            op::STATX => Body::default().u64(1).zeros(280),
            _ => Body::default(),
        };
        Ok(made.0)
    }

    fn init(&self) -> Body {
        let body = Body::default().u32(7).u32(45).u32(1 << 17).u32(self.flags as u32).u16(16).u16(12);
        let body = body.u32(self.max_write).u32(1).u16(32).u16(self.map_alignment);
        body.u32((self.flags >> 32) as u32).zeros(28)
    }

    fn list(&self, node: u64, body: &[u8], plus: bool) -> Body {
        let (from, room) = (u64_at(body, 8), u32_at(body, 16) as usize);
        let mut listing = Body::default();
        for (at, name) in (1_u64..).zip(NAMES).filter(|(at, _)| *at > from) {
            let child = Self::node(node, name).max(1);
            let before = listing.0.len();
            if plus {
                listing = self.entry(listing, child);
            }
            listing = listing.u64(child).u64(at).u32(name.len() as u32).u32(Self::mode(child) >> 12);
            listing.0.extend(name);
            let pad = listing.0.len().next_multiple_of(8) - listing.0.len();
            listing = listing.zeros(pad);
            if listing.0.len() > room {
                listing.0.truncate(before);
                break;
            }
        }
        listing
    }
}
