//! What the Rust toolchain must have: bare-metal targets and components.

use crate::process;
use anyhow::{Context, Result, bail};
use std::{path::Path, process::Command, time::Duration};

/// The kernel's own target, which every command needs.
pub(crate) const KERNEL_TARGET: &str = "x86_64-unknown-none";
/// The targets for which each `no_std` crate must build.
pub(crate) const TARGETS: [&str; 3] = [KERNEL_TARGET, "aarch64-unknown-none", "riscv64gc-unknown-none-elf"];
/// What checks the code.
pub(crate) const COMPONENTS: [&str; 2] = ["rustfmt", "clippy"];

const PATIENCE: Duration = Duration::from_secs(900);

/// The targets that are missing, in words; `None` if none is.
pub(crate) fn missing_targets(targets: &[&str]) -> Result<Option<String>> {
    let missing = without_library(targets)?;
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// The components that are missing, in words; `None` if none is.
pub(crate) fn missing_components(components: &[&str]) -> Result<Option<String>> {
    let missing = not_runnable(components);
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// Has rustup add the targets that are missing.
///
/// # Errors
/// One sentence about what is in the way.
pub(crate) fn ensure_targets(targets: &[&str]) -> Result<()> {
    add("target", &without_library(targets)?)
}

/// Has rustup add the components that are missing.
///
/// # Errors
/// One sentence about what is in the way.
pub(crate) fn ensure_components(components: &[&str]) -> Result<()> {
    add("component", &not_runnable(components))
}

/// Runs `rustup KIND add NAME...`, which shows its own progress.
fn add(kind: &str, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(" ");
    if process::in_path("rustup").is_none() {
        bail!(
            "the Rust {kind} {list} is missing and there is no rustup to add it; install it the way this Rust was installed"
        );
    }
    let mut command = Command::new("rustup");
    process::cargo::clean(&mut command);
    command.args([kind, "add"]).args(names);
    process::run(&mut command, PATIENCE).with_context(|| {
        format!("the Rust {kind} {list} is missing and cannot be added; connect to the network and run `rustup {kind} add {list}`")
    })
}

fn without_library<'a>(targets: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut missing = Vec::new();
    for target in targets {
        let mut command = Command::new("rustc");
        command.args(["--print", "target-libdir", "--target", target]);
        process::cargo::clean(&mut command);
        let output = process::quiet(&mut command, Duration::from_secs(60)).context("rustc cannot say what it has")?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !holds_core(Path::new(&folder)) {
            missing.push(*target);
        }
    }
    Ok(missing)
}

fn holds_core(folder: &Path) -> bool {
    folder
        .read_dir()
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
}

fn not_runnable<'a>(components: &[&'a str]) -> Vec<&'a str> {
    let runs = |component: &str| {
        let mut command = Command::new(if component == "clippy" { "cargo-clippy" } else { component });
        process::cargo::clean(&mut command);
        process::version_line(&mut command).is_some()
    };
    components.iter().copied().filter(|component| !runs(component)).collect()
}
