//! What tests with a share have in common, be it one guest or two.

use crate::{
    rig::{
        boot::Report,
        verdict::{Failure, Success, Witness},
    },
    scenarios::{scenario::Scenario, stage::Stage},
};

/// RAM of the machines.
pub(super) const MEMORY: u64 = 512 << 20;

/// The host's own look, when everything else agrees.
pub(super) fn witnessed(
    scenario: &Scenario,
    stage: &Stage,
    report: &Report,
    success: Success,
) -> Result<Success, Failure> {
    if success == Success::Passed {
        (scenario.after)(stage, report).map_err(|error| Failure::new(Witness::Host, format!("{error:#}")))?;
    }
    Ok(success)
}
