//! Ctrl-C and SIGTERM: noted, and acted on by whoever waits, so that everything that was started is ended and every
//! temporary folder removed before this program goes.

use anyhow::{Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// This program's exit status then, as a shell has it for Ctrl-C.
pub(crate) const STATUS: u8 = 130;

fn flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// Begins to note them. A second signal ends the program at once.
pub(crate) fn install() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let twice = signal_hook::flag::register_conditional_shutdown(signal, STATUS.into(), Arc::clone(flag()));
        let once = signal_hook::flag::register(signal, Arc::clone(flag()));
        if let Err(error) = twice.and(once) {
            eprintln!("warning: signal {signal} cannot be handled: {error}");
        }
    }
}

/// An error if somebody asked this program to stop.
///
/// # Errors
/// "interrupted", after a signal.
pub(crate) fn check() -> Result<()> {
    if flag().load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
