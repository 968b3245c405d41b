//! `cargo xtask test`: everything that continuous integration runs, in steps that each can be run alone.

mod fuzz;
mod steps;
mod summary;

use crate::{
    process::{self, cargo, child::Guarded, interrupt},
    qemu_test::{QemuTestArgs, Tally},
    setup::{Context, libraries, qemu::QemuArgs, rust},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use steps::{STEPS, Step};

/// One command may take this long; it is killed then.
const PATIENCE: Duration = Duration::from_secs(3600);

/// `cargo xtask test`
#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    /// Run the steps whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print the steps' names only
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    qemu: QemuArgs,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    /// It ran; so many tests of it passed, failed and were skipped.
    Ran(Tally),
    /// It cannot run here.
    Skipped(String),
}

/// Runs `cargo xtask test`.
pub(crate) fn command(args: &TestArgs) -> Result<ExitCode> {
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|step| args.only.as_ref().is_none_or(|only| step.name.contains(only.as_str()))).collect();
    if chosen.is_empty() {
        bail!("no step matches; `cargo xtask test --list` prints their names");
    }
    if args.list {
        for step in chosen {
            println!("{:<14} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let context = Context::new(&args.qemu)?;
    {
        let _lock = context.lock()?;
        rust::ensure_targets(&rust::TARGETS)?;
        rust::ensure_components(&rust::COMPONENTS)?;
    }
    let mut bench = Bench { context, libraries: None };
    let begin = Instant::now();
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for step in chosen {
        println!("\n== {}: {}", step.name, step.about);
        let started = Instant::now();
        let done = (step.run)(&mut bench);
        interrupt::check()?;
        let seconds = started.elapsed().as_secs();
        let verdict = match done {
            Ok(Done::Ran(tally)) => {
                total = total.plus(tally);
                if tally.failed == 0 { format!("ok ({tally})") } else { format!("FAILED ({tally})") }
            }
            Ok(Done::Skipped(reason)) => {
                total.skipped += 1;
                format!("skipped ({reason})")
            }
            Err(error) => {
                total.failed += 1;
                format!("FAILED ({error:#}); rerun: cargo xtask test --only {}", step.name)
            }
        };
        let line = format!("step {:<14} {seconds:>5} s  {verdict}", step.name);
        println!("{line}");
        lines.push(line);
    }
    println!("\n{}\nin {} s", lines.join("\n"), begin.elapsed().as_secs());
    println!("{total}");
    Ok(if total.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What steps work with.
#[derive(Debug)]
struct Bench {
    context: Context,
    libraries: Option<libraries::Libraries>,
}

impl Bench {
    /// `cargo` with some words.
    fn cargo<const N: usize>(&self, words: [&str; N]) -> Command {
        let mut command = cargo::cargo(&self.context.paths);
        command.args(words);
        command
    }

    /// Lets a build of the daemon find its libraries, which are fetched if they are missing.
    fn with_libraries(&mut self, command: &mut Command) -> Result<()> {
        if self.libraries.is_none() {
            let _lock = self.context.lock()?;
            self.libraries = Some(libraries::ensure(&self.context)?);
        }
        if let Some(libraries) = &self.libraries {
            libraries.apply(command);
        }
        Ok(())
    }

    /// Runs one command that passes or fails as a whole.
    ///
    /// # Errors
    /// When it cannot be started or hangs.
    fn check(&self, mut command: Command) -> Result<Tally> {
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
    fn count(&self, mut command: Command) -> Result<Tally> {
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

    /// The scenarios in QEMU.
    fn qemu(&self) -> Result<Tally> {
        crate::qemu_test::run(&self.context, &QemuTestArgs::everything(&self.context.qemu))
    }
}
