//! Trying a mutation.

use super::{copy::Copy, mutation::Mutation};
use crate::process::{self, cargo};
use anyhow::Result;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

/// The tests of a mutation may take this long; a mutation that makes them hang is noticed.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What came of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This test failed, or what else went wrong.
    Noticed(String),
    /// All tests passed.
    Survived,
    /// It could not be tried, and why.
    NotTried(String),
}

impl Verdict {
    /// Whether it was noticed.
    pub(super) fn is_noticed(&self) -> bool {
        matches!(self, Self::Noticed(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noticed(by) => write!(f, "noticed ({by})"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::NotTried(why) => write!(f, "NOT TRIED: {why}"),
        }
    }
}

/// A private copy of a tree, and where it is built.
#[derive(Debug)]
pub(super) struct Trial {
    copy: Copy,
    build: PathBuf,
    /// The tests that pass without any mutation.
    sound: RefCell<BTreeSet<&'static [&'static str]>>,
}

impl Trial {
    /// Copies a tree.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub(super) fn new(original: &Path, copy: &Path, build: &Path) -> Result<Self> {
        Ok(Self { copy: Copy::sync(original, copy)?, build: build.into(), sound: RefCell::default() })
    }

    /// Tries a mutation. The first time that its tests are needed they are run without it.
    ///
    /// # Errors
    /// When cargo cannot be started, or this program is interrupted.
    pub(super) fn run(&self, mutation: &Mutation) -> Result<Verdict> {
        if !self.sound.borrow().contains(mutation.tests) {
            if let Some(why) = self.failure(mutation.tests)? {
                return Ok(Verdict::NotTried(format!("its tests fail without it: {why}")));
            }
            self.sound.borrow_mut().insert(mutation.tests);
        }
        let mut edited = Vec::new();
        for edit in mutation.edits {
            match self.copy.edit(mutation.of, edit) {
                Ok(file) => edited.push(file),
                Err(error) => return Ok(Verdict::NotTried(format!("{error:#}"))),
            }
        }
        let built = self.cargo_test(&["--no-run"], mutation.tests)?;
        let verdict = if built.is_some_and(|output| !output.status.success()) {
            Verdict::NotTried("it does not build".into())
        } else {
            self.failure(mutation.tests)?.map_or(Verdict::Survived, Verdict::Noticed)
        };
        // Later edits first: two may be in one file.
        while let Some(last) = edited.pop() {
            drop(last);
        }
        Ok(verdict)
    }

    /// Runs tests: which failed first, in words; `None` if all passed.
    fn failure(&self, tests: &[&str]) -> Result<Option<String>> {
        let Some(output) = self.cargo_test(&[], tests)? else {
            return Ok(Some(format!("no end after {} s", PATIENCE.as_secs())));
        };
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        Ok(Some(failed.map_or_else(|| process::last_words(&output), str::to_owned)))
    }

    /// `None` if it does not end.
    fn cargo_test(&self, more: &[&str], tests: &[&str]) -> Result<Option<Output>> {
        let mut command = Command::new("cargo");
        cargo::clean(&mut command);
        command.args(["test", "--offline"]).args(more).args(tests);
        command.current_dir(self.copy.root()).env("CARGO_TARGET_DIR", &self.build);
        process::output_or_none(&mut command, PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::mutation::Edit;
    use std::fs;

    const SOURCE: &str = "\
/// The greater one.
pub fn greater(a: u32, b: u32) -> u32 {
    if a >= b { a } else { b }
}
#[test]
fn it_is_the_greater_one() {
    assert_eq!((greater(1, 2), greater(2, 1)), (2, 2));
}
";

    fn tried(trial: &Trial, edits: &'static [Edit]) -> Verdict {
        trial.run(&Mutation { name: "", of: "tiny", edits, tests: &["--lib"] }).unwrap()
    }

    #[test]
    fn a_mutation_is_noticed_and_a_harmless_one_survives() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::create_dir_all(place("tree/tiny/src")).unwrap();
        fs::write(place("tree/Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"tiny\"]\n").unwrap();
        fs::write(
            place("tree/tiny/Cargo.toml"),
            "[package]\nname = \"tiny\"\nversion = \"0.0.0\"\nedition = \"2024\"\n",
        )
        .unwrap();
        fs::write(place("tree/tiny/src/lib.rs"), SOURCE).unwrap();
        let trial = Trial::new(&place("tree"), &place("copy"), &place("build")).unwrap();

        let harmful = tried(&trial, &[Edit { old: "a >= b", new: "a <= b" }]);
        assert_eq!(harmful, Verdict::Noticed("it_is_the_greater_one".into()));
        assert_eq!(tried(&trial, &[Edit { old: "a >= b", new: "a > b" }]), Verdict::Survived);
        let pair = tried(&trial, &[Edit { old: "{ a }", new: "{ b }" }, Edit { old: "else { b }", new: "else { a }" }]);
        assert!(pair.is_noticed());
        let gone = tried(&trial, &[Edit { old: "a == b", new: "a != b" }]);
        assert!(matches!(&gone, Verdict::NotTried(why) if why.contains("\"a == b\" is there 0 times")), "{gone}");
        let twice = tried(&trial, &[Edit { old: "u32", new: "u64" }]);
        assert!(matches!(&twice, Verdict::NotTried(why) if why.contains("3 times")), "{twice}");
        let broken = tried(&trial, &[Edit { old: "a >= b", new: "a >=" }]);
        assert_eq!(broken, Verdict::NotTried("it does not build".into()));

        // Nothing of it stays, and what changes in the tree reaches the copy.
        assert_eq!(fs::read_to_string(place("copy/tiny/src/lib.rs")).unwrap(), SOURCE);
        fs::write(place("tree/tiny/src/lib.rs"), SOURCE.replace("(2, 2)", "(2, 3)")).unwrap();
        let trial = Trial::new(&place("tree"), &place("copy"), &place("build")).unwrap();
        let unsound = tried(&trial, &[Edit { old: "a >= b", new: "a <= b" }]);
        assert!(matches!(&unsound, Verdict::NotTried(why) if why.contains("fail without it")), "{unsound}");
    }
}
