//! `cargo xtask test`: everything that continuous integration runs, in steps that each can be run alone.

mod fuzz;
mod runner;
mod steps;
mod summary;

use crate::{
    process::interrupt,
    qemu_test::Tally,
    setup::{Context, qemu::QemuArgs, rust},
};
use anyhow::{Result, bail};
use clap::Args;
use runner::{Bench, Done};
use std::{process::ExitCode, time::Instant};
use steps::{STEPS, Step};

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
