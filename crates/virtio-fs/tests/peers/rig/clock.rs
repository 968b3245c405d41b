//! The clocks of the tests: the machine's, or one that the test and its device drive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;

/// Says whether the device has nothing left to do but to keep what a test has it keep.
type AtRest = Box<dyn Fn() -> bool + Send + Sync>;

/// Time as a driver sees it.
#[derive(Clone)]
pub(crate) enum Clock {
    /// The machine's.
    Wall(Instant),
    /// One that stands still unless somebody moves it.
    Driven(Arc<DrivenClock>),
}

/// A clock that stands still unless somebody moves it.
pub(crate) struct DrivenClock {
    nanos: AtomicU64,
    /// Whether a wait that finds the device at rest lasts to its deadline at once.
    skips: bool,
    cancelled: AtomicBool,
    at_rest: AtRest,
    /// What happens in the place of the next skip.
    instead: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl DrivenClock {
    pub(crate) fn new(skips: bool, at_rest: AtRest) -> Self {
        // Not at 0: time has passed before the mount.
        let cancelled = AtomicBool::new(false);
        Self { nanos: AtomicU64::new(1_000_000_000), skips, cancelled, at_rest, instead: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Has `act` happen in the place of the next skip: in a wait that only its deadline would end.
    pub(crate) fn instead_of_skipping(&self, act: impl FnOnce() + Send + 'static) {
        *lock(&self.instead) = Some(Box::new(act));
    }

    /// Has waits end at once, as for a task that is killed, or not any more.
    pub(crate) fn cancel(&self, cancel: bool) {
        self.cancelled.store(cancel, Ordering::SeqCst);
    }

    /// Waits as [`virtio_fs::Platform::wait`] does, with nothing but the device and the test to decide how long.
    pub(crate) fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            // Looked at before the question: what the device did until then is seen by it.
            let nothing_comes = self.skips && (self.at_rest)();
            if ready() {
                return true;
            }
            if self.now() >= deadline || self.cancelled.load(Ordering::SeqCst) {
                return false;
            }
            let instead = if nothing_comes { lock(&self.instead).take() } else { None };
            if let Some(act) = instead {
                act();
            } else if nothing_comes {
                let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
                self.nanos.fetch_max(nanos, Ordering::SeqCst);
            } else {
                std::thread::yield_now();
            }
        }
    }
}
