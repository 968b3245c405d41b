//! What only the master does: the host that the superblock names.

mod alloc;
mod append;
mod format;

pub use self::alloc::{Interleave, Room};
pub use append::AppendError;
pub(crate) use append::{append, read_counters, settle};
pub use format::{FormatError, FormatOptions, format};
