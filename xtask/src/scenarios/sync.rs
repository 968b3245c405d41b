//! Synchronous faults.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
    },
};
use anyhow::{Context, Result, bail, ensure};

pub(crate) fn refused_by_default() -> Scenario {
    PLAIN
}

pub(crate) fn fsync_before_writable() -> Scenario {
    Scenario { after: metadata_came_first, ..PLAIN }
}

pub(crate) fn truth_table() -> Scenario {
    PLAIN
}

pub(crate) fn fsync_error_is_bus_error() -> Scenario {
    Scenario { faults: &["fsync:EIO@1", "fsync:ENOSYS@2"], ..PLAIN }
}

pub(crate) fn cut_meanwhile() -> Scenario {
    Scenario { faults: &["fsync:delay-1500@1"], ..PLAIN }
}

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
