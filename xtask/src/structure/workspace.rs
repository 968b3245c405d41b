//! The crates of this workspace, as cargo sees them.

use crate::{
    paths::Paths,
    process::{self, cargo},
};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// One crate.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    /// Its name.
    pub(super) name: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its folder, counted from the repository's root.
    pub(super) place: PathBuf,
    /// The first file of each of its targets.
    pub(super) roots: Vec<PathBuf>,
    /// The names of the crates of this workspace that it depends on, for tests too.
    pub(super) needs: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

/// The crates of the workspace.
///
/// # Errors
/// When cargo cannot read the manifests.
pub(super) fn crates(paths: &Paths) -> Result<Vec<Crate>> {
    let mut command = cargo::cargo(paths);
    command.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let output = process::quiet(&mut command, Duration::from_secs(60)).context("cargo cannot read the manifests")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo's metadata cannot be read")?;
    metadata.packages.into_iter().map(|package| one(package, &paths.root)).collect()
}

fn one(package: Package, root: &Path) -> Result<Crate> {
    let folder = package.manifest_path.parent().context("a manifest has no folder")?.to_path_buf();
    let needs = package.dependencies.into_iter().filter(|needed| needed.path.is_some() && needed.name != package.name);
    Ok(Crate {
        place: folder.strip_prefix(root).unwrap_or(&folder).to_path_buf(),
        roots: package.targets.into_iter().map(|target| target.src_path).collect(),
        needs: needs.map(|needed| needed.name).collect(),
        name: package.name,
        folder,
    })
}
