//! What is left at the daemon when a session ends.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
        steps::{all_served, served},
    },
};
use anyhow::{Context, Result, ensure};

pub(crate) fn forget_balance() -> Scenario {
    Scenario {
        after: |stage, report| {
            nothing_is_held(stage, report)?;
            let lookups = served(report, "LOOKUP").unwrap_or_default();
            ensure!(lookups >= 300, "only {lookups} LOOKUPs");
            all_served(report, &["BATCH_FORGET", "READDIRPLUS"])
        },
        ..PLAIN
    }
}

pub(crate) fn unmount_with_open_files() -> Scenario {
    Scenario {
        after: |stage, report| {
            nothing_is_held(stage, report)?;
            all_served(report, &["OPEN", "OPENDIR", "DESTROY"])
        },
        ..PLAIN
    }
}

pub(crate) fn pipelined() -> Scenario {
    Scenario {
        after: |_, report| {
            let reads = served(report, "READ");
            ensure!(reads.is_none_or(|count| count >= 80), "{reads:?} READs were served of 80");
            Ok(())
        },
        ..PLAIN
    }
}

/// The daemon's count of look-ups has come back to nothing, after there were some.
fn nothing_is_held(_: &Stage, report: &Report) -> Result<()> {
    let record = report.record.as_ref().context("the daemon left no record")?;
    let summary = record.summary().context("the daemon's record has no summary")?;
    let held = summary.lookups_outstanding;
    ensure!(held == 0, "{held} look-ups were not given back");
    ensure!(record.requests("LOOKUP") > 0, "nothing was ever looked up");
    Ok(())
}
