//! A session with the server begins and ends.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
    },
};
use anyhow::{Result, ensure};

pub(crate) fn init() -> Scenario {
    Scenario { after: session_is_described, ..PLAIN }
}

pub(crate) fn interrupts() -> Scenario {
    PLAIN
}

/// The kernel reported what the session negotiated.
pub(super) fn session_is_described(_: &Stage, report: &Report) -> Result<()> {
    for name in ["fuse_version", "flags"] {
        ensure!(report.info(name).is_some_and(|value| !value.is_empty()), "the kernel did not report `{name}`");
    }
    Ok(())
}
