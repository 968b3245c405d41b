//! What the driver needs of its host, for a device in the same process.
#![expect(unsafe_code, reason = "the driver's trait is unsafe to implement")]

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use transport_vhost_user::{Clock, Interrupts, current_task};
use virtio_fs::{Platform, ShmRegion};

use super::window::Window;

/// See the module. Waits sleep until the device signals.
#[derive(Debug)]
pub(super) struct LocalPlatform {
    interrupts: Interrupts,
    window: Option<Arc<Window>>,
    clock: Clock,
}

impl LocalPlatform {
    /// Of a device that writes this eventfd, with this window.
    pub(super) fn new(signal: OwnedFd, window: Option<Arc<Window>>) -> io::Result<Self> {
        Ok(Self { interrupts: Interrupts::new(vec![signal])?, window, clock: Clock::start() })
    }
}

// SAFETY: the window is ordinary memory of this process, reserved for as long as this object holds it; the copies are the
// default ones.
unsafe impl Platform for LocalPlatform {
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
        self.interrupts.wait(|| deadline.saturating_sub(self.clock.now()), ready)
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        self.window.as_ref()?.pointer(region)
    }
}
