//! The logger, which is the embedder's too; and what a session does, for who repeats one.

use std::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

use crate::lock;

struct Watching;

impl Log for Watching {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        lock::embedder(&format!("the logger ({})", record.args()));
        tell(|| format!("    {}: {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

static TELLING: AtomicBool = AtomicBool::new(false);

/// Has sessions log what they do, on standard error.
pub(crate) fn tell_all() {
    TELLING.store(true, Ordering::Relaxed);
}

/// Tells something, if anybody wants to know.
pub(crate) fn tell(what: impl FnOnce() -> String) {
    if TELLING.load(Ordering::Relaxed) {
        eprintln!("{}", what());
    }
}

/// Has every message looked at from now on.
pub(crate) fn install() {
    // Installed once a process; a second call finds it there.
    let _ = log::set_logger(&Watching);
    log::set_max_level(LevelFilter::Trace);
}
