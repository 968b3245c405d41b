//! The end of a run. Only the first end counts: nothing is sent after it, and every processor stops.

use crate::{
    arch::{cpu, port, smp},
    events::{self, Message},
};
use core::fmt::Display;
use testkernel_protocol::{
    event::Event,
    exit::{FAILED, PASSED, PORT},
};

/// Reports success and ends the machine.
pub(crate) fn pass() -> ! {
    end(&Event::Pass, PASSED)
}

/// Reports that a scenario does not apply here and ends the machine; its status is that of success.
pub(crate) fn skip(reason: &dyn Display) -> ! {
    log::info!("skipped: {reason}");
    end(&Event::Skip { reason }, PASSED)
}

/// Reports failure and ends the machine.
pub(crate) fn fail(message: &dyn Display) -> ! {
    log::error!("{message}");
    end(&Event::Fail { message }, FAILED)
}

/// Ends the machine with no word to the host, as a kernel that went wrong would.
pub(crate) fn abandon() -> ! {
    leave(PASSED)
}

fn end(verdict: &Message<'_>, value: u32) -> ! {
    if !events::close(verdict) {
        cpu::stop();
    }
    leave(value)
}

/// Ends QEMU, which runs the machine on for a moment after the write: every processor waits there. Without the device it
/// waits for ever, and the host's deadline ends it.
fn leave(value: u32) -> ! {
    smp::stop_others();
    port::write_u32(PORT, value);
    cpu::stop()
}
