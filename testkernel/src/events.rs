//! What the host's side of the rig reads: events on one debug console of QEMU's, and the plain bytes of a command's output
//! on a second one.

use crate::{
    arch::{clock::Clock, cpu, port},
    console::LineReader,
};
use core::{
    fmt::{self, Display, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use spin::Mutex;
use testkernel_protocol::{
    console::{self, Line},
    event::{Event, OUTPUT_PORT, PORT},
};

/// An event of texts that can be displayed.
pub(crate) type Message<'a> = Event<&'a dyn Display>;

/// Looks at the lock before it is taken by force.
const LONG_ENOUGH: u32 = 1_000_000;

/// Held while a line is written, so that those of several processors don't mix.
static LINE: Mutex<()> = Mutex::new(());
/// Whether the verdict is given, after which nothing else is said.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Bytes of output so far.
static SENT: AtomicU64 = AtomicU64::new(0);

/// Sends an event.
pub(crate) fn send(event: &Message<'_>) {
    let _guard = LINE.lock();
    if !CLOSED.load(Ordering::Acquire) {
        write(event);
    }
}

/// Sends the verdict and `done`, after which no other event is sent. Only the first caller's verdict is: `false` for any
/// other.
pub(crate) fn close(verdict: &Message<'_>) -> bool {
    let _guard = LINE.lock();
    if CLOSED.swap(true, Ordering::AcqRel) {
        return false;
    }
    write(verdict);
    write(&Event::Done);
    true
}

/// Takes the events' port away from whoever writes to it: for a panic or a fault, after which nobody else runs.
///
/// # Safety
/// The interrupted code must never run again.
pub(crate) unsafe fn seize() {
    // Another processor finishes its line soon; one that this processor was writing never ends.
    for _ in 0..LONG_ENOUGH {
        if LINE.try_lock().is_some() {
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the holder of the lock, if there is one, never runs again.
    unsafe { LINE.force_unlock() };
    port::write_bytes(PORT, b"\n");
}

fn write(event: &Message<'_>) {
    // Writing to a port cannot fail; a `Display` that does leaves a line that the host calls broken.
    let _ = event.write(&mut Port(PORT));
}

/// A scenario begins.
pub(crate) fn start(test: &str) {
    send(&Event::Start { test: &test });
}

/// A number that was measured.
pub(crate) fn metric(name: &str, value: u64, unit: &str) {
    send(&Event::Metric { name: &name, value, unit: &unit });
}

/// A fact in words.
pub(crate) fn info(name: &str, value: &dyn Display) {
    send(&Event::Info { name: &name, value });
}

/// Tells the host that a point is reached and waits until it says to go on; `false` if it doesn't in time.
pub(crate) fn sync(name: &str, patience: Duration) -> bool {
    send(&Event::Sync { name: &name });
    let deadline = Clock::now_ns().saturating_add(patience.as_nanos() as u64);
    let mut reader = LineReader::default();
    loop {
        while let Some(line) = reader.poll() {
            if console::parse(&line) == Some(Line::Go(name.into())) {
                return true;
            }
            log::warn!("the host said {line:?} while `{}` was awaited", console::go(name));
        }
        if Clock::now_ns() >= deadline {
            return false;
        }
        cpu::wait_for_interrupt();
    }
}

/// Writes bytes of a command's output, as they are.
pub(crate) fn output(bytes: &[u8]) {
    port::write_bytes(OUTPUT_PORT, bytes);
    SENT.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}

/// The shell waits for a command.
pub(crate) fn ready() {
    send(&Event::Ready { output: SENT.load(Ordering::Relaxed) });
}

/// `core::fmt::Write` onto the raw output.
#[derive(Debug)]
pub(crate) struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        output(text.as_bytes());
        Ok(())
    }
}

/// `core::fmt::Write` onto a port.
struct Port(u16);

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        port::write_bytes(self.0, text.as_bytes());
        Ok(())
    }
}
