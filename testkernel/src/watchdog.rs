//! A run that takes too long ends with a report instead of hanging: the timer looks at the clock.
//!
//! It cannot see a processor that has interrupts off for ever; the host's own deadline is for that.

use crate::{
    arch::{clock::Clock, frame::TrapFrame, gdt},
    console::say,
    exit,
    memory::layout::MAX_PROCESSORS,
    panic,
};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use spin::Mutex;

/// The deadline when the command line names none.
const DEFAULT: Duration = Duration::from_secs(120);

static DEADLINE_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// What each processor is at, as far as it says.
static DOING: [Mutex<&str>; MAX_PROCESSORS] = [const { Mutex::new("") }; MAX_PROCESSORS];

/// Says what this processor is at from now on, for whoever has to tell where it was stuck.
pub(crate) fn doing(what: &'static str) {
    *DOING[gdt::this_processor()].lock() = what;
}

/// What the processors are at: ` (processor 0: cut, processor 2: load)`, or nothing if none said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing;

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = " (";
        for (processor, doing) in DOING.iter().enumerate() {
            // The processor that holds the lock may be the one that was interrupted to tell this.
            let what = doing.try_lock().map_or("", |what| *what);
            if !what.is_empty() {
                write!(f, "{before}processor {processor}: {what}")?;
                before = ", ";
            }
        }
        f.write_str(if before == " (" { "" } else { ")" })
    }
}

/// Sets the deadline of the run, counted from now.
pub(crate) fn start(patience: Option<Duration>) {
    let nanoseconds = patience.unwrap_or(DEFAULT).as_nanos().try_into().unwrap_or(u64::MAX);
    DEADLINE_NS.store(Clock::now_ns().saturating_add(nanoseconds), Ordering::Relaxed);
}

/// Takes the deadline back, until the next [`start`].
pub(crate) fn pause() {
    DEADLINE_NS.store(u64::MAX, Ordering::Relaxed);
}

/// Looks at the clock; called by the timer's interrupt.
pub(crate) fn check(frame: &TrapFrame) {
    if Clock::now_ns() < DEADLINE_NS.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the interrupted code never runs again.
    unsafe { panic::seize() };
    say!("{frame}");
    exit::fail(&format_args!("the watchdog's deadline has passed; the kernel was at rip {:#x}{Doing}", frame.rip))
}
