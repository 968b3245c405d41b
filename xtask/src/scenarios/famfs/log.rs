//! Following the log.

use crate::scenarios::{
    region::Region,
    scenario::{Scenario, Step, script},
    steps::told,
};
use anyhow::{Result, ensure};
use testkernel_protocol::shared_memory::{APPENDED, PLAIN, SMALL, appended_size};

/// The kernel sees what it must; the host sees three entries.
pub(crate) fn log_follow() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Guests(&[(1, "join")]),
        Step::Guests(&[(0, "add")]),
        Step::Guests(&[(1, "follow")]),
    ];
    script(STEPS, |region, _| {
        let entries = region.check()?.entries;
        ensure!(entries == 3, "the host finds {entries} entries");
        Ok(())
    })
}

/// The host finds every file that was added meanwhile.
pub(crate) fn follow_while_appending() -> Scenario {
    const STEPS: &[Step] =
        &[Step::Guests(&[(0, "make")]), Step::Guests(&[(1, "join")]), Step::Guests(&[(1, "follow"), (0, "append")])];
    script(STEPS, |region, _| {
        let checked = region.check()?;
        for number in 0..APPENDED {
            let size = crate::scenarios::region::file(&checked, &format!("file-{number}"))?.size();
            ensure!(size == appended_size(number), "file {number} has {size} bytes");
        }
        Ok(())
    })
}

/// The guest that came late reports the same as the one that was there.
pub(crate) fn late_client() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Guests(&[(1, "join")]),
        Step::Guests(&[(0, "add")]),
        Step::Guests(&[(1, "see"), (2, "see")]),
    ];
    script(STEPS, |region, reports| {
        let [_, early, late] = reports else { anyhow::bail!("{} guests, not three", reports.len()) };
        ensure!(told(early, "free")? == told(late, "free")?, "the two see different room");
        let checked = region.check()?;
        [PLAIN, SMALL].iter().try_for_each(|file| region.holds(&checked, file.name, file.name))
    })
}

/// Bytes of an entry, and of its checksum at the end.
const ENTRY: usize = 544;
const CRC: usize = 8;
/// Where in an entry its type is.
const TYPE: usize = 8;
/// A type of which no format has a record.
const DELETE: u32 = 2;

/// Flips a byte in the path of the second entry, which mends it the next time.
fn tear(region: &mut Region) -> Result<()> {
    let superblock = region.check_superblock()?;
    let at = superblock.entry_offset(1) + 45;
    let byte = region.read(at, 1)?[0];
    region.write(at, &[byte ^ 0x20])
}

/// Makes the third entry one that is whole and wrong.
fn spoil(region: &mut Region) -> Result<()> {
    let at = region.check_superblock()?.entry_offset(2);
    let mut entry = region.read(at, ENTRY)?;
    entry[TYPE..TYPE + 4].copy_from_slice(&DELETE.to_le_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&entry[..ENTRY - CRC]);
    entry[ENTRY - CRC..].copy_from_slice(&u64::from(crc.sum()).to_le_bytes());
    region.write(at, &entry)
}

/// The kernel finds what the host did to the entries, and the host finds that nothing else was done to them.
pub(crate) fn torn_entry_refused() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Host(tear),
        Step::Guests(&[(1, "torn")]),
        Step::Host(tear),
        Step::Host(spoil),
        Step::Guests(&[(1, "mended")]),
    ];
    script(STEPS, |region, _| {
        let wrong = region.check().map(drop).map_err(|error| error.to_string());
        let only = wrong.as_ref().is_err_and(|error| error.contains("entry 2:type") && !error.contains(','));
        ensure!(only, "the host finds {wrong:?}");
        Ok(())
    })
}
