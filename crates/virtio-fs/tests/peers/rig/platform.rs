//! What the tests bring as an embedder: clock, waiting, the window's mapping.

use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use virtio_fs::{Platform, WindowAccess};
use virtio_shm::ShmRegion;

use super::clock::Clock;
use super::stepping::unstepped;
use super::window::Window;

/// How a test waits for the device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Waiting {
    /// It looks again and again.
    #[default]
    Polling,
    /// It sleeps until the device signals this eventfd: an interrupt that never comes is a request that times out.
    Interrupts(RawFd),
}

/// See the module.
pub(crate) struct TestPlatform {
    clock: Clock,
    window: Option<Arc<Window>>,
    waiting: Waiting,
    access: WindowAccess,
    /// Whether it says who calls.
    tasks: bool,
    /// How often it slept for an interrupt.
    pub(crate) slept: Arc<AtomicU64>,
    /// Windows mapped and not unmapped.
    mapped: Arc<AtomicU64>,
}

impl TestPlatform {
    pub(crate) fn new(clock: Clock, window: Option<Arc<Window>>, waiting: Waiting, mapped: Arc<AtomicU64>) -> Self {
        let access = WindowAccess::LoadsAndStores;
        Self { clock, window, waiting, access, tasks: true, slept: Arc::default(), mapped }
    }

    pub(crate) fn with_unknown_tasks(mut self) -> Self {
        self.tasks = false;
        self
    }

    pub(crate) fn with_access(mut self, access: WindowAccess) -> Self {
        self.access = access;
        self
    }
}

// SAFETY: the window exists for as long as this object holds it, it is mapped like any memory, and the copies are the
// default ones.
unsafe impl Platform for TestPlatform {
    fn now(&self) -> Duration {
        match &self.clock {
            Clock::Wall(start) => start.elapsed(),
            Clock::Driven(clock) => clock.now(),
        }
    }

    fn task(&self) -> Option<NonZeroU64> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static TASK: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        NonZeroU64::new(TASK.with(|task| *task)).filter(|_| self.tasks)
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        let mut tries = 0;
        let mut ready = || unstepped(&mut *ready);
        if let Clock::Driven(clock) = &self.clock {
            return clock.wait(deadline, &mut ready);
        }
        loop {
            if ready() {
                return true;
            }
            let now = self.now();
            if now >= deadline {
                return ready();
            }
            match self.waiting {
                Waiting::Polling if tries < 200 => std::thread::yield_now(),
                Waiting::Polling => std::thread::sleep(Duration::from_micros(50)),
                Waiting::Interrupts(fd) => {
                    self.slept.fetch_add(1, Ordering::Relaxed);
                    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                    let timeout = (deadline - now).as_millis().saturating_add(1).try_into().unwrap_or(i32::MAX);
                    // SAFETY: one descriptor, described by one structure.
                    if unsafe { libc::poll(&raw mut poll, 1, timeout) } == 1 {
                        let mut count = [0; 8];
                        // SAFETY: the buffer has the 8 bytes that an eventfd gives.
                        unsafe { libc::read(fd, count.as_mut_ptr().cast(), 8) };
                    }
                }
            }
            tries += 1;
        }
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        let window = self.window.as_ref()?;
        let from = window.address..window.address + window.len;
        assert!(from.contains(&region.addr()) && region.end() <= from.end, "another region than the device has");
        self.mapped.fetch_add(1, Ordering::Relaxed);
        Some(window.pointer_to(region.addr()))
    }

    fn unmap_window(&self, region: &ShmRegion, mapped: NonNull<u8>) {
        let window = self.window.as_ref().expect("unmapped a window that was never mapped");
        assert_eq!(mapped, window.pointer_to(region.addr()));
        self.mapped.fetch_sub(1, Ordering::Relaxed);
    }

    fn window_access(&self) -> WindowAccess {
        self.access
    }
}
