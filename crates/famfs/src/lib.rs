//! Files on memory that several hosts share: the famfs media formats, followed, mounted and written.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod flaw;
pub mod layout;
mod map;
mod replay;
mod uuid;

pub use flaw::{Finding, Flaw, MapFlaw, Note, PathFlaw, Place, Remark};
pub use map::MapContext;
pub use replay::{Entries, Log};

/// What needs a heap.
macro_rules! with_alloc {
    ($($item:item)*) => { $(#[cfg(feature = "alloc")] $item)* };
}

with_alloc! {
    mod check;
    mod coherence;
    mod create;
    mod error;
    mod failure;
    mod file;
    mod follow;
    mod master;
    mod mount;
    mod ownership;
    mod stat;
    mod state;
    mod tree;
    mod view;

    pub use check::{Checked, Event, check};
    pub use coherence::Coherence;
    pub use create::{NewFile, Owner, Placement};
    pub use error::Error;
    pub use file::File;
    pub use follow::Followed;
    pub use master::{AppendError, FormatError, FormatOptions, Interleave, Room, format};
    pub use mount::MountOptions;
    pub use ownership::Claims;
    pub use stat::{DirEntry, Stat, StatFs};
    pub use state::{Mount, Role};
    pub use tree::{Applied, FileNode, Kind, Node, NodeId, Tree};
}
