//! Panics and exceptions end the run, loudly.

use crate::{
    arch::traps::Fault,
    console::{self, say},
    events, exit,
};
use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};

static PANICKED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if PANICKED.swap(true, Ordering::Relaxed) {
        // A panic while one is reported: say no more than that.
        exit::fail(&"panicked while panicking");
    }
    // SAFETY: the code that panicked never runs again.
    unsafe { seize() };
    match info.location() {
        Some(place) => exit::fail(&format_args!("panicked at {place}: {}", info.message())),
        None => exit::fail(&format_args!("panicked: {}", info.message())),
    }
}

/// Reports an exception that nobody handles, with all registers, and ends the run.
pub(crate) fn exception(fault: &Fault<'_>) -> ! {
    // SAFETY: the interrupted code never runs again.
    unsafe { seize() };
    say!("{}", fault.frame);
    exit::fail(fault)
}

/// Takes the ways to the host from whoever is using them.
///
/// # Safety
/// The interrupted code must never run again.
pub(crate) unsafe fn seize() {
    // SAFETY: the caller's promise.
    unsafe { console::seize() };
    // SAFETY: as above.
    unsafe { events::seize() };
}
