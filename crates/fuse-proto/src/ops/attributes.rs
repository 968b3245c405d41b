//! `GETATTR`, `SETATTR`, `STATX`.

use core::time::Duration;

use crate::{
    AttrReply, DecodeError, EncodeError, FileHandle, GetattrFlags, LockOwner, Message, NodeId, Opcode, Operation,
    Protocol, ReplyBody, ReplyMessage, SetattrValid, StatxMask, Timestamp, attr,
    parse::{Input, ParseRequest},
    raw::{self, Layout},
};

impl ReplyBody for AttrReply {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed_prefix(self.to_raw()?, Self::size(protocol))
    }
}

/// Reads an inode's attributes.
///
/// Since 7.1; has a body of 16 bytes since 7.9. Reply: [`AttrReply`], 104 bytes (96 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Getattr {
    /// The inode.
    pub node: NodeId,
    /// An open file of the inode, through which to ask (7.9).
    pub fh: Option<FileHandle>,
}

impl Operation for Getattr {
    const OPCODE: Opcode = Opcode::GETATTR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        if protocol.minor() < 9 {
            return Ok(());
        }
        let flags = if self.fh.is_some() { GetattrFlags::FH } else { GetattrFlags::empty() };
        message.fixed(raw::GetattrIn { getattr_flags: flags.bits(), dummy: 0, fh: self.fh.unwrap_or_default().0 })
    }

    sized_reply!(AttrReply, AttrReply::read);
}

impl<'a> ParseRequest<'a> for Getattr {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::GetattrIn = input.compat(9, 0)?;
        let with_handle = GetattrFlags::from_bits_retain(raw.getattr_flags).contains(GetattrFlags::FH);
        Ok(Self { node: input.node(), fh: with_handle.then_some(FileHandle(raw.fh)) })
    }
}

/// Changes an inode's attributes: those that [`valid`](Self::valid) names. Cutting a file or growing it is this request.
///
/// Make one with [`Setattr::new`] and the methods that set a field and say so in `valid`.
///
/// Since 7.1; `fh` since 7.3, `lock_owner` and times of the server's since 7.9, `ctime` since 7.23. Reply:
/// [`AttrReply`], 104 bytes (96 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setattr {
    /// The inode.
    pub node: NodeId,
    /// Which of the other fields count.
    pub valid: SetattrValid,
    /// An open file of the inode, through which to change it.
    pub fh: FileHandle,
    /// New size in bytes.
    pub size: u64,
    /// Who holds the locks that may stand against cutting the file.
    pub lock_owner: LockOwner,
    /// New time of access.
    pub atime: Timestamp,
    /// New time of modification.
    pub mtime: Timestamp,
    /// New time of change, from clients that own the times.
    pub ctime: Timestamp,
    /// New type and permissions; the type must be the old one.
    pub mode: u32,
    /// New owner.
    pub uid: u32,
    /// New group.
    pub gid: u32,
}

impl Setattr {
    /// A change of nothing.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, ..Self::default() }
    }

    /// Through this open file.
    #[must_use]
    pub const fn fh(mut self, fh: FileHandle) -> Self {
        self.fh = fh;
        self.with(SetattrValid::FH)
    }

    /// A new size in bytes.
    #[must_use]
    pub const fn size(mut self, size: u64) -> Self {
        self.size = size;
        self.with(SetattrValid::SIZE)
    }

    /// The owner of the locks.
    #[must_use]
    pub const fn lock_owner(mut self, owner: LockOwner) -> Self {
        self.lock_owner = owner;
        self.with(SetattrValid::LOCKOWNER)
    }

    /// A new mode.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self.with(SetattrValid::MODE)
    }

    /// A new owner.
    #[must_use]
    pub const fn uid(mut self, uid: u32) -> Self {
        self.uid = uid;
        self.with(SetattrValid::UID)
    }

    /// A new group.
    #[must_use]
    pub const fn gid(mut self, gid: u32) -> Self {
        self.gid = gid;
        self.with(SetattrValid::GID)
    }

    /// A new time of access.
    #[must_use]
    pub const fn atime(mut self, time: Timestamp) -> Self {
        self.atime = time;
        self.with(SetattrValid::ATIME)
    }

    /// A new time of access: the server's present.
    #[must_use]
    pub const fn atime_now(self) -> Self {
        self.with(SetattrValid::ATIME).with(SetattrValid::ATIME_NOW)
    }

    /// A new time of modification.
    #[must_use]
    pub const fn mtime(mut self, time: Timestamp) -> Self {
        self.mtime = time;
        self.with(SetattrValid::MTIME)
    }

    /// A new time of modification: the server's present.
    #[must_use]
    pub const fn mtime_now(self) -> Self {
        self.with(SetattrValid::MTIME).with(SetattrValid::MTIME_NOW)
    }

    /// A new time of change.
    #[must_use]
    pub const fn ctime(mut self, time: Timestamp) -> Self {
        self.ctime = time;
        self.with(SetattrValid::CTIME)
    }

    /// Says that more counts.
    #[must_use]
    pub const fn with(mut self, valid: SetattrValid) -> Self {
        self.valid = self.valid.union(valid);
        self
    }
}

impl Operation for Setattr {
    const OPCODE: Opcode = Opcode::SETATTR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        for (time, flag, field) in [
            (self.atime, SetattrValid::ATIME, "fuse_setattr_in.atimensec"),
            (self.mtime, SetattrValid::MTIME, "fuse_setattr_in.mtimensec"),
            (self.ctime, SetattrValid::CTIME, "fuse_setattr_in.ctimensec"),
        ] {
            if self.valid.contains(flag) {
                time.check(field)?;
            }
        }
        message.fixed(raw::SetattrIn {
            valid: self.valid.bits(),
            padding: 0,
            fh: self.fh.0,
            size: self.size,
            lock_owner: self.lock_owner.0,
            atime: self.atime.wire_secs(),
            mtime: self.mtime.wire_secs(),
            ctime: self.ctime.wire_secs(),
            atimensec: self.atime.nanos,
            mtimensec: self.mtime.nanos,
            ctimensec: self.ctime.nanos,
            mode: self.mode,
            unused4: 0,
            uid: self.uid,
            gid: self.gid,
            unused5: 0,
        })
    }

    sized_reply!(AttrReply, AttrReply::read);
}

impl<'a> ParseRequest<'a> for Setattr {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::SetattrIn = input.fixed()?;
        let valid = SetattrValid::from_bits_retain(raw.valid);
        let time = |flag, field, secs: u64, nanos| {
            if valid.contains(flag) {
                Timestamp::from_wire(field, secs, nanos)
            } else {
                // It does not count, so it may be anything.
                Ok(Timestamp { secs: secs as i64, nanos })
            }
        };
        Ok(Self {
            node: input.node(),
            valid,
            fh: FileHandle(raw.fh),
            size: raw.size,
            lock_owner: LockOwner(raw.lock_owner),
            atime: time(SetattrValid::ATIME, "fuse_setattr_in.atimensec", raw.atime, raw.atimensec)?,
            mtime: time(SetattrValid::MTIME, "fuse_setattr_in.mtimensec", raw.mtime, raw.mtimensec)?,
            ctime: time(SetattrValid::CTIME, "fuse_setattr_in.ctimensec", raw.ctime, raw.ctimensec)?,
            mode: raw.mode,
            uid: raw.uid,
            gid: raw.gid,
        })
    }
}

/// Reads an inode's attributes in the form of `statx`, the time of birth among them.
///
/// Since 7.39. Reply: [`StatxReply`], 288 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statx {
    /// The inode.
    pub node: NodeId,
    /// An open file of the inode, through which to ask.
    pub fh: Option<FileHandle>,
    /// Linux's `AT_STATX_*`: how fresh the answer has to be.
    pub sx_flags: u32,
    /// Which fields are wanted.
    pub sx_mask: StatxMask,
}

impl Operation for Statx {
    const OPCODE: Opcode = Opcode::STATX;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let flags = if self.fh.is_some() { GetattrFlags::FH } else { GetattrFlags::empty() };
        message.fixed(raw::StatxIn {
            getattr_flags: flags.bits(),
            reserved: 0,
            fh: self.fh.unwrap_or_default().0,
            sx_flags: self.sx_flags,
            sx_mask: self.sx_mask.bits(),
        })
    }

    sized_reply!(StatxReply, StatxReply::read);
}

impl<'a> ParseRequest<'a> for Statx {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::StatxIn = input.fixed()?;
        let with_handle = GetattrFlags::from_bits_retain(raw.getattr_flags).contains(GetattrFlags::FH);
        Ok(Self {
            node: input.node(),
            fh: with_handle.then_some(FileHandle(raw.fh)),
            sx_flags: raw.sx_flags,
            sx_mask: StatxMask::from_bits_retain(raw.sx_mask),
        })
    }
}

/// The times in a [`StatxReply`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatxTimes {
    /// Last read.
    pub atime: Timestamp,
    /// Birth.
    pub btime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
}

/// An inode's attributes in the form of `statx` (`fuse_statx_out`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatxReply {
    /// How long the attributes may be cached.
    pub attr_valid: Duration,
    /// Flags of the reply; none are defined.
    pub flags: u32,
    /// Which fields are there.
    pub mask: StatxMask,
    /// Size for efficient I/O in bytes.
    pub blksize: u32,
    /// Linux's `STATX_ATTR_*`.
    pub attributes: u64,
    /// Which of the attributes the server knows.
    pub attributes_mask: u64,
    /// Names that the inode has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u16,
    /// The inode's number, as programs see it.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Times.
    pub times: StatxTimes,
    /// For devices: major and minor number.
    pub rdev: (u32, u32),
    /// The device that the file system is on: major and minor number.
    pub dev: (u32, u32),
}

impl StatxReply {
    /// Size in bytes.
    #[must_use]
    pub const fn size(_: &Protocol) -> usize {
        size_of::<raw::StatxOut>()
    }

    fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (raw, rest) = raw::StatxOut::read_prefix(protocol.byte_order(), bytes)?;
        let stat = &raw.stat;
        let time = |field, time: &raw::SxTime| Timestamp::from_wire(field, time.tv_sec as u64, time.tv_nsec);
        let mask = StatxMask::from_bits_retain(stat.mask);
        if mask.contains(StatxMask::TYPE) && crate::FileType::from_mode(stat.mode.into()).is_none() {
            return Err(DecodeError::Field { field: "fuse_statx.mode", value: stat.mode.into() });
        }
        if mask.contains(StatxMask::SIZE) && stat.size > i64::MAX as u64 {
            return Err(DecodeError::Field { field: "fuse_statx.size", value: stat.size });
        }
        let reply = Self {
            attr_valid: attr::validity("fuse_statx_out.attr_valid_nsec", raw.attr_valid, raw.attr_valid_nsec)?,
            flags: raw.flags,
            mask,
            blksize: stat.blksize,
            attributes: stat.attributes,
            attributes_mask: stat.attributes_mask,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            mode: stat.mode,
            ino: stat.ino,
            size: stat.size,
            blocks: stat.blocks,
            times: StatxTimes {
                atime: time("fuse_statx.atime.tv_nsec", &stat.atime)?,
                btime: time("fuse_statx.btime.tv_nsec", &stat.btime)?,
                ctime: time("fuse_statx.ctime.tv_nsec", &stat.ctime)?,
                mtime: time("fuse_statx.mtime.tv_nsec", &stat.mtime)?,
            },
            rdev: (stat.rdev_major, stat.rdev_minor),
            dev: (stat.dev_major, stat.dev_minor),
        };
        Ok((reply, rest))
    }
}

impl ReplyBody for StatxReply {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        let time = |field, time: Timestamp| {
            time.check(field).map(|time| raw::SxTime { tv_sec: time.secs, tv_nsec: time.nanos, reserved: 0 })
        };
        reply.fixed(raw::StatxOut {
            attr_valid: self.attr_valid.as_secs(),
            attr_valid_nsec: self.attr_valid.subsec_nanos(),
            flags: self.flags,
            spare: [0; 2],
            stat: raw::Statx {
                mask: self.mask.bits(),
                blksize: self.blksize,
                attributes: self.attributes,
                nlink: self.nlink,
                uid: self.uid,
                gid: self.gid,
                mode: self.mode,
                spare0: [0],
                ino: self.ino,
                size: self.size,
                blocks: self.blocks,
                attributes_mask: self.attributes_mask,
                atime: time("fuse_statx.atime.tv_nsec", self.times.atime)?,
                btime: time("fuse_statx.btime.tv_nsec", self.times.btime)?,
                ctime: time("fuse_statx.ctime.tv_nsec", self.times.ctime)?,
                mtime: time("fuse_statx.mtime.tv_nsec", self.times.mtime)?,
                rdev_major: self.rdev.0,
                rdev_minor: self.rdev.1,
                dev_major: self.dev.0,
                dev_minor: self.dev.1,
                spare2: [0; 14],
            },
        })
    }
}
