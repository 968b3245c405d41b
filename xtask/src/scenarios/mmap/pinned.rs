//! Pages that are pinned are neither cut nor reclaimed.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn pinned_range_is_skipped() -> Scenario {
    Scenario { big: true, ..PLAIN }
}

pub(crate) fn all_pinned_times_out() -> Scenario {
    Scenario { big: true, ..PLAIN }
}
