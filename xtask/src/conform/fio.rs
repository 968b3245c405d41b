//! fio: blocks with a checksum in each are written by two processes and read back, by pwrite and pread, and by mmap.

use super::{
    case::{self, Cases},
    place::Place,
    tools,
};
use crate::{process, setup::Context};
use anyhow::Result;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(1800);
/// Calls that read and write, and bytes of each process.
const CALLS: (&str, &str) = ("psync", "48M");
/// The same by stores and loads.
const MAPPINGS: (&str, &str) = ("mmap", "32M");

/// Both ways.
pub(super) fn run(context: &Context, place: &Place) -> Result<Cases> {
    verified(context, place, &[CALLS, MAPPINGS])
}

/// By calls alone, for files that the kernel caches no page of.
pub(super) fn direct(context: &Context, place: &Place) -> Result<Cases> {
    verified(context, place, &[CALLS])
}

fn verified(context: &Context, place: &Place, engines: &[(&str, &str)]) -> Result<Cases> {
    let fio = tools::packaged(context, "fio")?;
    let mut cases = Cases::new();
    for (engine, size) in engines {
        let mut command = fio.command();
        command.arg(format!("--directory={}", place.folder.display())).arg(format!("--ioengine={engine}"));
        command.arg(format!("--size={size}")).args([
            "--name=verify",
            "--numjobs=2",
            "--rw=randwrite",
            "--bs=4k-128k",
            "--verify=crc32c",
            "--do_verify=1",
            "--verify_fatal=1",
            "--fsync=64",
            "--unlink=1",
        ]);
        let outcome = process::quiet(command.current_dir(&place.scratch), PATIENCE).map(drop);
        cases.extend(case::one(engine, outcome));
    }
    Ok(cases)
}
