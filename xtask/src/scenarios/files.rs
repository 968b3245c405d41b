//! Files, with and without a window.

use super::{PLAIN, Scenario, Stage, WITHOUT_WINDOW, content::Content, share};
use crate::rig::boot::Report;
use anyhow::{Context, Result, bail, ensure};

/// The unmodified virtiofsd serves no window: the kernel says so, reads, and writes.
pub(super) const UNMODIFIED_VIRTIOFSD: Scenario = Scenario {
    name: "fallback::unmodified_virtiofsd",
    machines: WITHOUT_WINDOW,
    at: |stage, name| match name {
        "written" => stage.holds("fallback-write", &Content::of("fallback-write").bytes(0, 5000)),
        _ => bail!("the kernel waits for `{name}`, not `written`"),
    },
    after: |stage, report| {
        stage.passed_by("written")?;
        let reason = report.info("dax_off").context("the kernel did not say why DAX is off")?;
        ensure!(!reason.is_empty(), "the kernel gave no reason for DAX being off");
        sizes_are_the_hosts(stage, report)
    },
    ..PLAIN
};

/// The kernel told what the session negotiated.
pub(super) fn session_is_described(_: &Stage, report: &Report) -> Result<()> {
    for name in ["fuse_version", "flags"] {
        ensure!(report.info(name).is_some_and(|value| !value.is_empty()), "the kernel did not tell `{name}`");
    }
    Ok(())
}

/// The kernel read every file under `files/` as the host has it.
pub(super) fn hashes_are_the_hosts(stage: &Stage, report: &Report) -> Result<()> {
    stage.hash_is_the_hosts(report, share::SPARSE)?;
    sizes_are_the_hosts(stage, report)
}

/// The kernel read the file of every size as the host has it.
pub(super) fn sizes_are_the_hosts(stage: &Stage, report: &Report) -> Result<()> {
    share::sized().iter().try_for_each(|name| stage.hash_is_the_hosts(report, name))
}
