//! Making a file system.

use fs_dax::{DeviceOffset, SharedMemory};

use crate::layout::{DEFAULT_LOG_LEN, Format, LogHeader, MAX_SUPERBLOCK_LEN, Superblock, UNIT, Uuid};
use crate::replay::{forget, read_superblock};

/// What a file system is made with.
#[derive(Clone, Copy, Debug)]
pub struct FormatOptions {
    /// The format to write.
    pub format: Format,
    /// The identity of the file system.
    pub uuid: Uuid,
    /// The identity of the device; version 46 has none.
    pub device_uuid: Uuid,
    /// The identity of this host, which becomes the master.
    pub system_uuid: Uuid,
    /// The name of the device, cut to 64 bytes; for people only.
    pub device_name: [u8; 64],
    /// The device's length in bytes: all of the memory, or less.
    pub device_len: u64,
    /// The log's length in bytes.
    pub log_len: u64,
    /// The unit in which files are allocated, in bytes: 2 MiB, or 4096 from version 48 on.
    pub alloc_unit: u64,
    /// Whether to overwrite a file system that is there.
    pub force: bool,
}

impl FormatOptions {
    /// The newest format with a log of 8 MiB, in units of 2 MiB, over a device of `device_len` bytes; an existing file
    /// system is kept.
    #[must_use]
    pub const fn new(uuid: Uuid, device_uuid: Uuid, system_uuid: Uuid, device_len: u64) -> Self {
        Self {
            format: Format::V48,
            uuid,
            device_uuid,
            system_uuid,
            device_name: [0; 64],
            device_len,
            log_len: DEFAULT_LOG_LEN,
            alloc_unit: UNIT,
            force: false,
        }
    }

    fn superblock(&self) -> Superblock {
        Superblock {
            format: self.format,
            log_offset: UNIT,
            log_len: self.log_len,
            alloc_unit: self.alloc_unit,
            omf_minor: self.format.omf_minor().unwrap_or(0),
            uuid: self.uuid,
            device_uuid: match self.format {
                Format::V46 => Uuid::default(),
                Format::V47 | Format::V48 => self.device_uuid,
            },
            system_uuid: self.system_uuid,
            flags: 0,
            device_len: self.device_len,
            device_name: self.device_name,
        }
    }
}

/// Why no file system was made. Not one byte has changed, except after [`FormatError::Memory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// There is a file system already.
    #[error("the memory holds the file system {uuid}")]
    Exists {
        /// Its identity; 0 if its superblock is damaged.
        uuid: Uuid,
    },
    /// The log leaves no room, or the numbers make no file system.
    #[error(
        "a log of {log_len:#x} bytes in units of {alloc_unit:#x} on a device of {device_len:#x}, {memory_len:#x} of them here"
    )]
    Geometry {
        /// The log's length in bytes.
        log_len: u64,
        /// The allocation unit in bytes.
        alloc_unit: u64,
        /// The device's length in bytes.
        device_len: u64,
        /// The memory's length in bytes.
        memory_len: u64,
    },
    /// The memory cannot be stored to.
    #[error("the memory is read-only")]
    ReadOnly,
    /// An access to the memory failed.
    #[error(transparent)]
    Memory(#[from] fs_dax::Error),
}

/// Makes an empty file system. Whoever follows the one that was there sees it go before anything else changes, and the
/// new one is there only once it is whole.
///
/// # Errors
/// A [`FormatError`].
pub fn format<M: SharedMemory + ?Sized>(memory: &M, options: &FormatOptions) -> Result<Superblock, FormatError> {
    let superblock = options.superblock();
    let bytes = superblock.encode();
    let FormatOptions { log_len, alloc_unit, device_len, .. } = *options;
    let memory_len = memory.len();
    let geometry = FormatError::Geometry { log_len, alloc_unit, device_len, memory_len };
    // The rules of a reader are the rules of a writer.
    let checked = Superblock::parse(&bytes, memory_len).map_err(|_| geometry)?;
    let unit_fits = checked.format != Format::V46 || alloc_unit == UNIT;
    let data_fits = log_len.is_multiple_of(UNIT) && device_len >= checked.log_end() + UNIT;
    if device_len > memory_len || !unit_fits || !data_fits {
        return Err(geometry);
    }
    if !memory.is_writable() {
        return Err(FormatError::ReadOnly);
    }
    forget(memory, 0, MAX_SUPERBLOCK_LEN)?;
    if !options.force {
        match read_superblock(memory) {
            Ok(there) => return Err(FormatError::Exists { uuid: there.uuid }),
            Err(finding) if !finding.is_unknown_format() => {
                return Err(FormatError::Exists { uuid: Uuid::default() });
            }
            Err(_) => {}
        }
    }
    store(memory, 0, &[0; MAX_SUPERBLOCK_LEN])?;
    // From the front: the header of the old log goes before its entries do.
    let zeros = [0; 4096];
    for at in (superblock.log_offset..superblock.log_end()).step_by(zeros.len()) {
        store(memory, at, &zeros)?;
    }
    store(memory, superblock.log_offset, &LogHeader::encode_empty(&superblock))?;
    store(memory, 0, &bytes[..options.format.superblock_len()])?;
    Ok(superblock)
}

/// Stores, and has the stores reach the memory before anything that follows.
#[inline(never)]
fn store<M: SharedMemory + ?Sized>(memory: &M, offset: u64, bytes: &[u8]) -> Result<(), fs_dax::Error> {
    memory.write(DeviceOffset(offset), bytes)?;
    memory.write_back(DeviceOffset(offset), bytes.len() as u64)?;
    memory.fence();
    Ok(())
}
