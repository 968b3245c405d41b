//! The words of the kernel's command line.

use crate::{
    rig::{machine::Machine, plan::Deadlines},
    scenarios::Test,
};
use testkernel_protocol::command_line::{DEADLINE, INTERRUPTS, MODE, TEST, WINDOW, mode, word};

/// Those that every scenario has, with so many seconds for its watchdog.
pub(super) fn words(test: &Test, machine: &Machine, accelerator: &str, seconds: u64) -> Vec<String> {
    let mut words = vec![
        word(MODE, mode::TEST),
        word(TEST, test.scenario.name),
        word(DEADLINE, &(seconds * u64::from(Deadlines::slower(accelerator))).to_string()),
        word(INTERRUPTS, machine.interrupts),
    ];
    if let Some(window) = machine.window() {
        words.push(word(WINDOW, &window.to_string()));
    }
    words
}
