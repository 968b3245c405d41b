//! Files on memory that several hosts share: the famfs media formats 46, 47 and 48, read, checked, mounted and written.
//!
//! One host, the master, formats the memory, makes files and appends a record of each to a log; the others replay the log
//! and map the files. A file is a list of extents of the memory, allocated when it is made, or of strips that take turns.
//!
//! ```
//! use famfs::{Claims, Error, FormatOptions, Mount, MountOptions, NewFile, Owner, layout::Uuid};
//! use fs_dax::MappedMemory;
//! use std::sync::atomic::AtomicU64;
//!
//! let words: Vec<_> = (0..(16 << 20) / 8).map(|_| AtomicU64::new(0)).collect();
//! let memory = MappedMemory::of_words(&words);
//! let this_host = Uuid([3; 16]);
//! famfs::format(&memory, &FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), this_host, 16 << 20)).unwrap();
//!
//! let options = MountOptions { system: Some(this_host), ..MountOptions::default() };
//! let fs: Mount<_, spin::mutex::SpinMutex<()>> = Mount::open(memory, [], &options, &Claims::new())?;
//! let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
//! let new = NewFile { size: 4096, owner, read_only: false, placement: Default::default() };
//! let file = fs.open_file(fs.create(b"file", &new)?)?;
//! assert_eq!(file.write_at(4090, b"only so much")?, 6);
//! # Ok::<(), Error>(())
//! ```
//!
//! # What it needs
//! Memory as [`fs_dax::SharedMemory`], and a lock through `lock_api`. Whether caches are coherent between hosts is the
//! embedder's statement ([`Coherence`]).
//!
//! # What it trusts
//! Nothing on the memory. Records are copied, then judged; each [`Flaw`] has a name, a [`Place`] and the numbers found. A
//! record that is not whole ends replay, one that is wrong is skipped alone.
//!
//! # Modules
//! [`layout`] has the bytes on the medium. [`Log`] walks the log and [`MapContext`] checks maps, with no allocation. With
//! the feature `alloc` (default): [`Tree`] takes entries over, [`check`] judges a whole image, [`format`] makes an empty
//! file system, [`Mount`] and [`File`] are what a kernel uses.

// `#[inline(never)]` stands where several callers would each get a copy of what is not called often: without it the crate's
// machine code is a fifth larger.
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

#[cfg(feature = "alloc")]
mod check;
#[cfg(feature = "alloc")]
mod master;
#[cfg(feature = "alloc")]
mod mount;
#[cfg(feature = "alloc")]
mod tree;

#[cfg(feature = "alloc")]
pub use {
    check::{Checked, Event, check},
    master::{AppendError, FormatError, FormatOptions, Interleave, Room, format},
    mount::{
        Claims, Coherence, DirEntry, Error, FaultGuard, File, Followed, Mount, MountOptions, NewFile, Owner, Placement,
        Role, Stat, StatFs,
    },
    tree::{Applied, FileNode, Kind, Node, NodeId, Tree},
};

/// The example of the README compiles and runs.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../README.md")]
struct Readme;
