//! A front end and a guest in one: what QEMU and a kernel are to a virtio-fs daemon, without either.
//!
//! [`Guest`] starts a daemon, negotiates with it as QEMU 11.1 does, and puts requests, or whatever else a guest may
//! write, into its queues. [`Qemu`] answers the daemon's requests for the window by QEMU's rules and keeps what QEMU
//! would have died of. [`outside`] says what is where a guest has no business.
#![forbid(unsafe_code)]

pub mod daemon;
pub mod guest;
pub mod outside;
pub mod qemu;

pub use daemon::Daemon;
pub use guest::{Descriptor, Guest, Reply, Start};
pub use qemu::{Asked, Qemu};
