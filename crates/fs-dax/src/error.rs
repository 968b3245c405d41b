//! What can go wrong, each with the numbers that explain it.

use crate::{DeviceOffset, Errno, FileRange, MapError, OwnerId};

/// An error of this crate. [`Error::errno`] gives the number a system call or FUSE-like border would return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rules for a file map are broken.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A direct access named a negative offset.
    #[error("direct access at negative offset {offset}")]
    NegativeOffset {
        /// The offset, in bytes.
        offset: i64,
    },
    /// A direct access named a negative size.
    #[error("direct access of negative size {size}")]
    NegativeSize {
        /// The size, in bytes.
        size: i64,
    },
    /// A number that must be a multiple of `align` is not.
    #[error("{value:#x} is not a multiple of {align:#x}")]
    Unaligned {
        /// The number, in bytes.
        value: u64,
        /// What it must be a multiple of, in bytes.
        align: u64,
    },
    /// A direct access begins where the device has nothing.
    #[error("nothing at {offset}: the device has {len:#x} bytes")]
    NothingThere {
        /// Where.
        offset: DeviceOffset,
        /// Length of the device or partition in bytes.
        len: u64,
    },
    /// A device answered a direct access with an address that is not page-aligned, or that passes the end of 64 bits.
    #[error("the device's answer for {offset} is unusable")]
    BadAnswer {
        /// Where.
        offset: DeviceOffset,
    },
    /// A partition is empty or reaches past the end of what it is a part of.
    #[error("partition of {len:#x} bytes at {start} does not fit a device of {device_len:#x} bytes")]
    PartitionBounds {
        /// Its first byte.
        start: DeviceOffset,
        /// Its length in bytes.
        len: u64,
        /// Length of the device or partition it is cut from, in bytes.
        device_len: u64,
    },
    /// An access reaches past the end of a window.
    #[error("{len:#x} bytes at {offset} reach past the window's {window_len:#x} bytes")]
    OutOfWindow {
        /// Where.
        offset: DeviceOffset,
        /// How many bytes.
        len: u64,
        /// Length of the window in bytes.
        window_len: u64,
    },
    /// The end of a range does not fit in 64 bits.
    #[error("{len:#x} bytes at {start:#x} end past 64 bits")]
    RangeOverflow {
        /// The first byte.
        start: u64,
        /// The length in bytes.
        len: u64,
    },
    /// Page sizes that are no powers of two, or a huge one that is not larger than the base one.
    #[error("page sizes {base:#x} and {huge:#x} are not two rising powers of two")]
    PageSizes {
        /// The base size in bytes.
        base: u64,
        /// The huge size in bytes.
        huge: u64,
    },
    /// The device or file is marked failed, and stays so.
    #[error("marked failed: {errno}")]
    Failed {
        /// What it was marked with.
        errno: Errno,
    },
    /// The device belongs to somebody.
    #[error("the device belongs to {holder}")]
    Owned {
        /// To whom.
        holder: OwnerId,
    },
    /// A release by somebody who is not the owner.
    #[error("{claimant} does not own the device")]
    NotOwner {
        /// Who tried.
        claimant: OwnerId,
        /// Who owns it, if anybody does.
        holder: Option<OwnerId>,
    },
    /// The type bits of mapping flags are neither shared nor private nor shared-validate.
    #[error("mapping flags {flags:#x} have no known type")]
    MapType {
        /// All the flags.
        flags: u32,
    },
    /// Mapping flags that this file does not support.
    #[error("mapping flags {unsupported:#x} are not supported for this file")]
    UnsupportedFlags {
        /// Only the flags that are not supported.
        unsupported: u32,
    },
    /// The platform, as the embedder described it, cannot do this with the window's memory.
    #[error("the platform does not allow {0} of window memory")]
    Platform(crate::Capability),
    /// Pages are damaged.
    #[error("{bytes:?} is damaged")]
    Damaged {
        /// The first bytes of those asked for that are.
        bytes: FileRange,
    },
    /// There is no place for another run of damaged pages.
    #[error("no place for more than {places} runs of damaged pages")]
    DamageFull {
        /// How many there are.
        places: usize,
    },
    /// A store to memory that is mapped for loads only.
    #[error("the memory is mapped for loads only")]
    ReadOnly,
    /// A second map was given to a file that has one.
    #[error("the file has a map already")]
    MapExists,
    /// A file was used before it got a map.
    #[error("the file has no map")]
    NoMap,
    /// The size of a mapped file is no longer the one its map was made for.
    #[error("the file's size became {found}, its map is for {expected}")]
    SizeChanged {
        /// The size the map was made for, in bytes.
        expected: u64,
        /// The size found, in bytes.
        found: u64,
    },
    /// Another writeback of the same inode has not been finished.
    #[error("another writeback of this inode is not finished")]
    WritebackInFlight,
    /// A writeback ticket that was abandoned, or that is another inode's.
    #[error("this writeback is not the one in flight")]
    StaleWriteback,
    /// Bytes to be marked dirty are not all in the range of the bitmap.
    #[error("{marked:?} is not inside {covered:?}")]
    OutsideRange {
        /// The bytes to be marked.
        marked: FileRange,
        /// The bytes that the bitmap covers.
        covered: FileRange,
    },
    /// A mapping's dirty bitmap has too few bits for its length.
    #[error("{words} words cannot hold the extents of {len:#x} bytes")]
    BitmapTooSmall {
        /// Words of 64 bits given.
        words: usize,
        /// Bytes to keep track of.
        len: u64,
    },
    /// The embedder did not get the pins of a range released.
    #[error("pins are still held: {errno}")]
    Pinned {
        /// What the embedder said.
        errno: Errno,
    },
}

impl Error {
    /// The error number that stands for this error.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Map(error) => error.errno(),
            Self::NothingThere { .. } => Errno::ERANGE,
            Self::Failed { errno } | Self::Pinned { errno } => *errno,
            Self::Owned { .. } | Self::WritebackInFlight => Errno::EBUSY,
            Self::NotOwner { .. } => Errno::EPERM,
            Self::UnsupportedFlags { .. } | Self::Platform(_) => Errno::EOPNOTSUPP,
            Self::DamageFull { .. } => Errno::ENOSPC,
            Self::ReadOnly => Errno::EROFS,
            Self::MapExists => Errno::EEXIST,
            Self::NoMap | Self::BadAnswer { .. } | Self::Damaged { .. } => Errno::EIO,
            Self::SizeChanged { .. } => Errno::ENXIO,
            Self::NegativeOffset { .. }
            | Self::NegativeSize { .. }
            | Self::Unaligned { .. }
            | Self::PartitionBounds { .. }
            | Self::OutOfWindow { .. }
            | Self::RangeOverflow { .. }
            | Self::PageSizes { .. }
            | Self::MapType { .. }
            | Self::StaleWriteback
            | Self::OutsideRange { .. }
            | Self::BitmapTooSmall { .. } => Errno::EINVAL,
        }
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        error.errno()
    }
}

impl From<MapError> for Errno {
    fn from(error: MapError) -> Self {
        error.errno()
    }
}
