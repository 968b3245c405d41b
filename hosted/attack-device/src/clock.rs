//! The session's clock, which goes on when somebody looks at it or waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far one look takes it, in nanoseconds: whoever looks again and again comes to an end.
const LOOK: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    /// At one second: time has passed before the mount.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1_000_000_000))
    }

    /// What the embedder's clock shows.
    pub(crate) fn look(&self) -> Duration {
        Duration::from_nanos(self.0.fetch_add(LOOK, Ordering::Relaxed))
    }

    /// The time, without taking any.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Lets time pass until then.
    pub(crate) fn skip_to(&self, then: Duration) {
        self.0.fetch_max(u64::try_from(then.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
