//! One test on one machine.

use super::{
    output::{Outcome, TestResult},
    share::{MEMORY, witnessed},
    shared::Guests,
    twins::Twins,
    words::words,
};
use crate::{
    rig::{
        boot::{self, DaemonEnd},
        logs,
        machine::Machine,
        plan::{Deadlines, Plan},
        tools::Tools,
        verdict::{self, Failure, Success, Witness},
    },
    scenarios::{self, Test, scenario::Expect, stage::Stage},
};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    time::{Duration, Instant},
};
use testkernel_protocol::command_line::{SECONDS, word};

/// What every test needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner<'a> {
    pub(super) tools: &'a Tools,
    pub(super) root: &'a Path,
    pub(super) accelerator: &'a str,
    pub(super) keep: bool,
    /// Instead of the seconds that a scenario names to the kernel.
    pub(super) seconds: Option<u64>,
}

impl Runner<'_> {
    /// Runs one test on one machine.
    ///
    /// # Errors
    /// When this program is interrupted or its own folders cannot be written.
    pub(super) fn run(&self, test: &Test, machine: &Machine) -> Result<TestResult> {
        let (name, begin) = (test.scenario.name, Instant::now());
        let folder = self.root.join(format!("{}@{}", name.replace("::", "."), machine.name));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let share = folder.join("share");
        fs::create_dir_all(&share).with_context(|| format!("cannot create {}", share.display()))?;
        let mut numbers = Vec::new();
        let verdict = self.boot(test, machine, &folder, &share, &mut numbers);
        crate::process::interrupt::check()?;
        let verdict = verdict.unwrap_or_else(|error| Err(Failure::new(Witness::Host, format!("{error:#}"))));
        let outcome = match as_expected(test.half.expect, verdict) {
            Ok(Success::Passed) => Outcome::Ok,
            Ok(Success::Skipped(reason)) => Outcome::Skipped(reason),
            Err(failure) => Outcome::Failed { message: failure.message, details: details(&folder, name, machine) },
        };
        if !self.keep && !matches!(outcome, Outcome::Failed { .. }) {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(TestResult { name, machine: machine.name, outcome, seconds, numbers })
    }

    fn boot(
        &self,
        test: &Test,
        machine: &Machine,
        folder: &Path,
        share: &Path,
        numbers: &mut Vec<String>,
    ) -> Result<Result<Success, Failure>> {
        let (name, scenario) = (test.scenario.name, &test.half);
        if let Some(script) = &scenario.shared {
            let guests = Guests { tools: self.tools, accelerator: self.accelerator, test, script, machine, folder };
            return guests.boot();
        }
        if machine.has_share() {
            scenarios::make_share(share, scenario.big)?;
        }
        if scenario.twins {
            let twins = Twins { tools: self.tools, accelerator: self.accelerator, test, machine, folder, share };
            return twins.boot();
        }
        let longer = self.seconds.filter(|_| scenario.words.iter().any(|&(key, _)| key == SECONDS));
        let seconds = scenario.seconds + longer.unwrap_or_default();
        let mut words = words(test, machine, self.accelerator, seconds);
        words.extend(scenario.words.iter().map(|&(key, value)| match longer {
            Some(seconds) if key == SECONDS => word(key, &seconds.to_string()),
            _ => word(key, value),
        }));
        let plan = Plan {
            machine: *machine,
            accelerator: self.accelerator,
            memory: MEMORY,
            share,
            memory_shared: None,
            small_disk: scenario.small_disk,
            daemon: scenario.daemon,
            our_daemon: scenario.our_daemon,
            record: true,
            folder,
            words,
            faults: scenario.faults,
            deadlines: Deadlines::on(self.accelerator, Duration::from_secs(seconds + scenario.grace)),
        };
        let mut stage = Stage::new(share, machine.window(), scenario.at);
        let mut report = boot::boot(self.tools, &plan, &mut stage)?;
        if scenario.daemon_dies && was_killed(report.daemon) {
            (report.daemon, report.record) = (DaemonEnd::None, None);
        }
        if longer.is_some() {
            numbers.extend(report.metrics());
        }
        Ok(verdict::judge(&report, Some(name)).and_then(|success| witnessed(scenario, &stage, &report, success)))
    }
}

/// For a scenario that the host has a side for and the kernel doesn't have: a lost test must not go unnoticed.
pub(super) fn lost(name: &'static str, machine: &Machine) -> TestResult {
    let outcome = Outcome::Failed { message: "the kernel has no such scenario".into(), details: String::new() };
    TestResult { name, machine: machine.name, outcome, seconds: 0.0, numbers: Vec::new() }
}

/// Whether the daemon ended by SIGKILL, as it does when the scenario kills it.
fn was_killed(daemon: DaemonEnd) -> bool {
    matches!(daemon, DaemonEnd::Exited(status) if status.signal() == Some(Signal::KILL.as_raw()))
}

/// Turns the verdict round for a scenario that must be called a failure.
fn as_expected(expect: Expect, verdict: Result<Success, Failure>) -> Result<Success, Failure> {
    let Expect::Failure(witness, words) = expect else { return verdict };
    match verdict {
        Err(failure) if failure.witness == witness && words.iter().all(|word| failure.message.contains(word)) => {
            Ok(Success::Passed)
        }
        Err(failure) => Err(Failure::new(
            failure.witness,
            format!("it should fail for {witness:?}, saying {words:?}, but {:?} says: {failure}", failure.witness),
        )),
        Ok(success) => Err(Failure::new(witness, format!("it should be called a failure, but it is {success:?}"))),
    }
}

/// The logs of a failed test, and how to run it again.
fn details(folder: &Path, name: &str, machine: &Machine) -> String {
    let mut text = logs::ends(folder);
    // Several guests have a folder each.
    for guest in (0..).map(|guest| folder.join(format!("guest-{guest}"))).take_while(|guest| guest.exists()) {
        text.push_str(&format!("  {}:\n{}", guest.display(), logs::ends(&guest)));
    }
    text.push_str(&format!("  logs: {}\n", folder.display()));
    text.push_str(&format!("  rerun: cargo xtask qemu-test --filter {} --machine {} --keep\n", name, machine.name));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rig_that_must_fail_passes_only_for_the_right_reason() {
        let expect = Expect::Failure(Witness::Kernel, &["deliberate", "panic"]);
        let failed = |witness, message: &str| Err(Failure::new(witness, message));
        assert_eq!(as_expected(expect, failed(Witness::Kernel, "a deliberate panic")), Ok(Success::Passed));
        assert!(as_expected(expect, failed(Witness::Kernel, "a panic")).is_err());
        assert!(as_expected(expect, failed(Witness::Clock, "a deliberate panic")).is_err());
        assert!(as_expected(expect, Ok(Success::Passed)).is_err());
        assert!(as_expected(expect, Ok(Success::Skipped(String::new()))).is_err());
        assert_eq!(as_expected(Expect::Pass, Ok(Success::Passed)), Ok(Success::Passed));
        assert!(as_expected(Expect::Pass, failed(Witness::Kernel, "x")).is_err());
    }
}
