//! What can be wrong with an image: each flaw has a name, a place and the numbers that were found.

use core::fmt;

use crate::uuid::Uuid;

/// Where on the medium something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The superblock.
    Superblock,
    /// The header of the log.
    Log,
    /// The log entry with this index.
    Entry(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => f.write_str("superblock"),
            Self::Log => f.write_str("log"),
            Self::Entry(index) => write!(f, "entry {index}"),
        }
    }
}

/// A flaw and its place; shown as `entry 3:map_past_device: extent 0 ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}:{}: {flaw}", flaw.name())]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub flaw: Flaw,
}

impl Finding {
    /// Whether it says that the memory holds no file system of a known format, rather than a damaged one.
    #[must_use]
    pub const fn is_unknown_format(&self) -> bool {
        matches!((self.place, self.flaw), (Place::Superblock, Flaw::Magic { .. } | Flaw::Version { .. }))
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Another magic number, or too few bytes to hold one.
    #[error("magic number {found:#x}")]
    Magic {
        /// The number found.
        found: u64,
    },
    /// A version that this crate does not know.
    #[error("version {found} is not 46, 47 or 48")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The memory ends inside the record, or inside the log.
    #[error("the memory ends at {have:#x}, before {need:#x}")]
    Truncated {
        /// The offset in bytes up to which memory is needed.
        need: u64,
        /// The length of the memory in bytes.
        have: u64,
    },
    /// The checksum is wrong.
    #[error("stored {stored:#x}, computed {computed:#x}")]
    Crc {
        /// The checksum on the medium.
        stored: u64,
        /// The checksum of the bytes on the medium.
        computed: u64,
    },
    /// An allocation unit other than 2 MiB and 4096 bytes.
    #[error("an allocation unit of {found:#x} bytes")]
    AllocUnit {
        /// The unit found, in bytes.
        found: u64,
    },
    /// An on-media format other than 2.
    #[error("on-media format {major}.{minor}, not 2")]
    Omf {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// The log is not at a multiple of 2 MiB behind the superblock, has no room for an entry, or does not fit in the
    /// device.
    #[error("a log of {log_len:#x} bytes at {log_offset:#x} on a device of {device_len:#x}")]
    Bounds {
        /// Where the log begins, in bytes.
        log_offset: u64,
        /// Its length in bytes.
        log_len: u64,
        /// The device's length in bytes.
        device_len: u64,
    },
    /// The log's length is not the one that the superblock has.
    #[error("{found:#x} bytes, but {expected:#x} in the superblock")]
    Len {
        /// The length in the log's header, in bytes.
        found: u64,
        /// The length in the superblock, in bytes.
        expected: u64,
    },
    /// The log's last index belongs to entries of another size.
    #[error("{found}, but entries of this format make it {expected}")]
    LastIndex {
        /// The index found.
        found: u64,
        /// The index that the format has for a log of this length.
        expected: u64,
    },
    /// The log's two counters differ: an append is under way, or was interrupted.
    #[error("{seqnum}, while the next index is {index}")]
    NextSeqnum {
        /// The next sequence number.
        seqnum: u64,
        /// The next index.
        index: u64,
    },
    /// The log counts more entries than it has slots.
    #[error("{found}, but the log has {slots} slots")]
    NextIndex {
        /// The next index found.
        found: u64,
        /// How many slots there are.
        slots: u64,
    },
    /// An entry's sequence number is not its index.
    #[error("{found}, not {expected}")]
    Seqnum {
        /// The number found.
        found: u64,
        /// The entry's index.
        expected: u64,
    },
    /// An entry of unknown type, or of one without a payload.
    #[error("{found}")]
    Type {
        /// The type found.
        found: u32,
    },
    /// A path that names no file of this file system.
    #[error(transparent)]
    Path(#[from] PathFlaw),
    /// A map that cannot be a file's.
    #[error(transparent)]
    Map(#[from] MapFlaw),
}

impl Flaw {
    /// The name by which tools know the flaw.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Magic { .. } => "magic",
            Self::Version { .. } => "version",
            Self::Truncated { .. } => "truncated",
            Self::Crc { .. } => "crc",
            Self::AllocUnit { .. } => "alloc_unit",
            Self::Omf { .. } => "omf",
            Self::Bounds { .. } => "bounds",
            Self::Len { .. } => "len",
            Self::LastIndex { .. } => "last_index",
            Self::NextSeqnum { .. } => "next_seqnum",
            Self::NextIndex { .. } => "next_index",
            Self::Seqnum { .. } => "seqnum",
            Self::Type { .. } => "type",
            Self::Path(flaw) => flaw.name(),
            Self::Map(flaw) => flaw.name(),
        }
    }
}

/// Why a path names no file of this file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFlaw {
    /// More than 79 bytes, or 80 without a NUL.
    #[error("no NUL in 80 bytes")]
    Unterminated,
    /// No byte.
    #[error("an empty path")]
    Empty,
    /// It begins with a slash.
    #[error("an absolute path")]
    Absolute,
    /// One of its components is `..`.
    #[error("a component is ..")]
    DotDot,
    /// One of its components is `.`, or empty.
    #[error("a component is . or empty")]
    Component,
    /// It is below `.meta`, which belongs to the file system.
    #[error(".meta belongs to the file system")]
    Reserved,
    /// There is no such directory for it to be in.
    #[error("no such parent directory")]
    Parent,
    /// There is a file or directory of this name already.
    #[error("the name is taken")]
    Exists,
}

impl PathFlaw {
    const fn name(self) -> &'static str {
        match self {
            Self::Unterminated => "path_unterminated",
            Self::Empty => "path_empty",
            Self::Absolute => "path_absolute",
            Self::DotDot => "path_dotdot",
            Self::Component => "path_component",
            Self::Reserved => "path_reserved",
            Self::Parent => "path_parent",
            Self::Exists => "path_exists",
        }
    }
}

/// Why a map cannot be a file's. `index` is the extent's or strip's number in the map; offsets and lengths are in
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are those of the extent, as the type's documentation says")]
#[non_exhaustive]
pub enum MapFlaw {
    /// An unknown type of map or extent.
    #[error("type {found}")]
    Type { found: u32 },
    /// An interleaved map that is not exactly one.
    #[error("{found} interleaved maps")]
    Niext { found: u32 },
    /// No extent.
    #[error("no extents")]
    NoExtents,
    /// More extents or strips than the format has room for.
    #[error("{count} extents, at most {max} fit")]
    TooMany { count: u64, max: usize },
    /// An interleave chunk that is 0, not a power of two, or not a multiple of 2 MiB.
    #[error("a chunk of {chunk:#x} bytes")]
    Chunk { chunk: u64 },
    /// An extent without bytes.
    #[error("extent {index} has no bytes")]
    Empty { index: usize },
    /// An extent's offset or length is not a multiple of the allocation unit.
    #[error("extent {index}: {len:#x} bytes at {offset:#x}, in units of {unit:#x}")]
    Unaligned { index: usize, offset: u64, len: u64, unit: u64 },
    /// An extent begins in superblock or log.
    #[error("extent {index} begins at {offset:#x}, before the log's end at {reserved:#x}")]
    Reserved { index: usize, offset: u64, reserved: u64 },
    /// An extent's end does not fit in 64 bits.
    #[error("extent {index}: {len:#x} bytes at {offset:#x} end past 64 bits")]
    Overflow { index: usize, offset: u64, len: u64 },
    /// An extent is on a device that is not there.
    #[error("extent {index} is on device {device}")]
    Device { index: usize, device: u64 },
    /// An extent reaches past the end of its device.
    #[error("extent {index}: {len:#x} bytes at {offset:#x} reach past the device's {device_len:#x}")]
    PastDevice { index: usize, offset: u64, len: u64, device_len: u64 },
    /// Two extents of the file share bytes.
    #[error("extents {first} and {index} overlap")]
    OverlapSelf { index: usize, first: usize },
    /// An extent shares bytes with an earlier file.
    #[error("extent {index} overlaps the file of entry {entry}")]
    OverlapFile { index: usize, entry: u64 },
    /// The extents hold less than the file's size.
    #[error("the extents hold {capacity:#x} bytes of the file's {size:#x}")]
    TooShort { capacity: u64, size: u64 },
}

impl MapFlaw {
    const fn name(self) -> &'static str {
        match self {
            Self::Type { .. } => "map_type",
            Self::Niext { .. } => "map_niext",
            Self::NoExtents => "map_no_extents",
            Self::TooMany { .. } => "map_too_many",
            Self::Chunk { .. } => "map_chunk",
            Self::Empty { .. } => "map_empty",
            Self::Unaligned { .. } => "map_unaligned",
            Self::Reserved { .. } => "map_reserved",
            Self::Overflow { .. } => "map_overflow",
            Self::Device { .. } => "map_device",
            Self::PastDevice { .. } => "map_past_device",
            Self::OverlapSelf { .. } => "map_overlap_self",
            Self::OverlapFile { .. } => "map_overlap_file",
            Self::TooShort { .. } => "map_too_short",
        }
    }
}

/// What is unusual and no error; shown as `entry 3:padding not zero`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where.
    pub place: Place,
    /// What.
    pub note: Note,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Entry(index) => write!(f, "entry {index}:{}", self.note),
            Place::Superblock | Place::Log => write!(f, "{}", self.note),
        }
    }
}

/// What is unusual and no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The on-media format's minor number is not the one that belongs to the version.
    OmfMinor {
        /// The number found.
        found: u32,
    },
    /// The superblock has flags that are not covered by its checksum and mean nothing here.
    SuperblockFlags {
        /// The flags found.
        found: u32,
    },
    /// The file system was made by another host: this one is a client.
    ForeignSystem {
        /// The host that made it.
        system: Uuid,
    },
    /// A file has flags beyond the two that are known.
    FileFlags {
        /// The flags found.
        found: u32,
    },
    /// A mode has bits (setuid, setgid, sticky) that are not taken over.
    ModeBits {
        /// The mode found.
        mode: u32,
    },
    /// Bytes that writers leave 0 are not 0, or a path has bytes after its NUL.
    Padding,
    /// A directory that exists already.
    DirectoryAgain,
    /// A file of 0 bytes.
    SizeZero,
    /// An access record of version 46, which nobody writes and which is not taken over.
    Access,
    /// Another device belongs to the file system.
    AddDevice {
        /// The index that maps know it by.
        index: u32,
        /// Its size in bytes.
        size: u64,
        /// Its identity.
        uuid: Uuid,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OmfMinor { found } => write!(f, "omf_minor: {found}"),
            Self::SuperblockFlags { found } => write!(f, "sb_flags: {found:#x}"),
            Self::ForeignSystem { system } => write!(f, "made by the host {system}: a client here"),
            Self::FileFlags { found } => write!(f, "unknown flags {found:#x}"),
            Self::ModeBits { mode } => write!(f, "mode bits dropped: {mode:o}"),
            Self::Padding => f.write_str("padding not zero"),
            Self::DirectoryAgain => f.write_str("directory again"),
            Self::SizeZero => f.write_str("a file of 0 bytes"),
            Self::Access => f.write_str("access record ignored"),
            Self::AddDevice { index, size, uuid } => write!(f, "device {index} added: {size} bytes, {uuid}"),
        }
    }
}
