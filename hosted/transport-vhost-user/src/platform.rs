//! What the driver needs of its host: a clock, sleep, the window.
#![expect(unsafe_code, reason = "the driver's trait is unsafe to implement")]

use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use virtio_fs::Platform;
use virtio_shm::ShmRegion;

use crate::clock::Clock;
use crate::session::Session;
use crate::task::current_task;

/// The driver's platform. Waits sleep until the back end signals (the driver's
/// [`Interrupts::Deferred`](virtio_fs::Interrupts::Deferred)), and end at once when the connection is over.
#[derive(Debug)]
pub struct HostPlatform {
    session: Arc<Session>,
    clock: Clock,
}

impl HostPlatform {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, clock: Clock::start() }
    }
}

// SAFETY: the window is ordinary memory of this process, reserved for as long as `session` lives, which this object keeps;
// the copies are the default ones.
unsafe impl Platform for HostPlatform {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn coarse_now(&self) -> Duration {
        self.clock.coarse_now()
    }

    fn cpu(&self) -> Option<usize> {
        // Not the processor's number, but that of a thread that runs on one.
        current_task().map(|task| task.get() as usize)
    }

    fn task(&self) -> Option<NonZeroU64> {
        current_task()
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        self.session.interrupts.wait(|| deadline.saturating_sub(self.clock.now()), ready)
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        self.session.service.window.as_ref()?.pointer(region.addr(), region.len())
    }
}
