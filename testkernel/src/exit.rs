//! The end of a run.

use crate::{
    arch::{cpu, port},
    events::{self, Value},
};
use core::fmt::Display;

/// Port of QEMU's isa-debug-exit device; QEMU ends with status `2 * value + 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// Ends QEMU with status 33, which none of QEMU's own failures has.
const PASSED: u32 = 16;
/// Ends QEMU with status 35.
const FAILED: u32 = 17;

/// Reports success and ends the machine.
pub(crate) fn pass() -> ! {
    events::send("pass", &[]);
    events::send("done", &[]);
    leave(PASSED)
}

/// Reports that a scenario does not apply here and ends the machine; its status is that of success.
pub(crate) fn skip(reason: &dyn Display) -> ! {
    log::info!("skipped: {reason}");
    events::send("skip", &[("reason", Value::Text(reason))]);
    events::send("done", &[]);
    leave(PASSED)
}

/// Reports failure and ends the machine.
pub(crate) fn fail(message: &dyn Display) -> ! {
    log::error!("{message}");
    events::send("fail", &[("message", Value::Text(message))]);
    events::send("done", &[]);
    leave(FAILED)
}

/// Ends the machine with no word to the host, as a kernel that went wrong would.
pub(crate) fn abandon() -> ! {
    leave(PASSED)
}

fn leave(value: u32) -> ! {
    port::write_u32(DEBUG_EXIT, value);
    // No such device: a triple fault ends a QEMU that was started with -no-reboot.
    cpu::triple_fault()
}
