//! The host's clock, for [`Platform::now`](virtio_fs::Platform::now) and
//! [`Platform::coarse_now`](virtio_fs::Platform::coarse_now).

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time since this was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: since_boot(ClockId::Monotonic) }
    }

    /// Returns the time since it began.
    #[must_use]
    pub fn now(&self) -> Duration {
        since_boot(ClockId::Monotonic).saturating_sub(self.start)
    }

    /// Returns the same some milliseconds late, which costs a third.
    #[must_use]
    pub fn coarse_now(&self) -> Duration {
        since_boot(ClockId::MonotonicCoarse).saturating_sub(self.start)
    }
}

fn since_boot(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    // Neither is ever negative, and the second is less than a second.
    Duration::new(tv_sec.unsigned_abs(), tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_never_ahead() {
        let clock = Clock::start();
        for _ in 0..1000 {
            let coarse = clock.coarse_now();
            assert!(coarse <= clock.now());
        }
    }
}
