//! What a call, and a session, may take.

use std::time::Duration;

/// How long a request may take, by its class, and how long a range of the window is waited for.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// How long a reset may take, in the driver's own words.
pub(crate) const RESET: Duration = Duration::from_secs(1);

/// What every session is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Requests that the device gets during one call.
    pub(crate) requests: u64,
    /// Those for the reading of a whole file of at most 1 MiB.
    pub(crate) whole_requests: u64,
    /// Bytes of heap at a time, beyond what there was at the session's start.
    pub(crate) heap: usize,
    /// Bytes of memory for the device at a time.
    pub(crate) dma: usize,
}

impl Limits {
    /// What the driver is held to: its calls here move no more than 64 KiB, but for the reading of a whole file; a device may
    /// want 1 MiB for its notifications.
    pub(crate) const DRIVER: Self = Self { requests: 300, whole_requests: 3000, heap: 16 << 20, dma: 2 << 20 };
}
