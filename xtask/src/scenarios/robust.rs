//! Faults of the daemon, the device and the host: an error in time, nothing wrong, and the kernel goes on.

mod daemon;
mod device;
mod host;

pub(crate) use daemon::{daemon_killed, daemon_lies, daemon_slow, daemon_stops};
pub(crate) use device::{interrupts_lost, reset_under_load};
pub(crate) use host::{host_cuts, host_replaces, two_guests};
