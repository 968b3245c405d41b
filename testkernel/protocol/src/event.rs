//! What the kernel reports: one JSON object a line on QEMU's debug console at port [`PORT`]. The bytes of a command's output
//! go to a second one, at port [`OUTPUT_PORT`], as they are.

use core::fmt::{self, Display, Write};

/// I/O port of the events' debug console.
pub const PORT: u16 = 0xe9;
/// I/O port of the debug console for raw output.
pub const OUTPUT_PORT: u16 = 0xea;

/// One event. `T` is a string: for the kernel anything that can be displayed, for the host what it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(serde::Deserialize))]
#[cfg_attr(any(test, feature = "serde"), serde(tag = "event", rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Event<T> {
    /// The kernel runs. It is the first event.
    Hello {},
    /// A scenario begins.
    Start {
        /// Its name, `GROUP::NAME`.
        test: T,
    },
    /// A number that was measured or counted.
    Metric {
        /// What it is.
        name: T,
        /// The number.
        value: u64,
        /// Its unit; `1` for a count.
        unit: T,
    },
    /// A fact in words.
    Info {
        /// What it is about.
        name: T,
        /// The fact.
        value: T,
    },
    /// The kernel waits until the host answers [`console::go`](crate::console::go).
    Sync {
        /// What it waits for.
        name: T,
    },
    /// The shell waits for a command: [`console::command`](crate::console::command).
    Ready {
        /// Bytes of output that the kernel has sent so far, so that the host can take them first.
        output: u64,
    },
    /// A command of the shell failed, and the shell goes on.
    Error {
        /// Why.
        message: T,
    },
    /// The scenario does not apply here.
    Skip {
        /// Why.
        reason: T,
    },
    /// The scenario or command succeeded.
    Pass,
    /// It failed.
    Fail {
        /// Why.
        message: T,
    },
    /// Nothing follows.
    Done,
    /// An event of a later version.
    #[cfg_attr(any(test, feature = "serde"), serde(other))]
    Other,
}

impl<T: Display> Event<T> {
    /// Writes the event as one line of JSON, its end included. It allocates nothing, so that a panic can be reported.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut object = Object(out);
        match self {
            Self::Hello {} => object.begin("hello")?,
            Self::Start { test } => object.begin("start")?.text("test", test)?,
            Self::Metric { name, value, unit } => {
                object.begin("metric")?.text("name", name)?.number("value", *value)?.text("unit", unit)?
            }
            Self::Info { name, value } => object.begin("info")?.text("name", name)?.text("value", value)?,
            Self::Sync { name } => object.begin("sync")?.text("name", name)?,
            Self::Ready { output } => object.begin("ready")?.number("output", *output)?,
            Self::Error { message } => object.begin("error")?.text("message", message)?,
            Self::Skip { reason } => object.begin("skip")?.text("reason", reason)?,
            Self::Pass => object.begin("pass")?,
            Self::Fail { message } => object.begin("fail")?.text("message", message)?,
            Self::Done => object.begin("done")?,
            Self::Other => object.begin("other")?,
        };
        out.write_str("}\n")
    }
}

/// A JSON object of which the end is missing.
struct Object<'a>(&'a mut dyn Write);

impl Object<'_> {
    fn begin(&mut self, event: &str) -> Result<&mut Self, fmt::Error> {
        write!(self.0, "{{\"event\":\"{event}\"")?;
        Ok(self)
    }

    fn text(&mut self, name: &str, value: &dyn Display) -> Result<&mut Self, fmt::Error> {
        write!(self.0, ",\"{name}\":\"")?;
        write!(Escaped(self.0), "{value}")?;
        self.0.write_str("\"")?;
        Ok(self)
    }

    fn number(&mut self, name: &str, value: u64) -> Result<&mut Self, fmt::Error> {
        write!(self.0, ",\"{name}\":{value}")?;
        Ok(self)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{borrow::ToOwned, string::String};

    #[test]
    fn what_is_written_is_read() {
        let text = || "a\u{7}\"b\\\n\u{fc}".to_owned();
        for event in [
            Event::Hello {},
            Event::Start { test: text() },
            Event::Metric { name: text(), value: u64::MAX, unit: text() },
            Event::Info { name: text(), value: text() },
            Event::Sync { name: text() },
            Event::Ready { output: 7 },
            Event::Error { message: text() },
            Event::Skip { reason: text() },
            Event::Pass,
            Event::Fail { message: text() },
            Event::Done,
            Event::Other,
        ] {
            let mut line = String::new();
            event.write(&mut line).unwrap();
            assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?}");
            assert_eq!(serde_json::from_str::<Event<String>>(&line).unwrap(), event);
        }
    }

    #[test]
    fn the_lines_are_as_documented() {
        let line = |event: Event<&str>| {
            let mut line = String::new();
            event.write(&mut line).unwrap();
            line
        };
        assert_eq!(line(Event::Hello {}), "{\"event\":\"hello\"}\n");
        assert_eq!(line(Event::Fail { message: "a\n\"" }), "{\"event\":\"fail\",\"message\":\"a\\u000a\\\"\"}\n");
        assert_eq!(
            line(Event::Metric { name: "x", value: 3, unit: "ns" }),
            "{\"event\":\"metric\",\"name\":\"x\",\"value\":3,\"unit\":\"ns\"}\n"
        );
    }
}
