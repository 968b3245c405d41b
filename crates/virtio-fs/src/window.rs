//! The DAX window: carrying out what the sans-I/O allocator ([`dax_window`]) decides.
//!
//! It takes ids, a file key for the allocator and a node id for the server, never inodes. [`hit`] is all that an access
//! does which finds its bytes mapped; [`acquire`], [`setup`] and [`remove`] are the slow path; [`freeze`] is what the volume
//! asks for through [`MappedBytes`](crate::volume::mapped_bytes::MappedBytes); [`memory`] is the only place that touches the
//! window's memory.
//!
//! The lock of the allocator is never held together with another but that of the views, which is taken under it, nor across a
//! request or a call into the embedder.

pub(crate) mod acquire;
pub(crate) mod background;
mod base;
pub(crate) mod counters;
pub(crate) mod freeze;
pub(crate) mod hit;
mod late;
pub(crate) mod memory;
pub(crate) mod part;
pub(crate) mod pending;
pub(crate) mod placed;
pub(crate) mod range_ref;
pub(crate) mod remove;
mod settle;
pub(crate) mod setup;
pub(crate) mod views;
mod waiting;
mod whose;
pub(crate) mod writeback;

pub(crate) use self::base::{DaxWindow, Settings};
pub use self::base::{PageTables, TailMapping};
