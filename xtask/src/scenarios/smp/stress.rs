//! Several processors at the same files.

use crate::scenarios::scenario::{PLAIN, Scenario};
use testkernel_protocol::command_line::SECONDS;

pub(crate) fn stress() -> Scenario {
    Scenario {
        big: true,
        words: &[(SECONDS, "10")],
        seconds: 240,
        after: |stage, report| stage.hash_is_the_hosts(report, "smp-own"),
        ..PLAIN
    }
}
