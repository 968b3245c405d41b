//! Logs and devices with no room left.

use crate::scenarios::{
    region::Region,
    scenario::{Scenario, Step, script},
};
use anyhow::{Result, ensure};

const STEPS: &[Step] = &[
    Step::Guests(&[(0, "fill")]),
    Step::Host(|region| {
        let digest = region.digest()?;
        region.save("full", digest);
        Ok(())
    }),
    Step::Guests(&[(0, "more"), (1, "see")]),
];

fn unchanged(region: &Region) -> Result<()> {
    ensure!(region.digest()? == region.saved("full")?, "what was refused has changed the memory");
    Ok(())
}

/// Every slot has an entry, and what was refused changed no byte.
pub(crate) fn full_log() -> Scenario {
    script(STEPS, |region, _| {
        let checked = region.check()?;
        ensure!(checked.entries == checked.superblock.slots(), "the host finds {} entries", checked.entries);
        unchanged(region)
    })
}

/// Every unit behind the log has a file, and what was refused changed no byte.
pub(crate) fn full_device() -> Scenario {
    script(STEPS, |region, _| {
        let checked = region.check()?;
        let superblock = checked.superblock;
        let units = (superblock.device_len - superblock.log_end()) / superblock.alloc_unit;
        ensure!(checked.entries == units, "the host finds {} files in {units} units", checked.entries);
        unchanged(region)
    })
}
