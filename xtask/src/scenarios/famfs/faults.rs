//! Page faults: how many, and of which memory.

use crate::scenarios::{
    region,
    scenario::{Scenario, Step, script},
};
use anyhow::ensure;
use testkernel_protocol::shared_memory::NEIGHBOURS;

/// What was stored is what was there.
pub(crate) fn fault_counts() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(1, "touch")])], |region, _| {
        let checked = region.check()?;
        ["plain", "strips", "small"].iter().try_for_each(|name| region.holds(&checked, name, name))
    })
}

/// The neighbours are as they were, and so is what the extent has behind the file's last page.
pub(crate) fn isolation() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(1, "store")])], |region, _| {
        let checked = region.check()?;
        let [left, middle, right] = NEIGHBOURS;
        for other in [left, right] {
            region.holds(&checked, other.name, other.name)?;
        }
        let file = region::file(&checked, middle.name)?;
        let found = region.contents(file)?;
        let (ones, rest) = found.split_at(found.len() - 3);
        ensure!(ones.iter().all(|byte| *byte == 0xff) && rest == [7; 3], "{} has other bytes", middle.name);
        let (extent, end) = (file.extents()[0], middle.size.next_multiple_of(4096));
        let tail = region.read(extent.offset.0 + end, usize::try_from(extent.len - end)?)?;
        ensure!(tail.iter().all(|byte| *byte == 0), "bytes behind the last page of {} were stored to", middle.name);
        Ok(())
    })
}
