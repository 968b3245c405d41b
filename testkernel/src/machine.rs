//! What the kernel runs on.

use crate::{boot::start_info::StartInfo, cmdline::CommandLine};
use core::ops::Range;

/// What the machine is and what was asked of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// What the boot loader said.
    pub(crate) start_info: &'static StartInfo,
    /// The command line.
    pub(crate) command_line: &'static CommandLine,
}

impl Machine {
    /// The machine's RAM: no window may lie in it.
    pub(crate) fn ram(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        self.start_info.memory().iter().map(|range| range.start..range.end)
    }
}
