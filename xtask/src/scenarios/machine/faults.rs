//! Page faults.

use crate::scenarios::scenario::{PLAIN, Scenario};

pub(crate) fn faults_resume() -> Scenario {
    PLAIN
}
