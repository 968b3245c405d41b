//! One session: a device, a mount, calls, an unmount.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use virtio_fs::{Config, Interrupts};

use crate::calls::{Caller, FAULT, WHOLE_READ, WHOLE_WRITE};
use crate::clock::Clock;
use crate::device::Device;
use crate::handles::Handles;
use crate::heap::Peak;
use crate::limits::{LONG, Limits, RESET, SHORT, WINDOW};
use crate::memory::Ram;
use crate::platform::{self, Embedder};
use crate::transport::{Registers, Shared, device};
use crate::{lock, logger, rules};

/// Most calls of a session.
const CALLS: u32 = 40;

/// What became of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Requests that the device got.
    pub(crate) requests: u64,
    /// What the device did, in one number.
    pub(crate) trace: u64,
    /// Whether there was a file system.
    pub(crate) mounted: bool,
    /// Calls that were made.
    pub(crate) calls: u32,
    /// The rule that was broken, if one was.
    pub(crate) finding: Option<String>,
}

/// Runs the session of this number.
pub(crate) fn run(seed: u64, number: u64, limits: &Limits) -> Report {
    let mixed = (seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd134_2543_de82_ef95);
    let mut rng = Rng::with_seed(mixed);
    let (ram, clock) = (Ram::default(), Arc::new(Clock::new()));
    lock::forget();
    rules::take();
    // What every session has is no session's own.
    let _ = platform::window();
    let heap = Peak::from_now();
    let device = Arc::new(Mutex::new(Device::new(rng.fork(), ram.clone(), clock.clone())));
    let watch = Watch { device: device.clone(), clock: clock.clone(), limits: *limits };
    let mut report = Report::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| calls(&mut rng, &watch, &ram, &mut report)));
    if let Err(panic) = outcome {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        rules::broken(|| format!("a panic: {}", said.unwrap_or_default()));
    }
    if heap.bytes() > limits.heap || ram.peak() > limits.dma {
        rules::broken(|| format!("{} bytes of heap, {} bytes of memory for the device", heap.bytes(), ram.peak()));
    }
    let device = crate::transport::device(&device);
    (report.requests, report.trace, report.finding) = (device.requests, device.trace, rules::take());
    ram.clear();
    report
}

/// Holds calls to their budgets.
struct Watch {
    device: Shared,
    clock: Arc<Clock>,
    limits: Limits,
}

impl Watch {
    /// Makes a call, which says what it is and whether it may take long.
    fn call(&self, extra: Duration, call: impl FnOnce() -> Option<(&'static str, bool)>) -> bool {
        let (start, before) = (self.clock.now(), device(&self.device).requests);
        let Some((name, long)) = call() else { return false };
        let took = self.clock.now() - start;
        let requests = device(&self.device).requests - before;
        logger::tell(|| format!("{start:?} + {took:?}: {name}, {requests} requests"));
        // What others have to let go of, and what is under way that nobody awaits yet, is waited for besides.
        let budget = if long { LONG + SHORT } else { SHORT + SHORT } + WINDOW;
        let (budget, most) = match name {
            // They have time to move what is a MiB at most.
            WHOLE_READ | WHOLE_WRITE => (budget + SHORT, self.limits.whole_requests),
            // A second look after FSYNC or FALLOCATE is a call of its own.
            FAULT => (budget * 2, self.limits.requests),
            _ => (budget + extra, self.limits.requests),
        };
        // A look at the clock takes time here.
        if took > budget + Duration::from_millis(50) {
            rules::broken(|| format!("{name} took {took:?}, {budget:?} is its budget; {requests} requests"));
        }
        if requests > most {
            rules::broken(|| format!("{name} took {requests} requests, {most} is most"));
        }
        true
    }
}

fn config(rng: &mut Rng) -> Config {
    let config = Config::small().queue_size([4, 8, 16][rng.usize(..3)]).max_request_queues(rng.u16(1..4));
    let config = config.data_buffers(rng.usize(1..4)).data_buffer_size([4096, 16 << 10][rng.usize(..2)]);
    let config = config.request_timeout(SHORT).long_request_timeout(LONG).window_timeout(WINDOW);
    let config = config.max_timeouts([1, 2, 5, u32::MAX][rng.usize(..4)]).max_inodes(rng.usize(1..20));
    let config = config.max_entries(rng.usize(1..20)).dax(rng.u8(..4) > 0).thrash_guard(rng.bool());
    config.interrupts(if rng.bool() { Interrupts::InHandler } else { Interrupts::Off })
}

fn calls(rng: &mut Rng, watch: &Watch, ram: &Ram, report: &mut Report) {
    let registers = Registers::new(watch.device.clone());
    let embedder = Embedder { device: watch.device.clone(), clock: watch.clock.clone() };
    let unmounted = virtio_fs::Device::with_lock(registers, ram.clone());
    let interrupt = unmounted.interrupt();
    let mut mounted = None;
    // A reset before, and one after a failure.
    watch.call(RESET * 2, || {
        mounted = unmounted.mount(embedder, config(rng)).ok();
        Some(("the mount", false))
    });
    let Some(fs) = mounted else { return };
    report.mounted = true;
    if rng.bool() {
        fs.set_mappings(Some(Arc::new(())));
    }
    let mut caller = Caller { rng: rng.fork(), fs, interrupt, handles: Handles::default() };
    for _ in 0..rng.u32(..=CALLS) {
        watch.call(Duration::ZERO, || Some(caller.call()));
        report.calls += 1;
    }
    if rng.u8(..8) > 0 {
        while watch.call(Duration::ZERO, || caller.drop_last()) {}
    }
    watch.call(RESET + SHORT, || {
        let _ = if caller.rng.bool() { caller.fs.unmount() } else { caller.fs.force_unmount() };
        Some(("the unmount", true))
    });
    // The last of what is in use ends the session of a file system that is gone.
    let end = LONG + SHORT + RESET;
    while watch.call(end, || caller.drop_last()) {}
    watch.call(end, || {
        drop(caller);
        Some(("the last drop", true))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_repeats_exactly() {
        for number in 0..300 {
            let once = run(7, number, &Limits::DRIVER);
            assert_eq!(once, run(7, number, &Limits::DRIVER), "session {number}");
            assert_eq!(once.finding, None, "session {number}");
        }
    }

    #[test]
    fn a_finding_is_found_again() {
        // Held to less than the driver needs.
        let tight = Limits { requests: 3, ..Limits::DRIVER };
        let found: Vec<_> = (0..50).map(|number| run(7, number, &tight).finding).collect();
        assert!(found.iter().flatten().count() > 5, "{found:?}");
        for (number, finding) in (0..).zip(&found) {
            assert_eq!(run(7, number, &tight).finding, *finding, "session {number}");
        }
    }

    #[test]
    fn sessions_get_somewhere() {
        let reports: Vec<_> = (0..300).map(|number| run(1, number, &Limits::DRIVER)).collect();
        let mounted = reports.iter().filter(|report| report.mounted).count();
        let requests: u64 = reports.iter().map(|report| report.requests).sum();
        assert!(mounted > 150 && requests > 1000, "{mounted} mounted, {requests} requests");
    }
}
