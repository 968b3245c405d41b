//! What the host's side of the rig reads: one JSON object a line on QEMU's debug console at port 0xe9, and the plain
//! bytes of a command's output on a second one at port 0xea.
//!
//! | event | fields | meaning |
//! | --- | --- | --- |
//! | `hello` | `version`, `memory_bytes`, `machine` | the kernel runs |
//! | `start` | `test` | a scenario begins |
//! | `metric` | `name`, `value`, `unit` | a number |
//! | `info` | `name`, `value` | a fact in words |
//! | `sync` | `name` | the kernel waits for `go NAME` on COM1 |
//! | `skip` | `reason` | the scenario does not apply here |
//! | `pass` | | the scenario or command succeeded |
//! | `fail` | `message` | it did not |
//! | `done` | | nothing follows |

use crate::{
    arch::{clock::Clock, cpu, port},
    console::LineReader,
};
use core::{
    fmt::{self, Display, Write},
    time::Duration,
};

/// Port of the events' debug console.
const EVENTS: u16 = 0xe9;
/// Port of the raw output's debug console.
const OUTPUT: u16 = 0xea;

/// A value in an event.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A string, from anything that can be displayed.
    Text(&'a dyn Display),
    /// A number.
    Number(u64),
}

/// Sends one event.
pub(crate) fn send(event: &str, fields: &[(&str, Value<'_>)]) {
    let mut out = Events;
    // Writing to a port cannot fail; a `Display` that does leaves a line that the host calls broken.
    let _ = write_event(&mut out, event, fields);
}

/// The kernel runs.
pub(crate) fn hello(memory_bytes: u64) {
    let version = env!("CARGO_PKG_VERSION");
    send("hello", &[("version", Value::Text(&version)), ("memory_bytes", Value::Number(memory_bytes))]);
}

/// A number that was measured.
pub(crate) fn metric(name: &str, value: u64, unit: &str) {
    send("metric", &[("name", Value::Text(&name)), ("value", Value::Number(value)), ("unit", Value::Text(&unit))]);
}

/// A fact in words.
pub(crate) fn info(name: &str, value: &dyn Display) {
    send("info", &[("name", Value::Text(&name)), ("value", Value::Text(value))]);
}

/// Tells the host that a point is reached and waits until it answers `go NAME`; `false` if it doesn't in time.
pub(crate) fn sync(name: &str, patience: Duration) -> bool {
    send("sync", &[("name", Value::Text(&name))]);
    let deadline = Clock::now_ns().saturating_add(patience.as_nanos() as u64);
    let mut reader = LineReader::default();
    loop {
        while let Some(line) = reader.poll() {
            if line.strip_prefix("go ") == Some(name) {
                return true;
            }
            log::warn!("the host said {line:?} while `go {name}` was awaited");
        }
        if Clock::now_ns() >= deadline {
            return false;
        }
        cpu::wait_for_interrupt();
    }
}

/// Writes bytes of a command's output, as they are.
pub(crate) fn output(bytes: &[u8]) {
    port::write_bytes(OUTPUT, bytes);
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

/// `core::fmt::Write` onto the events' port.
struct Events;

impl Write for Events {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        port::write_bytes(EVENTS, text.as_bytes());
        Ok(())
    }
}

fn write_event(out: &mut dyn Write, event: &str, fields: &[(&str, Value<'_>)]) -> fmt::Result {
    write!(out, "{{\"event\":\"{event}\"")?;
    for (name, value) in fields {
        match value {
            Value::Text(text) => {
                write!(out, ",\"{name}\":\"")?;
                write!(Escaped(out), "{text}")?;
                out.write_str("\"")?;
            }
            Value::Number(number) => write!(out, ",\"{name}\":{number}")?,
        }
    }
    out.write_str("}\n")
}

/// Escapes what JSON strings cannot hold (RFC 8259, section 7).
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(|c: char| c < ' ' || c == '"' || c == '\\') {
            let mut characters = part.chars();
            match characters.next_back() {
                Some(last @ ('"' | '\\')) => write!(self.0, "{}\\{last}", characters.as_str())?,
                Some(last) if last < ' ' => write!(self.0, "{}\\u{:04x}", characters.as_str(), u32::from(last))?,
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}
