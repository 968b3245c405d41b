//! Programmes that are built from crates as they were released.

use super::{Context, fetch};
use crate::{
    paths,
    process::{self, cargo},
};
use anyhow::Result;
use std::{path::Path, process::Command, time::Duration};

/// One crate with what it depends on takes a minute or two on two processors.
const PATIENCE: Duration = Duration::from_secs(600);

/// Builds one version of a crate's programmes with the dependencies it was released with, and puts `bin/` into `place`.
///
/// # Errors
/// When it cannot be fetched or does not build. Nothing is left behind then.
pub(crate) fn install(
    context: &Context,
    name: &str,
    version: &str,
    place: &Path,
    prepare: impl FnOnce(&mut Command),
) -> Result<()> {
    let scratch = fetch::scratch(&context.paths.rig())?;
    let root = scratch.path().join("root");
    let mut command = cargo::cargo(&context.paths);
    command.args(["install", name, "--locked", "--version", version, "--root"]).arg(&root);
    command.env("CARGO_TARGET_DIR", scratch.path().join("target"));
    prepare(&mut command);
    process::run(&mut command, PATIENCE)?;
    paths::replace_folder(&root, place)
}
