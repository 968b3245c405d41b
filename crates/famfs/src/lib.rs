//! Files on memory that several hosts share: the famfs media formats, followed, mounted and written.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod check;
mod flaw;
pub mod layout;
mod map;
#[cfg(feature = "alloc")]
mod master;
mod memory;
mod replay;
#[cfg(feature = "alloc")]
mod tree;

#[cfg(feature = "alloc")]
pub use check::{Checked, Event, check};
pub use flaw::{Finding, Flaw, MapFlaw, Note, PathFlaw, Place, Remark};
pub use map::MapContext;
#[cfg(feature = "alloc")]
pub use master::{AppendError, FormatError, FormatOptions, Interleave, Room, format};
pub use memory::SharedMemory;
pub use replay::{Entries, Log};
#[cfg(feature = "alloc")]
pub use tree::{Applied, FileNode, Kind, Node, NodeId, Tree};
