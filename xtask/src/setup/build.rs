//! The programmes of this repository that the rig runs: the test kernel and the daemon.

use super::{Context, libraries::Libraries, rust};
use crate::process::{self, cargo};
use anyhow::{Context as _, Result};
use std::{path::PathBuf, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(1800);

/// Where the daemon is once it is built.
pub(crate) fn daemon_path(context: &Context) -> PathBuf {
    context.paths.target.join("release/virtiofsd-dax")
}

/// What the daemon is built with, so that what is shared is built once: what attacks it, and what its tests are made with.
pub(crate) const DAEMON_PACKAGES: [&str; 4] = ["--package", "virtiofsd-dax", "--package", "vhost-user-guest"];

/// Builds the daemon.
///
/// # Errors
/// When it doesn't build.
pub(crate) fn daemon(context: &Context, libraries: &Libraries) -> Result<PathBuf> {
    let mut command = cargo::cargo(&context.paths);
    command.args(["build", "--release", "--locked"]).args(DAEMON_PACKAGES).args(["--bin", "virtiofsd-dax"]);
    libraries.apply(&mut command);
    build(command).context("the daemon cannot be built")?;
    Ok(daemon_path(context))
}

/// What this machine's own programmes are built for. Named to cargo, it keeps the flags away from build scripts.
///
/// # Errors
/// When rustc cannot be asked.
pub(crate) fn host_triple() -> Result<String> {
    let mut command = Command::new("rustc");
    process::cargo::clean(&mut command);
    let output = process::quiet(command.arg("-vV"), Duration::from_secs(60))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)).context("rustc does not name its host")
}

/// Builds the test kernel.
///
/// # Errors
/// When it doesn't build.
pub(crate) fn kernel(context: &Context) -> Result<PathBuf> {
    bare_metal(context, "testkernel").context("the test kernel cannot be built")
}

/// Builds the least that an embedder of the driver links, as the test kernel is built.
///
/// # Errors
/// When it doesn't build.
pub(crate) fn small_embedder(context: &Context) -> Result<PathBuf> {
    bare_metal(context, "small-embedder").context("the small embedder cannot be built")
}

fn bare_metal(context: &Context, package: &str) -> Result<PathBuf> {
    rust::ensure_targets(&[rust::KERNEL_TARGET])?;
    let mut command = cargo::cargo(&context.paths);
    command.args(["build", "--locked", "--package", package, "--profile", "kernel", "--target", rust::KERNEL_TARGET]);
    build(command)?;
    Ok(context.paths.target.join(rust::KERNEL_TARGET).join("kernel").join(package))
}

/// Cargo shows its own progress.
fn build(mut command: Command) -> Result<()> {
    process::run(&mut command, PATIENCE)
}
