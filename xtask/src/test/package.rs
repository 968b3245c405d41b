//! The step that packs what can be published.

use super::runner::{Bench, Done};
use crate::{
    process,
    qemu_test::Tally,
    workspace::{self, Crate},
};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

/// Cargo may take this long to list what a package holds.
const PATIENCE: Duration = Duration::from_secs(300);
/// Every package has these.
const NEEDED: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];
/// And nothing in these, or of these kinds: traffic of others, images, what only this repository's tests read.
const BARRED: [&str; 4] = ["testdata/", "tests/", "fuzz/", "traces/"];
const BARRED_ENDS: [&str; 4] = [".bin", ".gz", ".img", ".pcap"];

/// Packs the published crates, looks at what is in them, and builds each from its package alone.
pub(super) fn step(bench: &mut Bench) -> Result<Done> {
    let crates = workspace::crates(&bench.context.paths)?;
    let mut tally = Tally::default();
    for one in crates.iter().filter(|one| one.published) {
        let wrong = look(bench, one)?;
        for words in &wrong {
            println!("{}: {words}", one.name);
        }
        tally = tally.plus(if wrong.is_empty() {
            Tally { passed: 1, ..Tally::default() }
        } else {
            Tally { failed: wrong.len(), ..Tally::default() }
        });
    }
    // Apart: a package that changed without a new version is built again here, and nothing else for that.
    let target = bench.context.paths.target.join("packages");
    let home = cargo_home().context("there is no home folder, and $CARGO_HOME is not set")?;
    let names: Vec<_> = crates.iter().filter(|one| one.published).map(|one| one.name.as_str()).collect();
    forget(&names, &target, &home)?;
    // What is not committed yet is tested, too.
    let mut command = bench.cargo(["package", "--locked", "--workspace", "--allow-dirty", "--target-dir"]);
    command.arg(&target);
    for one in crates.iter().filter(|one| !one.published) {
        command.args(["--exclude", &one.name]);
    }
    Ok(Done::Ran(tally.plus(bench.check(command)?)))
}

/// Where cargo unpacks packages.
fn cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").filter(|set| !set.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Removes what cargo keeps of earlier packages. It takes a package of the same version for the same package: else these
/// would be built in place of those that were just made.
fn forget(names: &[&str], target: &Path, home: &Path) -> Result<()> {
    remove(&target.join("package"))?;
    // A registry in a folder has no host for the begin of its name.
    let unpacked = entries(&home.join("registry/src"))?;
    let unpacked = unpacked.iter().filter(|folder| name_of(folder).starts_with('-'));
    for folder in unpacked.cloned().chain([target.join("debug/.fingerprint")]) {
        for entry in entries(&folder)? {
            if names.iter().any(|name| is_of(&name_of(&entry), name)) {
                remove(&entry)?;
            }
        }
    }
    Ok(())
}

/// Whether a folder is a crate's: its name, then a version or a hash.
fn is_of(folder: &str, name: &str) -> bool {
    folder.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| !rest.contains('-'))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What is in a folder, which need not be there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .with_context(|| format!("cannot read {}", folder.display())),
    }
}

/// Removes a folder, which need not be there.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn look(bench: &Bench, one: &Crate) -> Result<Vec<String>> {
    let mut command = bench.cargo(["package", "--list", "--locked", "--allow-dirty", "--package", &one.name]);
    let output = process::quiet(&mut command, PATIENCE).context("cargo cannot list what a package holds")?;
    let list = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let names: Vec<&str> = list.lines().collect();
    if names.is_empty() {
        bail!("cargo lists nothing in the package {}", one.name);
    }
    Ok(judge(&names))
}

/// What is wrong with a package that holds these files.
fn judge(names: &[&str]) -> Vec<String> {
    let missing = NEEDED.iter().filter(|needed| !names.contains(needed));
    let barred = names.iter().filter(|name| {
        BARRED.iter().any(|folder| name.starts_with(folder) || name.contains(&format!("/{folder}")))
            && !name.starts_with("src/")
            || BARRED_ENDS.iter().any(|end| name.ends_with(end))
    });
    missing
        .map(|name| format!("the package lacks {name}"))
        .chain(barred.map(|name| format!("the package holds {name}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_an_earlier_run_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (target, home) = (dir.path().join("target"), dir.path().join("home"));
        let stale = [
            target.join("package/tmp-registry"),
            target.join("debug/.fingerprint/fs-dax-0123456789abcdef"),
            home.join("registry/src/-0123/fs-dax-0.1.0"),
        ];
        let kept = [
            target.join("debug/.fingerprint/fs-dax-other-0123456789abcdef"),
            home.join("registry/src/-0123/other-0.1.0"),
            home.join("registry/src/host-0123/fs-dax-0.1.0"),
        ];
        stale.iter().chain(&kept).for_each(|folder| fs::create_dir_all(folder).unwrap());
        forget(&["fs-dax"], &target, &home).unwrap();
        assert!(stale.iter().all(|folder| !folder.exists()));
        assert!(kept.iter().all(|folder| folder.exists()));
        forget(&["fs-dax"], &dir.path().join("none"), &dir.path().join("none")).unwrap();
    }

    #[test]
    fn packages_are_judged_by_what_they_hold() {
        let whole = [
            "Cargo.toml",
            "src/lib.rs",
            "src/raw/tests/a.rs",
            "README.md",
            "CHANGELOG.md",
            "LICENSE-APACHE",
            "LICENSE-MIT",
        ];
        assert_eq!(judge(&whole), Vec::<String>::new());
        assert_eq!(judge(&whole[..6]), ["the package lacks LICENSE-MIT"]);
        for extra in ["testdata/a.txt", "src/capture.bin", "tests/peers/main.rs", "fuzz/Cargo.toml"] {
            let names: Vec<&str> = whole.iter().copied().chain([extra]).collect();
            assert_eq!(judge(&names), [format!("the package holds {extra}")]);
        }
    }
}
