//! Folders.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    steps,
};

pub(crate) fn listing_matches_host() -> Scenario {
    Scenario { after: steps::listing_is_the_hosts, ..PLAIN }
}
