//! Mutations that cargo-mutants makes by itself: many, and most of them of no meaning, so of small crates only.

use crate::{
    paths::Paths,
    process::{self, cargo, child::Guarded},
};
use anyhow::{Result, bail};
use std::{process::Stdio, time::Duration};

/// The crates with tests that run in little time.
const SMALL: [&str; 3] = ["virtio-shm", "fs-errno", "fs-dax"];
/// One crate may take this long.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Runs it; whether nothing survived.
///
/// # Errors
/// When it cannot be started or hangs.
pub(super) fn run(paths: &Paths, of: Option<&str>) -> Result<bool> {
    if process::in_path("cargo-mutants").is_none() {
        println!("cargo-mutants: skipped (it is not installed; `cargo install cargo-mutants --locked` gets it)");
        return Ok(true);
    }
    let mut sound = true;
    for name in SMALL.into_iter().filter(|name| of.is_none_or(|of| of == *name)) {
        let mut command = cargo::cargo(paths);
        command.args(["mutants", "--package", name, "--output"]).arg(paths.target.join("mutants").join(name));
        println!("$ {}", process::shown(&command));
        let mut child = Guarded::spawn(command.stdin(Stdio::null()))?;
        match child.wait(PATIENCE)? {
            Some(status) => sound &= status.success(),
            None => bail!("cargo-mutants did not end within {} s", PATIENCE.as_secs()),
        }
    }
    Ok(sound)
}
