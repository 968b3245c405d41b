//! Attributes of inodes, and entries of directories.

use core::time::Duration;

use crate::{AttrFlags, ByteOrder, DecodeError, EncodeError, NodeId, Protocol, raw, raw::Layout};

const NANOS_PER_SEC: u32 = 1_000_000_000;

/// A point in time: seconds since 1970, which can be before it, and nanoseconds (below 1 000 000 000) after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since the start of 1970 UTC.
    pub secs: i64,
    /// Nanoseconds since then, 0 to 999 999 999.
    pub nanos: u32,
}

impl Timestamp {
    /// The time with these seconds and nanoseconds.
    #[must_use]
    pub const fn new(secs: i64, nanos: u32) -> Self {
        Self { secs, nanos }
    }

    pub(crate) fn from_wire(field: &'static str, secs: u64, nanos: u32) -> Result<Self, DecodeError> {
        check_nanos(field, nanos)?;
        // The wire has the bits of a signed number in an unsigned field.
        Ok(Self { secs: secs as i64, nanos })
    }

    pub(crate) const fn wire_secs(self) -> u64 {
        self.secs as u64
    }

    pub(crate) fn check(self, field: &'static str) -> Result<Self, EncodeError> {
        if self.nanos < NANOS_PER_SEC { Ok(self) } else { Err(EncodeError::Field { field, value: self.nanos.into() }) }
    }
}

fn check_nanos(field: &'static str, nanos: u32) -> Result<(), DecodeError> {
    if nanos < NANOS_PER_SEC { Ok(()) } else { Err(DecodeError::Field { field, value: nanos.into() }) }
}

/// Reads how long something may be cached.
pub(crate) fn validity(field: &'static str, secs: u64, nanos: u32) -> Result<Duration, DecodeError> {
    check_nanos(field, nanos)?;
    Ok(Duration::new(secs, nanos))
}

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A pipe with a name.
    Fifo,
    /// A character device.
    CharDevice,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket with a name.
    Socket,
}

impl FileType {
    /// The bits of a mode that say the type (`S_IFMT`).
    pub const MASK: u32 = 0o170_000;

    /// The type in a mode (`st_mode`); `None` if its bits say none.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Self::from_dirent(mode >> 12 & 0o17)
    }

    /// The type in `fuse_dirent.type` (Linux's `DT_*`, the mode's bits shifted right by 12); `None` for zero, which
    /// says "not known", and for numbers without meaning.
    #[must_use]
    pub const fn from_dirent(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::Fifo,
            2 => Self::CharDevice,
            4 => Self::Directory,
            6 => Self::BlockDevice,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }

    /// The number in `fuse_dirent.type`.
    #[must_use]
    pub const fn to_dirent(self) -> u32 {
        match self {
            Self::Fifo => 1,
            Self::CharDevice => 2,
            Self::Directory => 4,
            Self::BlockDevice => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }

    /// The type's bits in a mode, without permissions.
    #[must_use]
    pub const fn to_mode(self) -> u32 {
        self.to_dirent() << 12
    }
}

/// An inode's attributes (`fuse_attr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attr {
    /// The inode's number, as programs see it; not the [`NodeId`].
    pub ino: u64,
    /// Size in bytes, at most `i64::MAX`.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Names that the inode has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For devices, which one: Linux's new 32-bit encoding.
    pub rdev: u32,
    /// Size for efficient I/O in bytes; zero before 7.9.
    pub blksize: u32,
    /// Flags; none before 7.32.
    pub flags: AttrFlags,
}

impl Attr {
    /// What kind of file it is; `None` if the mode says none, which only a negative [`Entry`] can.
    #[must_use]
    pub const fn file_type(&self) -> Option<FileType> {
        FileType::from_mode(self.mode)
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        matches!(self.file_type(), Some(FileType::Directory))
    }

    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self.file_type(), Some(FileType::Regular))
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        matches!(self.file_type(), Some(FileType::Symlink))
    }

    /// The permissions, with set-user-id, set-group-id and sticky: the lowest 12 bits of the mode.
    #[must_use]
    pub const fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Whether the server wants DAX for this inode ([`AttrFlags::DAX`]).
    #[must_use]
    pub const fn wants_dax(&self) -> bool {
        self.flags.contains(AttrFlags::DAX)
    }

    /// Whether another file system of the host's begins here ([`AttrFlags::SUBMOUNT`]).
    #[must_use]
    pub const fn is_submount(&self) -> bool {
        self.flags.contains(AttrFlags::SUBMOUNT)
    }

    fn from_raw(raw: &raw::Attr) -> Result<Self, DecodeError> {
        Ok(Self {
            ino: raw.ino,
            size: raw.size,
            blocks: raw.blocks,
            atime: Timestamp::from_wire("fuse_attr.atimensec", raw.atime, raw.atimensec)?,
            mtime: Timestamp::from_wire("fuse_attr.mtimensec", raw.mtime, raw.mtimensec)?,
            ctime: Timestamp::from_wire("fuse_attr.ctimensec", raw.ctime, raw.ctimensec)?,
            mode: raw.mode,
            nlink: raw.nlink,
            uid: raw.uid,
            gid: raw.gid,
            rdev: raw.rdev,
            blksize: raw.blksize,
            flags: AttrFlags::from_bits_retain(raw.flags),
        })
    }

    /// Checks what every existing inode has: a known type, and a size that a file offset can reach.
    fn check_inode(&self) -> Result<(), DecodeError> {
        if self.file_type().is_none() {
            return Err(DecodeError::Field { field: "fuse_attr.mode", value: self.mode.into() });
        }
        if self.size > i64::MAX as u64 {
            return Err(DecodeError::Field { field: "fuse_attr.size", value: self.size });
        }
        Ok(())
    }

    fn to_raw(self) -> Result<raw::Attr, EncodeError> {
        let (atime, mtime, ctime) = (
            self.atime.check("fuse_attr.atimensec")?,
            self.mtime.check("fuse_attr.mtimensec")?,
            self.ctime.check("fuse_attr.ctimensec")?,
        );
        Ok(raw::Attr {
            ino: self.ino,
            size: self.size,
            blocks: self.blocks,
            atime: atime.wire_secs(),
            mtime: mtime.wire_secs(),
            ctime: ctime.wire_secs(),
            atimensec: atime.nanos,
            mtimensec: mtime.nanos,
            ctimensec: ctime.nanos,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            blksize: self.blksize,
            flags: self.flags.bits(),
        })
    }
}

/// Attributes and how long they may be cached (`fuse_attr_out`): the reply of `GETATTR` and `SETATTR`. 104 bytes; 96
/// before 7.9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttrReply {
    /// How long the attributes may be cached.
    pub attr_valid: Duration,
    /// The attributes.
    pub attr: Attr,
}

impl AttrReply {
    /// Size in bytes in this version of the protocol.
    #[must_use]
    pub const fn size(protocol: &Protocol) -> usize {
        if protocol.minor() < 9 { 96 } else { size_of::<raw::AttrOut>() }
    }

    pub(crate) fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (raw, rest) = raw::AttrOut::read_compat(protocol.byte_order(), bytes, Self::size(protocol))?;
        let attr = Attr::from_raw(&raw.attr)?;
        attr.check_inode()?;
        let attr_valid = validity("fuse_attr_out.attr_valid_nsec", raw.attr_valid, raw.attr_valid_nsec)?;
        Ok((Self { attr_valid, attr }, rest))
    }

    pub(crate) fn to_raw(self) -> Result<raw::AttrOut, EncodeError> {
        Ok(raw::AttrOut {
            attr_valid: self.attr_valid.as_secs(),
            attr_valid_nsec: self.attr_valid.subsec_nanos(),
            dummy: 0,
            attr: self.attr.to_raw()?,
        })
    }
}

/// What a name stands for (`fuse_entry_out`): the reply of `LOOKUP` and of everything that makes a name. 128 bytes; 120
/// before 7.9.
///
/// Each one takes a reference on the inode, which the client gives back with `FORGET`, unless it is
/// [negative](Self::is_negative).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The inode; [`NodeId::NONE`] in a negative entry.
    pub node: NodeId,
    /// Tells inodes apart that had the same `node` at different times.
    pub generation: u64,
    /// How long the name may be cached.
    pub entry_valid: Duration,
    /// How long the attributes may be cached.
    pub attr_valid: Duration,
    /// The attributes; without meaning in a negative entry.
    pub attr: Attr,
}

impl Entry {
    /// Whether the entry says that there is no such name, which may be cached for `entry_valid`.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.node.0 == NodeId::NONE.0
    }

    /// Size in bytes in this version of the protocol.
    #[must_use]
    pub const fn size(protocol: &Protocol) -> usize {
        if protocol.minor() < 9 { 120 } else { size_of::<raw::EntryOut>() }
    }

    pub(crate) fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (raw, rest) = raw::EntryOut::read_compat(protocol.byte_order(), bytes, Self::size(protocol))?;
        Ok((Self::from_raw(&raw)?, rest))
    }

    /// Reads an entry that was just made: it cannot be negative, nor the root.
    pub(crate) fn read_new<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (entry, rest) = Self::read(protocol, bytes)?;
        if entry.node == NodeId::NONE || entry.node == NodeId::ROOT {
            return Err(DecodeError::Field { field: "fuse_entry_out.nodeid", value: entry.node.0 });
        }
        Ok((entry, rest))
    }

    pub(crate) fn from_raw(raw: &raw::EntryOut) -> Result<Self, DecodeError> {
        let entry = Self {
            node: NodeId(raw.nodeid),
            generation: raw.generation,
            entry_valid: validity("fuse_entry_out.entry_valid_nsec", raw.entry_valid, raw.entry_valid_nsec)?,
            attr_valid: validity("fuse_entry_out.attr_valid_nsec", raw.attr_valid, raw.attr_valid_nsec)?,
            attr: Attr::from_raw(&raw.attr)?,
        };
        if !entry.is_negative() {
            entry.attr.check_inode()?;
        }
        Ok(entry)
    }

    pub(crate) fn to_raw(self) -> Result<raw::EntryOut, EncodeError> {
        Ok(raw::EntryOut {
            nodeid: self.node.0,
            generation: self.generation,
            entry_valid: self.entry_valid.as_secs(),
            attr_valid: self.attr_valid.as_secs(),
            entry_valid_nsec: self.entry_valid.subsec_nanos(),
            attr_valid_nsec: self.attr_valid.subsec_nanos(),
            attr: self.attr.to_raw()?,
        })
    }
}

/// Reads a structure that must fill `bytes` to the end.
pub(crate) fn read_exact<T: Layout>(order: ByteOrder, bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = T::read_prefix(order, bytes)?;
    no_more(T::NAME, rest)?;
    Ok(value)
}

/// Checks that nothing is left.
pub(crate) fn no_more(what: &'static str, rest: &[u8]) -> Result<(), DecodeError> {
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { what, extra: rest.len() as u64 }) }
}
