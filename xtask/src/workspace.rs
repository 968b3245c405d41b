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
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its folder, counted from the repository's root.
    pub(crate) place: PathBuf,
    /// The first file of each of its targets.
    pub(crate) roots: Vec<PathBuf>,
    /// The names of the crates of this workspace that it depends on, for tests too.
    pub(crate) needs: Vec<String>,
    /// All that it depends on, by the names that its source has for them.
    pub(crate) dependencies: Vec<String>,
    /// Whether it may be published.
    pub(crate) published: bool,
    /// The oldest compiler that builds it.
    pub(crate) rust_version: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    rust_version: Option<String>,
    /// The registries that it may be published to; none means all.
    publish: Option<Vec<String>>,
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
    rename: Option<String>,
    path: Option<PathBuf>,
}

/// The crates of the workspace.
///
/// # Errors
/// When cargo cannot read the manifests.
pub(crate) fn crates(paths: &Paths) -> Result<Vec<Crate>> {
    let mut command = cargo::cargo(paths);
    command.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let output = process::quiet(&mut command, Duration::from_secs(60)).context("cargo cannot read the manifests")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo's metadata cannot be read")?;
    metadata.packages.into_iter().map(|package| one(package, &paths.root)).collect()
}

fn one(package: Package, root: &Path) -> Result<Crate> {
    let folder = package.manifest_path.parent().context("a manifest has no folder")?.to_path_buf();
    let source_name = |one: &Dependency| one.rename.as_ref().unwrap_or(&one.name).replace('-', "_");
    let dependencies = package.dependencies.iter().map(source_name).collect();
    let needs = package.dependencies.into_iter().filter(|needed| needed.path.is_some() && needed.name != package.name);
    Ok(Crate {
        place: folder.strip_prefix(root).unwrap_or(&folder).to_path_buf(),
        roots: package.targets.into_iter().map(|target| target.src_path).collect(),
        needs: needs.map(|needed| needed.name).collect(),
        dependencies,
        published: package.publish.is_none(),
        rust_version: package.rust_version,
        name: package.name,
        folder,
    })
}
