//! Files on memory that has failed.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn failed_file() -> Scenario {
    PLAIN
}
