//! The step that packs what can be published.

use super::runner::{Bench, Done};
use crate::{
    process,
    qemu_test::Tally,
    workspace::{self, Crate},
};
use anyhow::{Context, Result, bail};
use std::time::Duration;

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
    // What is not committed yet is tested, too.
    let mut command = bench.cargo(["package", "--locked", "--workspace", "--allow-dirty"]);
    for one in crates.iter().filter(|one| !one.published) {
        command.args(["--exclude", &one.name]);
    }
    Ok(Done::Ran(tally.plus(bench.check(command)?)))
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
