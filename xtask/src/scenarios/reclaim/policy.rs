//! Which mappings go, and which come before they are asked for.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn guard() -> Scenario {
    Scenario { big: true, ..PLAIN }
}

pub(crate) fn read_ahead() -> Scenario {
    Scenario { big: true, ..PLAIN }
}

pub(crate) fn background() -> Scenario {
    Scenario { big: true, ..PLAIN }
}
