//! The DAX window as a pure state machine: ranges, interval trees, references, eviction, read-ahead, guard.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(test)]
extern crate self as dax_window;
#[cfg(test)]
extern crate std;

mod access;
mod config;
mod descriptor;
mod guard;
mod index;
mod list;
mod placement;
mod refusals;
mod shared;
mod stats;
mod stream;
mod ticket;
mod tree;
mod units;
mod window;

pub use access::{Access, Around, Hold, Intent, Pin, Purpose, Request, Wait, WaitReason};
pub use config::{
    Config, ConfigError, GuardConfig, HostRules, MIN_RANGE_SHIFT, Overlap, ReadAheadConfig, ReclaimConfig, Upgrade,
};
pub use descriptor::Descriptor;
pub use shared::{EventSeq, Events, MAX_TICKETS, Shared, Storage};
pub use stats::Stats;
pub use stream::Stream;
pub use ticket::{
    Cursor, Frozen, Outcome, RemoveEntry, RemoveTicket, SetupEntry, SetupKind, SetupTicket, WritebackEntry,
    WritebackTicket,
};
pub use units::{FileOffset, FileRange, InodeId, PAGE, RangeIndex, WindowOffset};
pub use window::{InvalidateKind, Step, Violation, Window, Writeback};

/// The most entries that one FUSE_REMOVEMAPPING takes.
pub const MAX_BATCH: usize = 256;

/// The most mappings that are set up ahead in one ticket.
pub const MAX_AHEAD: usize = 8;
