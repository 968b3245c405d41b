//! Several commands in one boot: the host sends them one by one.

use crate::{
    arch::cpu,
    commands::Session,
    console::LineReader,
    events::{self, Message},
    machine::Machine,
    outcome::{Outcome, Stop},
    watchdog,
};
use alloc::{string::String, vec::Vec};
use core::time::Duration;
use testkernel_protocol::{
    console::{self, Line},
    event::Event,
};

/// Runs commands until the host ends the shell. One that fails is reported, and the shell goes on.
///
/// # Errors
/// When the file system cannot be unmounted.
pub(crate) fn run(machine: &Machine) -> Outcome {
    let mut session = Session::new(machine);
    let mut reader = LineReader::default();
    while let Some(words) = next(&mut reader) {
        watchdog::start(machine.command_line.deadline.map(Duration::from_secs));
        if let Err(Stop::Fail(message) | Stop::Skip(message)) = session.run(&words) {
            let failed: Message<'_> = Event::Error { message: &message };
            events::send(&failed);
        }
    }
    session.end()
}

/// The next command; `None` at the end. A person may take any time.
fn next(reader: &mut LineReader) -> Option<Vec<String>> {
    watchdog::pause();
    events::ready();
    loop {
        while let Some(line) = reader.poll() {
            match console::parse(&line) {
                Some(Line::Command(words)) => return Some(words),
                Some(Line::End) => return None,
                Some(Line::Go(_)) | None => log::warn!("the host said {line:?} to the shell"),
            }
        }
        cpu::wait_for_interrupt();
    }
}
