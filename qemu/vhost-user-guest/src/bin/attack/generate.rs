//! Requests that a hostile guest makes up, from what it has learned and from what it has not.

use fastrand::Rng;

/// FUSE's requests, as `linux/fuse.h` numbers them.
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const SETUPMAPPING: u32 = 48;
}

/// Most nodes and handles that are remembered.
const KNOWN: usize = 200;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const EVIL: [&str; 14] = [
    "..",
    ".",
    "",
    "../secret",
    "../empty",
    "../new",
    "a/../../secret",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "/",
    "../full/file",
    "./a",
    "../link",
];
const EDGES: [u64; 14] = [
    0,
    1,
    4095,
    4096,
    4097,
    0x20_0000,
    (1 << 32) - 1,
    1 << 62,
    (1 << 63) - 4096,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 4096,
    u64::MAX - 1,
    u64::MAX,
];

/// A request before it is encoded.
pub(crate) struct Made {
    pub(crate) opcode: u32,
    pub(crate) node: u64,
    pub(crate) body: Vec<u8>,
}

/// What the guest knows, and where its choices come from.
pub(crate) struct Generator {
    pub(crate) rng: Rng,
    nodes: Vec<u64>,
    handles: Vec<(u64, u64)>,
}

#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_ne_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_ne_bytes());
        self
    }

    fn name(mut self, name: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Generator { rng: Rng::with_seed(seed), nodes: vec![1], handles: Vec::new() }
    }

    /// A new session: what was known is no more, though a hostile guest remembers some of it.
    pub(crate) fn forget(&mut self) {
        self.nodes.truncate(8);
        self.handles.truncate(8);
    }

    pub(crate) fn learn_node(&mut self, node: u64) {
        let at = self.rng.usize(1..KNOWN);
        match self.nodes.get_mut(at) {
            Some(known) => *known = node,
            None => self.nodes.push(node),
        }
    }

    pub(crate) fn learn_handle(&mut self, node: u64, handle: u64) {
        let at = self.rng.usize(..KNOWN);
        match self.handles.get_mut(at) {
            Some(known) => *known = (node, handle),
            None => self.handles.push((node, handle)),
        }
    }

    fn node(&mut self) -> u64 {
        match self.rng.u8(..100) {
            0..40 => 1,
            40..97 => self.nodes[self.rng.usize(..self.nodes.len())],
            97 => self.rng.u64(..1000),
            _ => EDGES[self.rng.usize(..EDGES.len())],
        }
    }

    fn handle(&mut self) -> (u64, u64) {
        match self.rng.u8(..100) {
            0..95 if !self.handles.is_empty() => self.handles[self.rng.usize(..self.handles.len())],
            _ => (self.node(), self.rng.u64(..200)),
        }
    }

    fn name(&mut self) -> &'static str {
        match self.rng.u8(..100) {
            0..85 => NAMES[self.rng.usize(..NAMES.len())],
            _ => EVIL[self.rng.usize(..EVIL.len())],
        }
    }

    /// A place in a file or a length: small, or beyond all bounds. Nothing between, which would fill the host's disk.
    fn offset(&mut self) -> u64 {
        match self.rng.u8(..100) {
            0..60 => self.rng.u64(..64) * 4096,
            60..90 => self.rng.u64(..0x4_0000),
            _ => match EDGES[self.rng.usize(..EDGES.len())] {
                edge @ 0x40_0000..0x4000_0000_0000_0000 => edge & 0xffff,
                edge => edge,
            },
        }
    }

    fn any(&mut self) -> u64 {
        match self.rng.u8(..4) {
            0 => EDGES[self.rng.usize(..EDGES.len())],
            _ => self.offset(),
        }
    }

    fn mode(&mut self) -> u32 {
        let kind = [libc::S_IFREG, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFCHR, libc::S_IFBLK, 0];
        let permissions = [0o644, 0o666, 0o666, 0o600, 0o666, 0o4755, 0o2755, 0o777, 0];
        kind[self.rng.usize(..kind.len())] | permissions[self.rng.usize(..permissions.len())]
    }

    fn flags(&mut self) -> u32 {
        let access = if self.rng.u8(..4) == 0 { self.rng.i32(..4) } else { libc::O_RDWR };
        let more = [
            0,
            0,
            0,
            0,
            0,
            0,
            libc::O_TRUNC,
            libc::O_TRUNC,
            libc::O_APPEND,
            libc::O_DIRECTORY,
            libc::O_NOFOLLOW,
            libc::O_PATH,
        ];
        let wild = if self.rng.u8(..50) == 0 { self.rng.i32(..) } else { 0 };
        (access | more[self.rng.usize(..more.len())] | wild).cast_unsigned()
    }

    /// The next request.
    pub(crate) fn make(&mut self) -> Made {
        let opcode = self.opcode();
        let mut node = self.node();
        let made = match opcode {
            14..=20 | 25 | 27..=30 | 43 | 44 | 46 | 47 => {
                let (owner, handle) = self.handle();
                if !matches!(opcode, opcode::OPEN | opcode::OPENDIR | 17) {
                    node = owner;
                }
                self.on_handle(opcode, handle)
            }
            3 | 4 | 21..=24 | 34 => self.on_attributes(opcode),
            // Without its root a session is over: that is tried now and then only.
            opcode::FORGET if node == 1 && self.rng.u8(..200) != 0 => {
                node = self.nodes[self.rng.usize(..self.nodes.len())].max(2);
                self.on_session(opcode)
            }
            opcode::FORGET | opcode::INIT | opcode::INTERRUPT | opcode::DESTROY | opcode::BATCH_FORGET | 48..=53 => {
                self.on_session(opcode)
            }
            _ => self.on_names(opcode),
        };
        Made { opcode, node, body: made.0 }
    }

    fn opcode(&mut self) -> u32 {
        // What ends or begins a session, or takes long on the host, is rare.
        match self.rng.u16(..4000) {
            0 => return opcode::DESTROY,
            1 => return opcode::INIT,
            2 => return 50,
            _ => {}
        }
        match self.rng.u16(..1000) {
            0..5 => self.rng.u32(..),
            5..200 => opcode::LOOKUP,
            200..330 => opcode::CREATE,
            330..400 => opcode::OPEN,
            400..520 => opcode::SETUPMAPPING,
            520..560 => 49,
            560..640 => 4,
            640..660 => opcode::OPENDIR,
            _ => match self.rng.u32(1..54) {
                opcode::INIT | opcode::DESTROY | 50 => opcode::LOOKUP,
                other => other,
            },
        }
    }

    fn on_names(&mut self, opcode: u32) -> Body {
        let (name, other) = (self.name(), self.name());
        match opcode {
            opcode::SYMLINK => Body::default().name(name).name(EVIL[self.rng.usize(..EVIL.len())]),
            opcode::MKNOD => {
                let (mode, rdev) = (self.mode(), self.rng.u32(..0x200));
                Body::default().u32(mode).u32(rdev).u32(0).u32(0).name(name)
            }
            opcode::MKDIR => Body::default().u32(0o755).u32(0).name(name),
            12 => Body::default().u64(self.node()).name(name).name(other),
            45 => Body::default().u64(self.node()).u32(self.rng.u32(..8)).u32(0).name(name).name(other),
            opcode::LINK => Body::default().u64(self.node()).name(name),
            opcode::CREATE => {
                let flags = self.flags();
                Body::default().u32(flags).u32(self.mode() & 0o7777).u32(0).u32(0).name(name)
            }
            _ => Body::default().name(name),
        }
    }

    fn on_handle(&mut self, opcode: u32, handle: u64) -> Body {
        match opcode {
            opcode::OPEN => Body::default().u32(self.flags()).u32(self.rng.u32(..4)),
            opcode::OPENDIR => Body::default().u32(0).u32(0),
            15 | 28 | 44 => {
                let size = self.rng.u32(..0x8000);
                Body::default().u64(handle).u64(self.any()).u32(size).u32(0).u64(0).u32(self.flags()).u32(0)
            }
            16 => {
                let len = self.rng.usize(..0x2000);
                let said = if self.rng.u8(..20) == 0 { self.rng.u32(..) } else { len as u32 };
                let body = Body::default().u64(handle).u64(self.offset()).u32(said).u32(self.rng.u32(..8)).u64(0);
                body.u32(self.flags()).u32(0).zeros(len)
            }
            17 => Body::default(),
            43 => {
                let mode = [0, 1, 3, 8, 0x10, 0x20, 0x28][self.rng.usize(..7)];
                Body::default().u64(handle).u64(self.offset()).u64(self.offset()).u32(mode).u32(0)
            }
            46 => Body::default().u64(handle).u64(self.any()).u32(self.rng.u32(..6)).u32(0),
            47 => {
                let (node, other) = self.handle();
                let body = Body::default().u64(handle).u64(self.offset()).u64(node).u64(other);
                body.u64(self.offset()).u64(self.offset()).u64(0)
            }
            _ => Body::default().u64(handle).u32(self.rng.u32(..4)).u32(self.rng.u32(..4)).u64(0),
        }
    }

    fn on_attributes(&mut self, opcode: u32) -> Body {
        match opcode {
            3 => Body::default().u32(self.rng.u32(..2)).u32(0).u64(self.rng.u64(..100)),
            4 => {
                let valid = if self.rng.bool() { 8 } else { self.rng.u32(..0x2000) };
                let handle = self.handle().1;
                let body = Body::default().u32(valid).u32(0).u64(handle).u64(self.offset()).u64(0);
                let body = body.u64(self.any()).u64(self.any()).u64(0).u32(self.rng.u32(..)).u32(0).u32(0);
                body.u32(self.mode()).u32(0).u32(self.rng.u32(..3)).u32(self.rng.u32(..3)).u32(0)
            }
            21 => {
                let len = self.rng.usize(..64);
                let names = ["user.a", "security.capability", "", "system.posix_acl_access", "trusted.x"];
                let name = names[self.rng.usize(..names.len())];
                Body::default().u32(len as u32).u32(self.rng.u32(..4)).name(name).zeros(len)
            }
            22 => Body::default().u32(self.rng.u32(..0x2_0000)).u32(0).name("user.a"),
            23 => Body::default().u32(self.rng.u32(..0x2_0000)).u32(0),
            24 => Body::default().name("user.a"),
            _ => Body::default().u32(self.rng.u32(..16)).u32(0),
        }
    }

    fn on_session(&mut self, opcode: u32) -> Body {
        match opcode {
            opcode::FORGET => Body::default().u64(if self.rng.bool() { 1 } else { self.any() }),
            opcode::BATCH_FORGET => {
                let count = self.rng.u32(..8);
                let said = if self.rng.u8(..10) == 0 { self.rng.u32(..) } else { count };
                let mut body = Body::default().u32(said).u32(0);
                for _ in 0..count {
                    body = body.u64(self.node().max(2)).u64(1);
                }
                body
            }
            opcode::INIT => {
                let minor = if self.rng.u8(..8) == 0 { self.rng.u32(..60) } else { 45 };
                let flags = if self.rng.bool() { 0x7fff_fffb } else { self.rng.u32(..) };
                Body::default().u32(7).u32(minor).u32(0x2_0000).u32(flags).u32(0x5fe).zeros(44)
            }
            opcode::SETUPMAPPING => {
                let len = [0x1000, 0x2000, 0x10_000, 0x20_0000, self.any()][self.rng.usize(..5)];
                let at = if self.rng.u8(..10) == 0 { self.any() } else { self.rng.u64(..512) * 0x1000 };
                let from = if self.rng.u8(..10) == 0 { self.any() } else { self.rng.u64(..8) * 0x1000 };
                Body::default().u64(u64::MAX).u64(from).u64(len).u64(self.rng.u64(..4)).u64(at)
            }
            49 => {
                let count = self.rng.u32(..6);
                let said = if self.rng.u8(..20) == 0 { self.rng.u32(..) } else { count };
                let mut body = Body::default().u32(said);
                for _ in 0..count {
                    let len = if self.rng.u8(..20) == 0 { self.any() } else { self.rng.u64(..64) * 0x1000 };
                    body = body.u64(self.rng.u64(..512) * 0x1000).u64(len);
                }
                body
            }
            51 => Body::default().u32(self.flags()).u32(self.mode()).u32(0).u32(0).name(self.name()),
            _ => Body::default().u64(self.any()).u64(self.any()),
        }
    }

    /// Spoils a request's bytes.
    pub(crate) fn spoil(&mut self, bytes: &mut Vec<u8>) {
        match self.rng.u8(..5) {
            0 => bytes.truncate(self.rng.usize(..=bytes.len())),
            1 => bytes.resize(bytes.len() + self.rng.usize(..64), 0),
            2 => {
                for _ in 0..self.rng.usize(1..8) {
                    let at = self.rng.usize(..bytes.len());
                    bytes[at] = self.rng.u8(..);
                }
            }
            3 => bytes[0..4].copy_from_slice(&self.rng.u32(..200).to_ne_bytes()),
            // The length that it says is right, and what it has is too little or too much.
            _ => {
                bytes.truncate(40 + self.rng.usize(..=bytes.len() - 40));
                let len = bytes.len() as u32;
                bytes[0..4].copy_from_slice(&len.to_ne_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a generator makes of a seed and of what it learns, in one line.
    fn made(seed: u64) -> Vec<(u32, u64, Vec<u8>)> {
        let mut generator = Generator::new(seed);
        (0..5000)
            .map(|step| {
                if step % 7 == 0 {
                    generator.learn_node(step);
                    generator.learn_handle(step, step / 7);
                }
                let Made { opcode, node, mut body } = generator.make();
                body.resize(body.len() + 40, 0);
                generator.spoil(&mut body);
                (opcode, node, body)
            })
            .collect()
    }

    #[test]
    fn a_seed_repeats_its_requests() {
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }
}
