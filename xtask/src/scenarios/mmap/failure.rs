//! A file, and then the whole file system, marked failed while every processor uses it.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn failure_is_everywhere() -> Scenario {
    Scenario { big: true, seconds: 180, ..PLAIN }
}

pub(crate) fn failure_under_load() -> Scenario {
    Scenario { big: true, seconds: 240, ..PLAIN }
}
