//! Files, as the host has them.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
        steps,
    },
};
use anyhow::Result;
use testkernel_protocol::share;

pub(crate) fn read_matches_host() -> Scenario {
    Scenario { after: hashes_are_the_hosts, ..PLAIN }
}

/// The kernel read every file under `files/` as the host has it.
pub(super) fn hashes_are_the_hosts(stage: &Stage, report: &Report) -> Result<()> {
    stage.hash_is_the_hosts(report, share::SPARSE.name)?;
    steps::sizes_are_the_hosts(stage, report)
}
