//! Pages come by faults.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn read_fault_4k() -> Scenario {
    PLAIN
}

pub(crate) fn huge_fault_2m() -> Scenario {
    PLAIN
}

pub(crate) fn tail_page() -> Scenario {
    PLAIN
}

pub(crate) fn past_eof_is_bus_error() -> Scenario {
    PLAIN
}
