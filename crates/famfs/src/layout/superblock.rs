//! The superblock, at the beginning of the first device.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::{check_crc, crc};
use super::format::{Format, LOG_HEADER_LEN, UNIT};
use crate::uuid::Uuid;
use crate::{Flaw, Note};

const MAGIC: u64 = 0x87b2_82ff;
const OMF_MAJOR: u32 = 2;
/// The superblock's flag that says that it is the first device's.
const FLAG_PRIMARY: u32 = 1;

/// Length in bytes of the longest superblock.
pub const MAX_SUPERBLOCK_LEN: usize = size_of::<Raw48>();

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDevice {
    size: U64,
    uuid: [u8; 16],
    name: [u8; 64],
}

/// What all versions begin with.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHead {
    magic: U64,
    version: U64,
    log_offset: U64,
    log_len: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw46 {
    head: RawHead,
    uuid: [u8; 16],
    system_uuid: [u8; 16],
    crc: U64,
    devices: U32,
    flags: U32,
    device: RawDevice,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw48 {
    head: RawHead,
    alloc_unit: U64,
    omf_major: U32,
    omf_minor: U32,
    uuid: [u8; 16],
    device_uuid: [u8; 16],
    system_uuid: [u8; 16],
    crc: U64,
    flags: U32,
    padding: U32,
    device: RawDevice,
}

const _: () = assert!(size_of::<Raw46>() == Format::V46.superblock_len());
const _: () = assert!(size_of::<Raw48>() == Format::V48.superblock_len());

/// How many bytes the checksum covers.
const COVERED_46: usize = 64;
const COVERED_48: usize = 96;

/// A superblock with numbers that were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The format.
    pub format: Format,
    /// Where the log begins on the first device, in bytes.
    pub log_offset: u64,
    /// The log's length in bytes.
    pub log_len: u64,
    /// The unit in which files are allocated, in bytes: 2 MiB or 4096.
    pub alloc_unit: u64,
    /// The minor number of the on-media format; 0 in version 46.
    pub omf_minor: u32,
    /// The identity of the file system.
    pub uuid: Uuid,
    /// The identity of the first device; 0 in version 46.
    pub device_uuid: Uuid,
    /// The identity of the host that made the file system: its master.
    pub system_uuid: Uuid,
    /// Flags, which the checksum does not cover.
    pub flags: u32,
    /// The first device's size in bytes, which the checksum does not cover.
    pub device_len: u64,
    /// The first device's name on the host that made the file system: 64 bytes, ended by a NUL if there is one.
    pub device_name: [u8; 64],
}

impl Superblock {
    /// Checks the superblock in `bytes`, the beginning of the device's `memory_len` bytes.
    ///
    /// # Errors
    /// The first [`Flaw`], in this order: magic, version, truncated, crc, alloc_unit, omf, bounds.
    pub fn parse(bytes: &[u8], memory_len: u64) -> Result<Self, Flaw> {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes);
        let found = number(0).unwrap_or(0);
        if found != MAGIC {
            return Err(Flaw::Magic { found });
        }
        let found = number(8).ok_or(Flaw::Truncated { need: 16, have: memory_len })?;
        let format = Format::from_version(found).ok_or(Flaw::Version { found })?;
        let truncated = Flaw::Truncated { need: format.superblock_len() as u64, have: memory_len };
        let superblock = match format {
            Format::V46 => Self::from_46(bytes).ok_or(truncated)??,
            Format::V47 | Format::V48 => Self::from_48(format, bytes).ok_or(truncated)??,
        };
        superblock.check_bounds()?;
        Ok(superblock)
    }

    fn from_46(bytes: &[u8]) -> Option<Result<Self, Flaw>> {
        let (raw, _) = Raw46::ref_from_prefix(bytes).ok()?;
        if let Err(flaw) = check_crc(&bytes[..COVERED_46], raw.crc.get()) {
            return Some(Err(flaw));
        }
        Some(Ok(Self {
            format: Format::V46,
            log_offset: raw.head.log_offset.get(),
            log_len: raw.head.log_len.get(),
            alloc_unit: UNIT,
            omf_minor: 0,
            uuid: Uuid(raw.uuid),
            device_uuid: Uuid::default(),
            system_uuid: Uuid(raw.system_uuid),
            flags: raw.flags.get(),
            device_len: raw.device.size.get(),
            device_name: raw.device.name,
        }))
    }

    fn from_48(format: Format, bytes: &[u8]) -> Option<Result<Self, Flaw>> {
        let (raw, _) = Raw48::ref_from_prefix(bytes).ok()?;
        Some(check_48(raw, &bytes[..COVERED_48]).map(|()| Self {
            format,
            log_offset: raw.head.log_offset.get(),
            log_len: raw.head.log_len.get(),
            alloc_unit: raw.alloc_unit.get(),
            omf_minor: raw.omf_minor.get(),
            uuid: Uuid(raw.uuid),
            device_uuid: Uuid(raw.device_uuid),
            system_uuid: Uuid(raw.system_uuid),
            flags: raw.flags.get(),
            device_len: raw.device.size.get(),
            device_name: raw.device.name,
        }))
    }

    fn check_bounds(&self) -> Result<(), Flaw> {
        let Self { log_offset, log_len, device_len, .. } = *self;
        let fits = log_offset.checked_add(log_len).is_some_and(|end| end <= device_len);
        if log_offset < UNIT || !log_offset.is_multiple_of(UNIT) || self.slots() == 0 || !fits {
            return Err(Flaw::Bounds { log_offset, log_len, device_len });
        }
        Ok(())
    }

    /// Where the log ends and data may begin, in bytes.
    #[must_use]
    pub const fn log_end(&self) -> u64 {
        // The sum was checked when the superblock was parsed.
        self.log_offset.saturating_add(self.log_len)
    }

    /// How many entries the log has room for.
    #[must_use]
    pub const fn slots(&self) -> u64 {
        self.format.slots(self.log_len)
    }

    /// Where the entry with this index begins on the device, in bytes; `index` is less than [`slots`](Self::slots).
    #[must_use]
    pub const fn entry_offset(&self, index: u64) -> u64 {
        self.log_offset + LOG_HEADER_LEN as u64 + index * self.format.entry_len() as u64
    }

    /// Whether this is the superblock of the same file system as `other`: everything that the checksum covers is equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let covered = |sb: &Self| Self { flags: 0, device_len: 0, device_name: [0; 64], ..*sb };
        covered(self) == covered(other)
    }

    /// What is unusual about it.
    pub fn notes(&self) -> impl Iterator<Item = Note> + use<> {
        let minor = self.format.omf_minor().filter(|expected| *expected != self.omf_minor).map(|_| self.omf_minor);
        let flags = Some(self.flags).filter(|flags| flags & !FLAG_PRIMARY != 0);
        let minor = minor.map(|found| Note::OmfMinor { found });
        minor.into_iter().chain(flags.map(|found| Note::SuperblockFlags { found }))
    }

    /// The bytes on the medium, in a buffer that is longer than version 46 needs: [`Format::superblock_len`] bytes
    /// count. What mkfs leaves as it was (device identity, padding) is 0.
    #[must_use]
    pub fn encode(&self) -> [u8; MAX_SUPERBLOCK_LEN] {
        let mut bytes = [0; MAX_SUPERBLOCK_LEN];
        let head = RawHead {
            magic: MAGIC.into(),
            version: self.format.version().into(),
            log_offset: self.log_offset.into(),
            log_len: self.log_len.into(),
        };
        let device = RawDevice { size: self.device_len.into(), uuid: [0; 16], name: self.device_name };
        match self.format {
            Format::V46 => {
                let mut raw = Raw46 {
                    head,
                    uuid: self.uuid.0,
                    system_uuid: self.system_uuid.0,
                    crc: U64::ZERO,
                    devices: 1.into(),
                    flags: self.flags.into(),
                    device,
                };
                raw.crc = crc(&raw.as_bytes()[..COVERED_46]).into();
                bytes[..size_of::<Raw46>()].copy_from_slice(raw.as_bytes());
            }
            Format::V47 | Format::V48 => {
                let mut raw = Raw48 {
                    head,
                    alloc_unit: self.alloc_unit.into(),
                    omf_major: OMF_MAJOR.into(),
                    omf_minor: self.omf_minor.into(),
                    uuid: self.uuid.0,
                    device_uuid: self.device_uuid.0,
                    system_uuid: self.system_uuid.0,
                    crc: U64::ZERO,
                    flags: self.flags.into(),
                    padding: U32::ZERO,
                    device,
                };
                raw.crc = crc(&raw.as_bytes()[..COVERED_48]).into();
                bytes.copy_from_slice(raw.as_bytes());
            }
        }
        bytes
    }
}

fn check_48(raw: &Raw48, covered: &[u8]) -> Result<(), Flaw> {
    check_crc(covered, raw.crc.get())?;
    let found = raw.alloc_unit.get();
    if found != UNIT && found != 4096 {
        return Err(Flaw::AllocUnit { found });
    }
    if raw.omf_major.get() != OMF_MAJOR {
        return Err(Flaw::Omf { major: raw.omf_major.get(), minor: raw.omf_minor.get() });
    }
    Ok(())
}
