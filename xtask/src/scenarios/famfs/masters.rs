//! Who may write, and what becomes of what a master left.

use crate::scenarios::{
    region::Region,
    scenario::{Scenario, Step, script},
};
use anyhow::{Result, ensure};

/// Where in the log's header the two counters are.
const NEXT_SEQNUM: u64 = 32;
const NEXT_INDEX: u64 = 40;
/// What is saved of a log: its header and a few entries.
const SAVED: usize = 64 << 10;

fn counter(region: &Region, at: u64) -> Result<u64> {
    region.number(region.check_superblock()?.log_offset + at)
}

fn set_counter(region: &Region, at: u64, value: u64) -> Result<()> {
    region.write(region.check_superblock()?.log_offset + at, &value.to_le_bytes())
}

/// Both counters are there twice: what was settled is at rest, and what was dropped is free for the next entry.
pub(crate) fn interrupted_append_settled() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        // As if the master had died between its two counters.
        Step::Host(|region| set_counter(region, NEXT_INDEX, 1)),
        Step::Guests(&[(1, "whole")]),
        Step::Guests(&[(0, "settle")]),
        Step::Host(|region| {
            let counters = (counter(region, NEXT_SEQNUM)?, counter(region, NEXT_INDEX)?);
            ensure!(counters == (2, 2), "the counters are settled as {counters:?}");
            // As if it had died with the first line of its entry written back.
            let superblock = region.check_superblock()?;
            region.write(superblock.entry_offset(2), &2_u64.to_le_bytes())?;
            region.write(superblock.entry_offset(2) + 40, b"half")?;
            set_counter(region, NEXT_SEQNUM, 3)
        }),
        Step::Guests(&[(1, "settled")]),
        Step::Guests(&[(0, "drop")]),
        Step::Guests(&[(1, "dropped")]),
    ];
    script(STEPS, |region, _| {
        let counters = (counter(region, NEXT_SEQNUM)?, counter(region, NEXT_INDEX)?);
        ensure!(counters == (3, 3), "the counters are {counters:?} in the end");
        let checked = region.check()?;
        ["one", "two", "three"].iter().try_for_each(|name| region.holds(&checked, name, name))
    })
}

/// The file system is made anew, and later the host sets its log back to what it was.
pub(crate) fn reformat_makes_stale() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Guests(&[(1, "use")]),
        Step::Guests(&[(0, "anew")]),
        Step::Guests(&[(1, "stale")]),
        Step::Host(|region| {
            let log = region.read(region.check_superblock()?.log_offset, SAVED)?;
            region.save("empty log", log);
            Ok(())
        }),
        Step::Guests(&[(0, "fill")]),
        Step::Guests(&[(1, "use")]),
        Step::Host(|region| region.write(region.check_superblock()?.log_offset, region.saved("empty log")?)),
        Step::Guests(&[(1, "stale")]),
    ];
    script(STEPS, |region, _| {
        let checked = region.check()?;
        ensure!(checked.superblock.uuid.0 == [9; 16], "the host finds {}", checked.superblock.uuid);
        ensure!(checked.entries == 0, "the host finds {} entries in a log that it emptied", checked.entries);
        Ok(())
    })
}

/// The log has the first writer's entry, and nothing of the second one's.
pub(crate) fn second_master_refused() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Guests(&[(1, "join")]),
        Step::Guests(&[(0, "first")]),
        Step::Host(|region| {
            let digest = region.digest()?;
            region.save("first", digest);
            Ok(())
        }),
        Step::Guests(&[(1, "second")]),
    ];
    script(STEPS, |region, _| {
        ensure!(region.digest()? == region.saved("first")?, "the second writer has changed the memory");
        let checked = region.check()?;
        ensure!(checked.entries == 1, "the host finds {} entries", checked.entries);
        Ok(())
    })
}
