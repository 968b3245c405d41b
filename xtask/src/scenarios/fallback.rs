//! A daemon without a window.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    steps,
};
use anyhow::{Context, bail, ensure};
use testkernel_protocol::content::Content;

/// The unmodified virtiofsd serves no window: the kernel says so, reads, and writes.
pub(crate) fn unmodified_virtiofsd() -> Scenario {
    Scenario {
        at: |stage, name| match name {
            "written" => stage.holds("fallback-write", &Content::of("fallback-write").bytes(0, 5000)),
            _ => bail!("the kernel waits for `{name}`, not `written`"),
        },
        after: |stage, report| {
            stage.passed_by("written")?;
            let reason = report.info("dax_off").context("the kernel did not say why DAX is off")?;
            ensure!(!reason.is_empty(), "the kernel gave no reason for DAX being off");
            steps::sizes_are_the_hosts(stage, report)
        },
        ..PLAIN
    }
}
