//! cargo-fuzz, which builds and runs fuzz targets: the machine's own, or the released crate.

use super::{Context, released};
use crate::process;
use anyhow::{Context as _, Result};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const PROGRAMME: &str = "cargo-fuzz";
/// The release that is built when the machine has none.
const RELEASE: &str = "0.13.2";

/// A cargo-fuzz that runs.
#[derive(Clone, Debug)]
pub(crate) enum CargoFuzz {
    /// The machine's own, in `PATH`.
    InPath,
    /// The one in this folder.
    Private(PathBuf),
}

impl CargoFuzz {
    /// Lets `cargo fuzz` find it.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<()> {
        if let Self::Private(folder) = self {
            let path = env::var_os("PATH").unwrap_or_default();
            command.env("PATH", env::join_paths([folder.clone()].into_iter().chain(env::split_paths(&path)))?);
        }
        Ok(())
    }
}

/// Finds one, or builds one.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context) -> Result<CargoFuzz> {
    if process::in_path(PROGRAMME).is_some_and(|path| runs(&path)) {
        return Ok(CargoFuzz::InPath);
    }
    let place = context.paths.rig().join("cargo-fuzz");
    let folder = place.join("bin");
    if !runs(&folder.join(PROGRAMME)) {
        // It only starts other programmes: how fast it is does not matter, how fast it builds does.
        released::install(context, PROGRAMME, RELEASE, &place, |command| {
            command.arg("--debug");
        })
        .with_context(|| format!("there is no {PROGRAMME}; `cargo install {PROGRAMME} --version {RELEASE}` gets it"))?;
    }
    Ok(CargoFuzz::Private(folder))
}

fn runs(path: &Path) -> bool {
    process::version_line(&mut Command::new(path)).is_some_and(|version| version.starts_with("cargo-fuzz "))
}
