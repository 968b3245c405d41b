//! What only the master does: the host whose identity the superblock carries.

mod alloc;
mod append;
mod format;

pub use self::alloc::{Interleave, Room};
pub use append::AppendError;
pub(crate) use append::{append, read_counters, settle};
pub use format::{FormatError, FormatOptions, format};
