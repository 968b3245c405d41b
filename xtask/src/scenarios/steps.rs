//! Looks at what a scenario did that several scenarios take.

use super::stage::{Stage, same};
use crate::rig::{boot::Report, record::Record};
use anyhow::{Context, Result, bail, ensure};
use std::{fs, os::unix::ffi::OsStrExt};
use testkernel_protocol::share;

/// For a point that a scenario does not have.
pub(crate) fn unknown(name: &str) -> Result<()> {
    bail!("the kernel waits for `{name}`, of which the host knows nothing")
}

/// What the kernel reported under a name.
pub(crate) fn told<'r>(report: &'r Report, name: &str) -> Result<&'r str> {
    report.info(name).with_context(|| format!("the kernel did not report `{name}`"))
}

/// Fails unless the kernel reported one of these words.
pub(crate) fn told_one_of(report: &Report, name: &str, words: &[&str]) -> Result<()> {
    let word = told(report, name)?;
    ensure!(words.contains(&word), "the kernel reported `{word}` as `{name}`, not one of {words:?}");
    Ok(())
}

/// How many requests of a kind the daemon served, if it keeps a record.
pub(crate) fn served(report: &Report, opcode: &str) -> Option<usize> {
    report.record.as_ref().map(|record| record.requests(opcode))
}

/// Fails unless the daemon served a request of each kind; those without a record are not asked.
pub(crate) fn all_served(report: &Report, opcodes: &[&str]) -> Result<()> {
    for opcode in opcodes {
        ensure!(served(report, opcode) != Some(0), "the daemon served no {opcode}");
    }
    Ok(())
}

/// Fails unless a file of the share has this size.
pub(crate) fn has_size(stage: &Stage, name: &str, size: u64) -> Result<()> {
    let found = stage.share.join(name).metadata().with_context(|| format!("the host cannot see {name}"))?.len();
    ensure!(found == size, "{name} has {found} bytes on the host, not {size}");
    Ok(())
}

/// The listing that the kernel put out is the host's own: `f SIZE NAME` or `d - NAME`, sorted by name.
pub(crate) fn listing_is_the_hosts(stage: &Stage, _: &Report) -> Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(stage.share.join(share::MANY))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let kind = if metadata.is_dir() { "d -".to_owned() } else { format!("f {}", metadata.len()) };
        entries.push((entry.file_name().as_bytes().to_vec(), kind));
    }
    entries.sort();
    let mut expected = Vec::new();
    for (name, kind) in entries {
        expected.extend_from_slice(kind.as_bytes());
        expected.push(b' ');
        expected.extend_from_slice(&name);
        expected.push(b'\n');
    }
    same("the listing of the folder with many entries", &stage.output, &expected)
}

/// The kernel read the file of every size as the host has it.
pub(crate) fn sizes_are_the_hosts(stage: &Stage, report: &Report) -> Result<()> {
    share::SIZES.iter().try_for_each(|&size| stage.hash_is_the_hosts(report, &share::sized(size)))
}

/// The daemon's record, which it must have left.
pub(crate) fn record(report: &Report) -> Result<&Record> {
    report.record.as_ref().context("the daemon left no record")
}
