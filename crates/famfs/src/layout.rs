//! The bytes on the medium: superblock, log header and log entries, in both directions.
//!
//! Everything here works on private copies of the records. Nothing is allocated.

mod entry;
mod extents;
mod format;
mod log;
mod path;
mod superblock;
mod uuid;

pub use entry::{DeviceRecord, DirRecord, Entry, EntryBytes, FileRecord, MAX_ENTRY_LEN, Piece, RawMap, Record};
pub use extents::ExtentList;
pub use format::{DEFAULT_LOG_LEN, Format, UNIT};
pub use log::{LOG_HEADER_LEN, LogHeader};
pub use path::{Path, PathField};
pub use superblock::{MAX_SUPERBLOCK_LEN, Superblock};
pub use uuid::{Uuid, UuidError};

/// The CRC-32 that zlib computes, as the media stores it: in 64 bits, the upper half 0.
fn crc(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes))
}
