//! msync and fsync of what was stored through page tables.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn only_dirty() -> Scenario {
    PLAIN
}

pub(crate) fn store_during() -> Scenario {
    Scenario { faults: &["fsync:delay-3000@1"], ..PLAIN }
}

pub(crate) fn fsync_fails() -> Scenario {
    Scenario { faults: &["fsync:EIO@1"], ..PLAIN }
}
