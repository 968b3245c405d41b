//! The host's look at what the driver's operations did.

mod data;
mod full;
mod names;
mod session;
mod special;

use super::{Scenario, Stage};
use crate::rig::boot::Report;
use anyhow::{Context, Result, bail, ensure};

/// The machines that show all sides of the driver.
const MACHINES: &[&str] = &["q35-dax", "q35-dax-small", "q35-plain", "microvm-plain"];
/// Those whose daemon keeps a record.
const RECORDED: &[&str] = &["q35-dax", "q35-dax-small"];
const PLAIN: Scenario = Scenario { machines: MACHINES, ..super::PLAIN };

/// All of them.
pub(super) const ALL: [Scenario; 18] = [
    data::CREATE_WRITE_TRUNCATE,
    data::FALLOCATE_HOLES,
    data::COPY_RANGE,
    data::LSEEK_SPARSE,
    data::TMPFILE,
    names::MAKING_AND_RENAMING,
    names::READDIRPLUS,
    names::PATHS,
    names::ERRORS,
    names::READ_ONLY,
    special::ATTRIBUTES,
    special::XATTRS,
    special::STATFS_SYNC,
    full::FULL_DISK,
    special::LOCKS,
    session::FORGET_BALANCE,
    session::UNMOUNT_WITH_OPEN_FILES,
    session::PIPELINED,
];

/// For a point that a scenario does not have.
fn unknown(name: &str) -> Result<()> {
    bail!("the kernel waits for `{name}`, of which the host knows nothing")
}

/// What the kernel told under a name.
fn told<'r>(report: &'r Report, name: &str) -> Result<&'r str> {
    report.info(name).with_context(|| format!("the kernel did not tell `{name}`"))
}

/// Fails unless the kernel told one of these words.
fn told_one_of(report: &Report, name: &str, words: &[&str]) -> Result<()> {
    let word = told(report, name)?;
    ensure!(words.contains(&word), "the kernel told `{word}` as `{name}`, not one of {words:?}");
    Ok(())
}

/// How many requests of a kind the daemon served, if it keeps a record.
fn served(report: &Report, opcode: &str) -> Option<usize> {
    report.record.as_ref().map(|record| record.requests(opcode))
}

/// Fails unless the daemon served a request of each kind; those without a record are not asked.
fn all_served(report: &Report, opcodes: &[&str]) -> Result<()> {
    for opcode in opcodes {
        ensure!(served(report, opcode) != Some(0), "the daemon served no {opcode}");
    }
    Ok(())
}

/// Fails unless a file of the share has this size.
fn has_size(stage: &Stage, name: &str, size: u64) -> Result<()> {
    let found = stage.share.join(name).metadata().with_context(|| format!("the host cannot see {name}"))?.len();
    ensure!(found == size, "{name} has {found} bytes on the host, not {size}");
    Ok(())
}
