//! The entries of the log.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::{check_crc, crc};
use super::extents::MAX_EXTENTS;
use super::format::Format;
use super::path::PathField;
use crate::Flaw;
use crate::uuid::Uuid;

/// Length in bytes of the longest entry.
pub const MAX_ENTRY_LEN: usize = Format::V48.entry_len();
const HEAD_LEN: usize = size_of::<RawHead>();

/// The bytes of an entry; version 46 uses only some of them.
pub type EntryBytes = [u8; MAX_ENTRY_LEN];

const TYPE_FILE: u32 = 0;
const TYPE_MKDIR: u32 = 1;
/// In version 46 only; from 47 on, 2 is a deletion, which has no payload and no producer.
const TYPE_ACCESS_46: u32 = 2;
const TYPE_ADD_DEVICE: u32 = 3;

const MAP_SIMPLE: u32 = 0;
const MAP_INTERLEAVED: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHead {
    seqnum: U64,
    kind: U32,
    padding: U32,
}

/// Owner, permissions and path: of a directory all there is.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOwned {
    uid: U32,
    gid: U32,
    mode: U32,
    path: [u8; 80],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtent46 {
    kind: U32,
    padding: U32,
    offset: U64,
    len: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFile46 {
    size: U64,
    extent_count: U32,
    flags: U32,
    owned: RawOwned,
    padding: U32,
    extents: [RawExtent46; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtent48 {
    device: U64,
    offset: U64,
    len: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFile48 {
    size: U64,
    flags: U32,
    owned: RawOwned,
    map_kind: U32,
    padding: U32,
    /// The number of extents, or of interleaved maps.
    count: U32,
    padding_2: U32,
    map: [u8; 400],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSimple48 {
    extents: [RawExtent48; MAX_EXTENTS],
    unused: [u8; 16],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawInterleaved48 {
    strip_count: U64,
    chunk: U64,
    strips: [RawExtent48; MAX_EXTENTS],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAddDevice {
    size: U64,
    uuid: [u8; 16],
    index: U32,
}

const _: () = assert!(size_of::<RawFile46>() == Format::V46.entry_len() - HEAD_LEN - 8);
const _: () = assert!(size_of::<RawFile48>() == Format::V48.entry_len() - HEAD_LEN - 8);

/// An extent or strip as it stands on the medium: not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Piece {
    /// Which device.
    pub device: u64,
    /// Where on it, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// A map as it stands on the medium: not checked. The counts may exceed the number of pieces there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawMap {
    /// Extents, one after the other.
    Simple {
        /// How many there are said to be.
        count: u32,
        /// As many as the format has room for.
        extents: [Piece; MAX_EXTENTS],
    },
    /// Strips that take turns.
    Interleaved {
        /// How many interleaved maps there are said to be.
        maps: u32,
        /// How many strips there are said to be.
        count: u64,
        /// The bytes of one turn.
        chunk: u64,
        /// As many as the format has room for.
        strips: [Piece; MAX_EXTENTS],
    },
    /// A map, or one of its extents, of unknown type.
    Unknown {
        /// The type.
        kind: u32,
    },
}

/// The record of a file. Path and map are not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Size in bytes.
    pub size: u64,
    /// 1: all hosts read only; 2: all hosts read and write.
    pub flags: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Permissions, and what else writers put there.
    pub mode: u32,
    /// The path.
    pub path: PathField,
    /// The map.
    pub map: RawMap,
}

/// The record of a directory. The path is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirRecord {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Permissions, and what else writers put there.
    pub mode: u32,
    /// The path.
    pub path: PathField,
}

/// The record of another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its size in bytes.
    pub size: u64,
    /// Its identity.
    pub uuid: Uuid,
    /// The index that maps know it by.
    pub index: u32,
}

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one entry at a time")]
pub enum Record {
    /// A file was made.
    File(FileRecord),
    /// A directory was made.
    Mkdir(DirRecord),
    /// A device was added.
    AddDevice(DeviceRecord),
    /// Access rights of version 46; ignored.
    Access,
}

/// An entry with a right checksum, sequence number and known type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index in the log, and sequence number.
    pub index: u64,
    /// What it records, or the [`Flaw::Type`] for which it is skipped.
    pub record: Result<Record, Flaw>,
}

impl Entry {
    /// Checks the entry in `bytes`, a private copy of [`Format::entry_len`] bytes.
    ///
    /// # Errors
    /// What ends replay: [`Flaw::Crc`], [`Flaw::Seqnum`].
    pub fn parse(format: Format, index: u64, bytes: &[u8]) -> Result<Self, Flaw> {
        let truncated = Flaw::Truncated { need: format.entry_len() as u64, have: bytes.len() as u64 };
        let bytes = bytes.get(..format.entry_len()).ok_or(truncated)?;
        let (covered, stored) = bytes.split_at(bytes.len() - 8);
        let stored = U64::read_from_bytes(stored).map_err(|_| truncated)?;
        check_crc(covered, stored.get())?;
        let (head, body) = RawHead::ref_from_prefix(covered).map_err(|_| truncated)?;
        if head.seqnum.get() != index {
            return Err(Flaw::Seqnum { found: head.seqnum.get(), expected: index });
        }
        Ok(Self { index, record: Record::parse(format, head.kind.get(), body) })
    }
}

impl Record {
    fn parse(format: Format, kind: u32, body: &[u8]) -> Result<Self, Flaw> {
        let unknown = Flaw::Type { found: kind };
        match (format, kind) {
            (Format::V46, TYPE_FILE) => {
                RawFile46::ref_from_bytes(body).map(|raw| Self::File(raw.record())).map_err(|_| unknown)
            }
            (_, TYPE_FILE) => RawFile48::ref_from_bytes(body).map(|raw| Self::File(raw.record())).map_err(|_| unknown),
            (_, TYPE_MKDIR) => {
                RawOwned::ref_from_prefix(body).map(|(raw, _)| Self::Mkdir(raw.dir_record())).map_err(|_| unknown)
            }
            (Format::V46, TYPE_ACCESS_46) => Ok(Self::Access),
            (Format::V47 | Format::V48, TYPE_ADD_DEVICE) => {
                RawAddDevice::ref_from_prefix(body).map(|(raw, _)| Self::AddDevice(raw.record())).map_err(|_| unknown)
            }
            _ => Err(unknown),
        }
    }

    /// Whether bytes of the entry that this record was parsed from should be 0 and are not.
    #[cfg(feature = "alloc")]
    pub(crate) fn has_garbage(&self, format: Format, index: u64, bytes: &EntryBytes) -> bool {
        let covered = format.entry_len() - 8;
        self.encode_covered(format, index).is_some_and(|clean| clean[..covered] != bytes[..covered])
    }

    /// The entry's bytes on the medium, checksum included; [`Format::entry_len`] of them count. `None` for a record
    /// that the format cannot hold: an interleaved map or a device in version 46, and an access record.
    #[must_use]
    pub fn encode(&self, format: Format, index: u64) -> Option<EntryBytes> {
        let mut bytes = self.encode_covered(format, index)?;
        let end = format.entry_len() - 8;
        let crc = crc(&bytes[..end]);
        bytes[end..end + 8].copy_from_slice(&crc.to_le_bytes());
        Some(bytes)
    }

    /// What the checksum covers.
    fn encode_covered(&self, format: Format, index: u64) -> Option<EntryBytes> {
        let mut bytes = [0; MAX_ENTRY_LEN];
        let end = format.entry_len() - 8;
        let body = &mut bytes[HEAD_LEN..end];
        let kind = match (self, format) {
            (Self::File(record), Format::V46) => {
                body.copy_from_slice(RawFile46::from_record(record)?.as_bytes());
                TYPE_FILE
            }
            (Self::File(record), Format::V47 | Format::V48) => {
                body.copy_from_slice(RawFile48::from_record(record)?.as_bytes());
                TYPE_FILE
            }
            (Self::Mkdir(record), _) => {
                let DirRecord { uid, gid, mode, path } = record;
                let raw = RawOwned::new(*uid, *gid, *mode, path);
                body[..size_of::<RawOwned>()].copy_from_slice(raw.as_bytes());
                TYPE_MKDIR
            }
            (Self::AddDevice(record), Format::V47 | Format::V48) => {
                body[..size_of::<RawAddDevice>()].copy_from_slice(RawAddDevice::from_record(record).as_bytes());
                TYPE_ADD_DEVICE
            }
            (Self::AddDevice(_), Format::V46) | (Self::Access, _) => return None,
        };
        let head = RawHead { seqnum: index.into(), kind: kind.into(), padding: U32::ZERO };
        bytes[..HEAD_LEN].copy_from_slice(head.as_bytes());
        Some(bytes)
    }
}

impl RawFile46 {
    fn record(&self) -> FileRecord {
        let count = self.extent_count.get();
        let used = self.extents.iter().take(usize::try_from(count).unwrap_or(usize::MAX));
        let map = match used.map(|extent| extent.kind.get()).find(|kind| *kind != MAP_SIMPLE) {
            Some(kind) => RawMap::Unknown { kind },
            None => RawMap::Simple { count, extents: RawExtent46::pieces(&self.extents) },
        };
        self.owned.file_record(self.size, self.flags, map)
    }

    fn from_record(record: &FileRecord) -> Option<Self> {
        let RawMap::Simple { count, extents } = record.map else { return None };
        let mut raw = Self::new_zeroed();
        RawExtent46::fill(&mut raw.extents, &extents, u64::from(count));
        raw.size = record.size.into();
        raw.extent_count = count.into();
        raw.flags = record.flags.into();
        raw.owned = RawOwned::new(record.uid, record.gid, record.mode, &record.path);
        Some(raw)
    }
}

impl RawFile48 {
    fn record(&self) -> FileRecord {
        self.owned.file_record(self.size, self.flags, self.map())
    }

    fn map(&self) -> RawMap {
        match self.map_kind.get() {
            MAP_SIMPLE => {
                let raw: &RawSimple48 = zerocopy::transmute_ref!(&self.map);
                RawMap::Simple { count: self.count.get(), extents: RawExtent48::pieces(&raw.extents) }
            }
            MAP_INTERLEAVED => {
                let raw: &RawInterleaved48 = zerocopy::transmute_ref!(&self.map);
                RawMap::Interleaved {
                    maps: self.count.get(),
                    count: raw.strip_count.get(),
                    chunk: raw.chunk.get(),
                    strips: RawExtent48::pieces(&raw.strips),
                }
            }
            kind => RawMap::Unknown { kind },
        }
    }

    fn from_record(record: &FileRecord) -> Option<Self> {
        let mut raw = Self::new_zeroed();
        match &record.map {
            RawMap::Simple { count, extents } => {
                raw.count = (*count).into();
                let mut map = RawSimple48::new_zeroed();
                RawExtent48::fill(&mut map.extents, extents, u64::from(*count));
                raw.map = zerocopy::transmute!(map);
            }
            RawMap::Interleaved { maps, count, chunk, strips } => {
                raw.map_kind = MAP_INTERLEAVED.into();
                raw.count = (*maps).into();
                let mut map = RawInterleaved48::new_zeroed();
                map.strip_count = (*count).into();
                map.chunk = (*chunk).into();
                RawExtent48::fill(&mut map.strips, strips, *count);
                raw.map = zerocopy::transmute!(map);
            }
            RawMap::Unknown { .. } => return None,
        }
        raw.size = record.size.into();
        raw.flags = record.flags.into();
        raw.owned = RawOwned::new(record.uid, record.gid, record.mode, &record.path);
        Some(raw)
    }
}

// Out of line, and so as loops: unrolled at each use they would be most of the crate's code.
impl RawExtent46 {
    #[inline(never)]
    fn pieces(raw: &[Self]) -> [Piece; MAX_EXTENTS] {
        let mut pieces = [Piece::default(); MAX_EXTENTS];
        for (piece, raw) in pieces.iter_mut().zip(raw) {
            *piece = Piece { device: 0, offset: raw.offset.get(), len: raw.len.get() };
        }
        pieces
    }

    #[inline(never)]
    fn fill(raw: &mut [Self], pieces: &[Piece], count: u64) {
        for (slot, piece) in raw.iter_mut().zip(pieces).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            *slot = Self { kind: U32::ZERO, padding: U32::ZERO, offset: piece.offset.into(), len: piece.len.into() };
        }
    }
}

// As above.
impl RawExtent48 {
    #[inline(never)]
    fn pieces(raw: &[Self]) -> [Piece; MAX_EXTENTS] {
        let mut pieces = [Piece::default(); MAX_EXTENTS];
        for (piece, raw) in pieces.iter_mut().zip(raw) {
            *piece = Piece { device: raw.device.get(), offset: raw.offset.get(), len: raw.len.get() };
        }
        pieces
    }

    #[inline(never)]
    fn fill(raw: &mut [Self], pieces: &[Piece], count: u64) {
        for (slot, piece) in raw.iter_mut().zip(pieces).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            *slot = Self { device: piece.device.into(), offset: piece.offset.into(), len: piece.len.into() };
        }
    }
}

impl RawOwned {
    fn file_record(&self, size: U64, flags: U32, map: RawMap) -> FileRecord {
        let DirRecord { uid, gid, mode, path } = self.dir_record();
        FileRecord { size: size.get(), flags: flags.get(), uid, gid, mode, path, map }
    }

    fn dir_record(&self) -> DirRecord {
        DirRecord { uid: self.uid.get(), gid: self.gid.get(), mode: self.mode.get(), path: PathField(self.path) }
    }

    fn new(uid: u32, gid: u32, mode: u32, path: &PathField) -> Self {
        let mut path = path.0;
        clean_path(&mut path);
        Self { uid: uid.into(), gid: gid.into(), mode: mode.into(), path }
    }
}

impl RawAddDevice {
    fn record(&self) -> DeviceRecord {
        DeviceRecord { size: self.size.get(), uuid: Uuid(self.uuid), index: self.index.get() }
    }

    fn from_record(record: &DeviceRecord) -> Self {
        Self { size: record.size.into(), uuid: record.uuid.0, index: record.index.into() }
    }
}

/// Clears what follows the NUL.
fn clean_path(path: &mut [u8; 80]) {
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    path[end..].fill(0);
}
