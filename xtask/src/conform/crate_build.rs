//! A Rust crate that is built in the folder: many small files, libraries that the compiler maps while it writes others, and
//! procedural macros that it loads from there.

use super::{
    case::{self, Cases},
    place::Place,
};
use crate::{
    process::{self, cargo},
    setup::Context,
};
use anyhow::{Context as _, Result, bail};
use std::{fs, path::Path, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(600);
/// Crates of this repository: one that needs the other, and macros of others.
const CRATES: [&str; 2] = ["fs-errno", "fuse-proto"];
/// What of their folders is needed.
const PARTS: [&str; 2] = ["Cargo.toml", "README.md"];
/// What comes after the members in the workspace's own manifest.
const REST: &str = "[workspace.package]";

/// Copies a workspace with two crates, builds it there, and runs what was built.
pub(super) fn run(context: &Context, place: &Place) -> Result<Cases> {
    let build = || -> Result<()> {
        let workspace = place.folder.join("workspace");
        copy(&context.paths.root, &workspace)?;
        let target = place.folder.join("target");
        let cargo = |words: &[&str]| {
            let mut command = Command::new("cargo");
            cargo::clean(&mut command);
            command.current_dir(&workspace).env("CARGO_TARGET_DIR", &target).args(words).arg("--offline");
            process::quiet(&mut command, PATIENCE)
        };
        cargo(&["build", "--workspace"])?;
        let tested = cargo(&["test", "--lib", "--package", CRATES[0]])?;
        let said = String::from_utf8_lossy(&tested.stdout).into_owned();
        if !said.contains("test result: ok.") {
            bail!("the tests that were built there say {said:?}");
        }
        Ok(())
    };
    Ok(case::one("cargo", build()))
}

fn copy(root: &Path, workspace: &Path) -> Result<()> {
    fs::create_dir(workspace)?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let (_, rest) = manifest.split_once(REST).with_context(|| format!("the manifest has no {REST}"))?;
    let members = CRATES.map(|name| format!("\"crates/{name}\"")).join(", ");
    let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n{REST}{rest}");
    fs::write(workspace.join("Cargo.toml"), manifest)?;
    fs::copy(root.join("Cargo.lock"), workspace.join("Cargo.lock"))?;
    for name in CRATES {
        let (from, to) = (root.join("crates").join(name), workspace.join("crates").join(name));
        fs::create_dir_all(&to)?;
        for part in PARTS {
            fs::copy(from.join(part), to.join(part))?;
        }
        copy_folder(&from.join("src"), &to.join("src"))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
