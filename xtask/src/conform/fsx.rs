//! fsx: random operations on one file, each read checked against what was written.

use super::{case, case::Cases, place::Place, tools};
use crate::{process, setup::Context};
use anyhow::{Context as _, Result};
use std::{fs, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(1800);
/// A file larger than the smaller window, and all operations that the suite knows but those on mappings.
const CONFIGURATION: &str = "
flen = 25165824
[opsize]
max = 262144
min = 1
align = 1
[weights]
read = 10
write = 10
truncate = 3
fsync = 1
fdatasync = 1
punch_hole = 2
posix_fallocate = 1
copy_file_range = 3
close_open = 1
";
/// Those on mappings.
const MAPPINGS: &str = "mapread = 10
mapwrite = 10
invalidate = 1
";
/// Seeds: a run with one of them is the same every time.
const SEEDS: [u64; 3] = [1, 20_190_822, 7_919];
/// Operations of each seed in the short form, and in the long one.
const OPERATIONS: (u64, u64) = (1000, 20_000);

/// Runs it with each seed.
pub(super) fn run(context: &Context, place: &Place) -> Result<Cases> {
    with(context, place, &[CONFIGURATION, MAPPINGS].concat())
}

/// The same without mappings, for files that the kernel caches no page of.
pub(super) fn direct(context: &Context, place: &Place) -> Result<Cases> {
    with(context, place, &format!("{CONFIGURATION}mapread = 0\nmapwrite = 0\ninvalidate = 0\n"))
}

fn with(context: &Context, place: &Place, weights: &str) -> Result<Cases> {
    let programme = tools::fsx(context)?;
    let configuration = place.scratch("fsx.toml");
    fs::write(&configuration, weights)?;
    let operations = if place.long { OPERATIONS.1 } else { OPERATIONS.0 };
    let mut cases = Cases::new();
    for seed in SEEDS {
        let file = place.folder.join(format!("fsx-{seed}"));
        let mut command = Command::new(&programme);
        command.arg("-f").arg(&configuration).args(["-N", &operations.to_string(), "-S", &seed.to_string(), "-P"]);
        command.arg(&place.scratch).arg(&file);
        let outcome = process::quiet(&mut command, PATIENCE).map(drop);
        cases.extend(case::one(&format!("seed-{seed}"), outcome));
        fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
    }
    Ok(cases)
}
