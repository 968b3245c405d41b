//! A run that takes too long ends with a report instead of hanging: the timer looks at the clock.
//!
//! It cannot see a processor that has interrupts off for ever; the host's own deadline is for that.

use crate::{
    arch::{clock::Clock, traps::TrapFrame},
    console::{self, say},
    exit,
};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The deadline when the command line names none.
const DEFAULT: Duration = Duration::from_secs(120);

static DEADLINE_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// Sets the deadline of the run, counted from now.
pub(crate) fn start(patience: Option<Duration>) {
    let nanoseconds = patience.unwrap_or(DEFAULT).as_nanos().try_into().unwrap_or(u64::MAX);
    DEADLINE_NS.store(Clock::now_ns().saturating_add(nanoseconds), Ordering::Relaxed);
}

/// Looks at the clock; called by the timer's interrupt.
pub(crate) fn check(frame: &TrapFrame) {
    if Clock::now_ns() < DEADLINE_NS.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the interrupted code never runs again.
    unsafe { console::seize() };
    say!("{frame}");
    exit::fail(&format_args!("the watchdog's deadline has passed; the kernel was at rip {:#x}", frame.rip))
}
