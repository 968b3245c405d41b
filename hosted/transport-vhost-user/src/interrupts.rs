//! Sleeping until the device has used buffers.
//!
//! Of all threads that wait, one sleeps on the call descriptors; the others sleep until it has seen a signal or does not
//! need any more. So a single request costs no switch between threads, and a signal for one thread that another sees is
//! not lost.

use std::array;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::gone::Gone;
use crate::sys;

/// So many descriptors are slept on without an allocation.
const FEW: usize = 4;

#[derive(Debug, Default)]
struct State {
    /// Whether a thread sleeps on the descriptors.
    leader: bool,
    /// How many others sleep.
    followers: u32,
    /// Moves with each signal seen.
    generation: u64,
}

/// The threads of a driver that wait for its device; see [`HostPlatform`](crate::HostPlatform), which has one. For devices that
/// are in this process it can be had alone.
#[derive(Debug)]
pub struct Interrupts {
    /// Eventfds that the device writes, one or several; then one that is readable once the device is gone.
    descriptors: Vec<OwnedFd>,
    gone: Arc<Gone>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a signal was seen since it was last asked.
    pending: AtomicBool,
}

impl Interrupts {
    /// Those of a device that writes these eventfds, and lives for good. They must not block who reads them.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(signals: Vec<OwnedFd>) -> io::Result<Self> {
        Self::until(signals, Arc::new(Gone::new()?))
    }

    /// Those of a device that can go.
    pub(crate) fn until(signals: Vec<OwnedFd>, gone: Arc<Gone>) -> io::Result<Self> {
        let mut descriptors = signals;
        descriptors.push(sys::duplicate(&gone.event)?);
        let pending = AtomicBool::new(false);
        Ok(Self { descriptors, gone, state: Mutex::default(), changed: Condvar::new(), pending })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a signal was seen since the last call.
    pub(crate) fn take_pending(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// Waits until `ready` says yes, no time is `left`, or the device is gone; returns the last answer.
    pub fn wait(&self, mut left: impl FnMut() -> Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            // Before `ready`, so that a signal that another thread sees meanwhile is noticed.
            let seen = self.state().generation;
            if ready() {
                return true;
            }
            let left = left();
            if left.is_zero() || self.gone.reason().is_some() {
                return ready();
            }
            self.sleep(seen, left);
        }
    }

    fn sleep(&self, seen: u64, left: Duration) {
        let mut state = self.state();
        if state.generation != seen {
            return;
        }
        if state.leader {
            state.followers += 1;
            let asleep = |state: &mut State| state.leader && state.generation == seen;
            let (mut state, _) =
                self.changed.wait_timeout_while(state, left, asleep).unwrap_or_else(PoisonError::into_inner);
            state.followers -= 1;
            return;
        }
        state.leader = true;
        drop(state);
        self.poll(left);
        let mut state = self.state();
        state.leader = false;
        state.generation += 1;
        if state.followers > 0 {
            self.changed.notify_all();
        }
    }

    /// Sleeps on the descriptors, and takes the signals off them.
    fn poll(&self, left: Duration) {
        if self.descriptors.len() > FEW {
            let mut all: Vec<_> = self.descriptors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            return self.poll_all(&mut all, left);
        }
        // Without an allocation; those beyond are not asked about.
        let last = self.descriptors.len() - 1;
        let mut few: [_; FEW] = array::from_fn(|at| PollFd::new(&self.descriptors[at.min(last)], PollFlags::IN));
        self.poll_all(&mut few[..=last], left);
    }

    fn poll_all(&self, fds: &mut [PollFd<'_>], left: Duration) {
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => log::error!("interrupts cannot be waited for: {error}"),
        }
        let signals = self.descriptors.len() - 1;
        for (descriptor, fd) in self.descriptors[..signals].iter().zip(fds) {
            if fd.revents().contains(PollFlags::IN) && rustix::io::read(descriptor, &mut [0; 8]).is_ok() {
                self.pending.store(true, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Instant;

    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::GoneReason;

    fn interrupts() -> (Arc<Interrupts>, Arc<Gone>, [EventFd; 2]) {
        let gone = Arc::new(Gone::new().unwrap());
        let calls = [(); 2].map(|()| EventFd::new(EFD_NONBLOCK).unwrap());
        let signals = calls.iter().map(|call| sys::duplicate(call).unwrap()).collect();
        (Arc::new(Interrupts::until(signals, gone.clone()).unwrap()), gone, calls)
    }

    fn left(deadline: Instant) -> impl FnMut() -> Duration {
        move || deadline.saturating_duration_since(Instant::now())
    }

    /// As long as no test that passes ever waits.
    fn long() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn each_of_many_threads_sees_what_it_waits_for() {
        const THREADS: u32 = 8;
        let (interrupts, _, calls) = interrupts();
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for index in 0..THREADS {
                let (interrupts, done) = (&interrupts, &done);
                scope.spawn(move || {
                    assert!(interrupts.wait(left(long()), &mut || done.load(Ordering::SeqCst) > index));
                });
            }
            for count in 1..=THREADS {
                done.store(count, Ordering::SeqCst);
                calls[(count % 2) as usize].write(1).unwrap();
                std::thread::yield_now();
            }
        });
        assert!(interrupts.take_pending());
        assert!(!interrupts.take_pending());
    }

    #[test]
    fn nobody_waits_for_a_connection_that_is_over() {
        let (interrupts, gone, _calls) = interrupts();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| interrupts.wait(left(long()), &mut || false));
            gone.set(GoneReason::Closed);
            assert!(!waiter.join().unwrap());
        });
    }

    #[test]
    fn what_is_ready_or_late_does_not_sleep() {
        let (interrupts, _, _calls) = interrupts();
        assert!(interrupts.wait(left(long()), &mut || true));
        assert!(!interrupts.wait(|| Duration::ZERO, &mut || false));
    }
}
