//! Panics end the run, loudly.

use crate::{console, exit};
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
    unsafe { console::seize() };
    match info.location() {
        Some(place) => exit::fail(&format_args!("panicked at {place}: {}", info.message())),
        None => exit::fail(&format_args!("panicked: {}", info.message())),
    }
}
