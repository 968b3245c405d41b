//! Devices that lose interrupts, and that are reset while they work.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn interrupts_lost() -> Scenario {
    PLAIN
}

pub(crate) fn reset_under_load() -> Scenario {
    PLAIN
}
