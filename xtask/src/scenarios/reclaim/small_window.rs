//! More files than window.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
        steps,
    },
};
use anyhow::{Result, ensure};
use testkernel_protocol::share;

const MIB: u64 = 1 << 20;

pub(crate) fn small_window() -> Scenario {
    Scenario { big: true, after: reclaim_is_balanced, ..PLAIN }
}

/// A file four times as long as the window was read right, with never more mappings than fit, and all of them removed.
pub(super) fn reclaim_is_balanced(stage: &Stage, report: &Report) -> Result<()> {
    stage.hash_is_the_hosts(report, share::BIG.name)?;
    let record = steps::record(report)?;
    let (most, fit) = (record.most_live() as u64, stage.window.unwrap_or_default() / (2 * MIB));
    ensure!(most <= fit, "{most} mappings were alive at once in a window of {fit} ranges");
    ensure!(record.maps() as u64 >= 4 * fit, "{} mappings cannot have covered {}", record.maps(), share::BIG.name);
    Ok(())
}
