//! Pages go when the file or the window wants them back.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn truncate_unmaps() -> Scenario {
    PLAIN
}

pub(crate) fn punch_unmaps() -> Scenario {
    PLAIN
}

pub(crate) fn reclaim_unmaps() -> Scenario {
    Scenario { big: true, ..PLAIN }
}
