//! What the devices and servers log: a warning or an error of theirs is an oracle, and fails the test.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use log::{LevelFilter, Log, Metadata, Record};

use super::lock;

static UNEXPECTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many devices there are that lie. What their drivers believe leads to requests that servers complain of.
pub(crate) static LIARS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static EXPECTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if std::env::var_os("PEERS_LOG").is_some() {
            eprintln!("{} {}: {}", record.level(), record.target(), record.args());
        }
        let peer = ["krun", "fuse_backend", "virtio_queue"].iter().any(|name| record.target().starts_with(name));
        if !peer || record.level() > log::Level::Warn {
            return;
        }
        if record.target().starts_with("fuse_backend") && LIARS.load(Ordering::SeqCst) > 0 {
            return;
        }
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        let expected = EXPECTED.with_borrow_mut(|lines| match lines {
            Some(lines) => {
                lines.push(line.clone());
                true
            }
            None => false,
        });
        if !expected {
            lock(&UNEXPECTED).push(line);
        }
    }

    fn flush(&self) {}
}

/// Begins to listen, and to hear of threads of the devices that panic.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("the only logger");
        let level = std::env::var("PEERS_LOG").ok().and_then(|level| level.parse().ok());
        log::set_max_level(level.unwrap_or(LevelFilter::Warn));
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if matches!(thread.name(), Some("fs worker" | "strict queue")) {
                let line = format!("a thread of a device panicked: {info}");
                lock(&UNEXPECTED).push(line);
            }
            before(info);
        }));
    });
}

/// Everything that no test expected, once.
pub(crate) fn take_unexpected() -> Vec<String> {
    std::mem::take(&mut *lock(&UNEXPECTED))
}

/// Runs `act`, which provokes the devices on this thread, and returns what they said.
pub(crate) fn expecting(act: impl FnOnce()) -> Vec<String> {
    EXPECTED.set(Some(Vec::new()));
    act();
    EXPECTED.take().unwrap_or_default()
}
