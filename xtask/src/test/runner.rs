//! What steps work with.

use super::summary;
use crate::{
    process::{self, cargo, child::Guarded},
    qemu_test::Tally,
    setup::{Context, libraries},
};
use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

/// One command may take this long; it is killed then.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It ran; so many tests of it passed, failed and were skipped.
    Ran(Tally),
    /// It cannot run here.
    Skipped(String),
}

/// What steps work with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) context: Context,
    libraries: Option<libraries::Libraries>,
    /// Whether tests are only built, not run.
    build_only: bool,
}

impl Bench {
    /// With what this machine has.
    pub(super) fn new(context: Context) -> Self {
        Self { context, libraries: None, build_only: false }
    }

    /// The same for a build of tests without running them.
    pub(super) fn building(&mut self, only: bool) {
        self.build_only = only;
    }

    /// `cargo` with some words.
    pub(super) fn cargo<const N: usize>(&self, words: [&str; N]) -> Command {
        let mut command = cargo::cargo(&self.context.paths);
        command.args(words);
        command
    }

    /// The daemon's libraries, which are fetched if they are missing.
    pub(super) fn libraries(&mut self) -> Result<libraries::Libraries> {
        if let Some(libraries) = &self.libraries {
            return Ok(libraries.clone());
        }
        let _lock = self.context.lock()?;
        let libraries = libraries::ensure(&self.context)?;
        self.libraries = Some(libraries.clone());
        Ok(libraries)
    }

    /// Lets a build of the daemon find its libraries.
    pub(super) fn with_libraries(&mut self, command: &mut Command) -> Result<()> {
        self.libraries()?.apply(command);
        Ok(())
    }

    /// Runs one command that passes or fails as a whole.
    ///
    /// # Errors
    /// When it cannot be started or hangs.
    pub(super) fn check(&self, mut command: Command) -> Result<Tally> {
        println!("$ {}", process::shown(&command));
        let mut child = Guarded::spawn(command.stdin(Stdio::null()))?;
        match child.wait(PATIENCE)? {
            Some(status) if status.success() => Ok(Tally { passed: 1, ..Tally::default() }),
            Some(_) => Ok(Tally { failed: 1, ..Tally::default() }),
            None => bail!("it did not end within {} s", PATIENCE.as_secs()),
        }
    }

    /// Runs tests with Rust's own harness, shows what they print and counts them.
    ///
    /// # Errors
    /// When they cannot be started or hang.
    pub(super) fn count(&self, mut command: Command) -> Result<Tally> {
        if self.build_only {
            let built = self.check(only_built(&command))?;
            return Ok(Tally { passed: 0, ..built });
        }
        println!("$ {}", process::shown(&command));
        let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let pipe = child.take_stdout().context("the tests have no output")?;
        let reader = std::thread::spawn(move || {
            let mut tally = Tally::default();
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                println!("{line}");
                if let Some(counted) = summary::parse(&line) {
                    tally = tally.plus(counted);
                }
            }
            tally
        });
        let Some(status) = child.wait(PATIENCE)? else { bail!("it did not end within {} s", PATIENCE.as_secs()) };
        let mut tally = reader.join().map_err(|_| anyhow::anyhow!("the reader of the tests' output panicked"))?;
        // A crash or a failed build counts no failed test, and is one.
        if !status.success() && tally.failed == 0 {
            tally.failed = 1;
        }
        Ok(tally)
    }
}

/// The command that builds what `command` runs: what is meant for the tests themselves is left out.
fn only_built(command: &Command) -> Command {
    let mut built = Command::new(command.get_program());
    built.args(command.get_args().take_while(|arg| *arg != "--")).arg("--no-run");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => built.env(name, value),
            None => built.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        built.current_dir(folder);
    }
    built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_the_tests_is_no_part_of_building_them() {
        let mut command = Command::new("cargo");
        command.args(["test", "--release", "--", "footprint"]).env("A", "1").env_remove("B").current_dir("/");
        let built = only_built(&command);
        assert_eq!(built.get_args().collect::<Vec<_>>(), ["test", "--release", "--no-run"]);
        assert_eq!(built.get_envs().count(), 2);
        assert_eq!(built.get_current_dir(), command.get_current_dir());
    }
}
