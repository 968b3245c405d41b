//! The bytes on the medium: superblock, log header and log entries, in both directions.
//!
//! Everything here works on private copies of the records. Nothing is allocated.

mod crc;
mod entry;
mod extents;
mod format;
mod log;
mod path;
mod superblock;

pub use crate::uuid::{Uuid, UuidError};
pub use entry::{DeviceRecord, DirRecord, Entry, EntryBytes, FileRecord, MAX_ENTRY_LEN, Piece, RawMap, Record};
pub use extents::ExtentList;
pub use format::{DEFAULT_LOG_LEN, Format, LOG_HEADER_LEN, UNIT};
pub use log::LogHeader;
pub use path::{Path, PathField};
pub use superblock::{MAX_SUPERBLOCK_LEN, Superblock};
