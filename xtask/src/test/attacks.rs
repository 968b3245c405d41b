//! The step that attacks for a few seconds a side: long enough to see what a change broke, not to find what is rare.

use super::{
    optimised,
    runner::{Bench, Done},
};
use crate::{
    attack::{Campaign, Side},
    process::interrupt,
    qemu_test::Tally,
};
use anyhow::{Result, bail};

/// How long each side attacks, in seconds.
const SECONDS: u64 = 5;
/// Always the same: what fails here fails again.
const SEED: u64 = 1;

/// Attacks from each side, which counts as one test.
pub(super) fn step(bench: &mut Bench) -> Result<Done> {
    let campaign = Campaign::of_seconds(SECONDS, SEED);
    let mut tally = Tally::default();
    for side in Side::ALL {
        let verdict = match side {
            Side::Guest => match bench.libraries() {
                Ok(libraries) => side.attack(&bench.context.paths, Some(&libraries), &campaign)?,
                Err(error) => {
                    interrupt::check()?;
                    println!("test attack::{side} ... skipped ({error:#})");
                    tally.skipped += 1;
                    continue;
                }
            },
            Side::Device => {
                if bench.check(optimised::driver(bench))?.failed != 0 {
                    bail!("the device's side cannot be built");
                }
                side.attack_with(&bench.context.paths.target.join("release"), &campaign)?
            }
        };
        let passed = verdict.findings == 0 && verdict.inputs > 0;
        println!("test attack::{side} ... {} ({verdict})", if passed { "ok" } else { "FAILED" });
        *if passed { &mut tally.passed } else { &mut tally.failed } += 1;
    }
    Ok(Done::Ran(tally))
}
