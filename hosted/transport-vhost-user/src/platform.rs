//! What the driver needs of its host: a clock, sleep, the window.
#![expect(unsafe_code, reason = "the driver's trait is unsafe to implement")]

use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtio_fs::Platform;
use virtio_shm::ShmRegion;

use crate::session::Session;
use crate::task::current_task;

/// The driver's platform. Waits sleep until the back end signals (the driver's
/// [`Interrupts::Deferred`](virtio_fs::Interrupts::Deferred)), and end at once when the connection is over.
#[derive(Debug)]
pub struct HostPlatform {
    session: Arc<Session>,
    start: Instant,
}

impl HostPlatform {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, start: Instant::now() }
    }
}

// SAFETY: the window is ordinary memory of this process, reserved for as long as `session` lives, which this object keeps;
// the copies are the default ones.
unsafe impl Platform for HostPlatform {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn task(&self) -> Option<NonZeroU64> {
        current_task()
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        self.session.interrupts.wait(|| deadline.saturating_sub(self.start.elapsed()), ready)
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        self.session.service.window.as_ref()?.pointer(region.addr(), region.len())
    }
}
