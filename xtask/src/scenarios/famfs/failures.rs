//! Memory that fails, and memory that is wanted twice.

use crate::scenarios::{
    region::Region,
    scenario::{Scenario, Step, script},
};
use anyhow::Result;
use testkernel_protocol::shared_memory::NEIGHBOURS;

/// What was reported to one guest as lost is still there.
fn intact(region: &Region) -> Result<()> {
    let checked = region.check()?;
    NEIGHBOURS.iter().try_for_each(|file| region.holds(&checked, file.name, file.name))
}

/// Nothing was stored to files that failed, and the other guest still has them.
pub(crate) fn failed_range() -> Scenario {
    const STEPS: &[Step] =
        &[Step::Guests(&[(0, "make")]), Step::Guests(&[(0, "lose")]), Step::Guests(&[(1, "others")])];
    script(STEPS, |region, _| intact(region))
}

/// Nothing was stored to files that failed.
pub(crate) fn failed_device() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(0, "lose")])], |region, _| intact(region))
}

/// Nothing was stored by mounts that were refused.
pub(crate) fn second_mount_busy() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(0, "twice")])], |region, _| intact(region))
}
