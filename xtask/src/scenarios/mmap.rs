//! Mapping files by page faults, and synchronous faults.

use super::{PLAIN, SMALL_WINDOWS, Scenario, Stage, content::Content};
use crate::rig::boot::Report;
use anyhow::{Context, Result, bail, ensure};

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// What the kernel stores through page tables is in the host's file.
pub(super) const WRITE_FAULT_MARKS_DIRTY: Scenario = Scenario {
    name: "mmap::write_fault_marks_dirty",
    at: |stage, name| match name {
        "stored" => {
            let small = 2 * MIB;
            let stores = [
                (small + 5 * PAGE + 8, 0x1112),
                (small + 9 * PAGE, 0x2223),
                (4096, 0x3334),
                (small + 5 * PAGE + 16, 0x4445),
                (2 * MIB - 8, 0x5556),
            ];
            stage.holds("dax/guest-write", &with_words("dax/guest-write", 4 * MIB, &stores))
        }
        _ => bail!("the kernel waits for `{name}`, not `stored`"),
    },
    after: |stage, _| stage.passed_by("stored"),
    ..PLAIN
};

/// What the kernel stores to a private view is not in the host's file; what it stores to a shared one is.
pub(super) const PRIVATE_COW: Scenario = Scenario {
    name: "mmap::private_cow",
    at: |stage, name| match name {
        "untouched" => {
            let stores = [(3 * PAGE + 8, 0xf1), (4 * PAGE, 0xf2)];
            stage.holds("dax/map", &with_words("dax/map", 6 * MIB, &stores))
        }
        _ => bail!("the kernel waits for `{name}`, not `untouched`"),
    },
    after: |stage, _| stage.passed_by("untouched"),
    ..PLAIN
};

/// A cut that is refused leaves the host's file as it was; in the end it is cut.
pub(super) const PINNED_BY_A_PROGRAM: Scenario = Scenario {
    name: "mmap::pinned_by_a_program",
    machines: SMALL_WINDOWS,
    big: true,
    at: |stage, name| match name {
        "uncut" => stage.holds("dax/map", &Content::of("dax/map").bytes(0, 6 * MIB)),
        _ => bail!("the kernel waits for `{name}`, not `uncut`"),
    },
    after: |stage, _| {
        stage.passed_by("uncut")?;
        stage.holds("dax/map", &Content::of("dax/map").bytes(0, 2 * MIB))
    },
    ..PLAIN
};

/// The marks that the kernel leaves, in pairs: look-ups of names that don't exist.
const MARKS: usize = 6;

/// Between the marks around the two stores that made a page writable the daemon allocated and synchronised, in this order;
/// between those around stores that made nothing writable it was asked for neither.
pub(super) fn metadata_came_first(_: &Stage, report: &Report) -> Result<()> {
    let record = report.record.as_ref().context("the daemon left no record")?;
    let requests: Vec<(&str, i64)> = record.all_requests().collect();
    let failed_lookup = |request: &(&str, i64)| request.0 == "LOOKUP" && request.1 != 0;
    let marks: Vec<usize> = (0..requests.len()).filter(|&index| failed_lookup(&requests[index])).collect();
    ensure!(marks.len() >= MARKS, "the record shows {} marks, not {MARKS}", marks.len());
    // What came before the marks may have looked for names in vain, too.
    let marks = &marks[marks.len() - MARKS..];
    for (pair, what) in marks.chunks(2).zip(["the large page", "the small page", "nothing"]) {
        let between = &requests[pair[0] + 1..pair[1]];
        let done = |name: &str| between.iter().position(|&(opcode, error)| opcode == name && error == 0);
        match (done("FALLOCATE"), done("FSYNC"), what) {
            (None, None, "nothing") => {}
            (Some(allocated), Some(synchronised), "the large page" | "the small page") if allocated < synchronised => {}
            _ => bail!("around the store that made {what} writable the daemon answered {between:?}"),
        }
    }
    Ok(())
}

/// The contents of a file with some little-endian words of 64 bits stored to it.
fn with_words(name: &str, length: usize, words: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = Content::of(name).bytes(0, length);
    for &(offset, word) in words {
        bytes[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stored_where_they_belong() {
        let bytes = with_words("x", 64, &[(8, 0x0102), (56, u64::MAX)]);
        let plain = Content::of("x").bytes(0, 64);
        assert_eq!((&bytes[..8], &bytes[16..56]), (&plain[..8], &plain[16..56]));
        assert_eq!((&bytes[8..10], &bytes[56..]), ([2, 1].as_slice(), [0xff; 8].as_slice()));
    }
}
