//! `cargo xtask test`: everything that continuous integration runs, in steps that each can be run alone.

mod attacks;
mod beside;
mod busy;
mod fuzz;
mod optimised;
mod package;
mod runner;
mod steps;
mod summary;

use crate::{
    process::interrupt,
    qemu_test::Tally,
    setup::{Context, qemu::QemuArgs, rust},
};
use anyhow::{Result, bail};
use beside::Beside;
use clap::Args;
use runner::{Bench, Done};
use std::{
    num::NonZeroU32,
    process::ExitCode,
    time::{Duration, Instant},
};
use steps::{STEPS, Step, Work};

/// `cargo xtask test`
#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    /// Run the steps with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print the steps' names only
    #[arg(long)]
    list: bool,
    /// Run the host's test suites N times, all processors kept busy by something else
    #[arg(long, value_name = "N")]
    busy: Option<NonZeroU32>,
    #[command(flatten)]
    qemu: QemuArgs,
}

/// Runs `cargo xtask test`.
pub(crate) fn command(args: &TestArgs) -> Result<ExitCode> {
    let named = |step: &&Step| args.only.as_ref().is_none_or(|only| step.name.contains(only.as_str()));
    let chosen: Vec<&Step> = STEPS.iter().filter(named).filter(|step| args.busy.is_none() || step.suite).collect();
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
    let mut bench = Bench::new(context);
    let begin = Instant::now();
    let mut results = Results::default();
    match args.busy {
        Some(times) => busily(&chosen, times, &mut bench, &mut results)?,
        None => run(&chosen, &mut bench, &mut results)?,
    }
    println!("\n{}\nin {} s", results.lines.join("\n"), begin.elapsed().as_secs());
    println!("{}", results.total);
    Ok(if results.total.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs steps one after another; the boots begin when their turn comes, and end before what must have the machine alone.
fn run(chosen: &[&Step], bench: &mut Bench, results: &mut Results) -> Result<()> {
    let mut boots: Option<(&Step, Beside)> = None;
    for step in chosen {
        let work = match step.work {
            Work::Boots => {
                println!("\n== {}: {}; beside the other steps", step.name, step.about);
                match Beside::begin(&bench.context) {
                    Ok(begun) => boots = Some((step, begun)),
                    Err(error) => results.add(step, Err(error), Duration::ZERO),
                }
                interrupt::check()?;
                continue;
            }
            Work::Beside(work) => work,
            Work::Alone(work) => {
                finish(boots.take(), results)?;
                work
            }
        };
        one(step, work, bench, results)?;
    }
    finish(boots, results)
}

fn one(step: &Step, work: fn(&mut Bench) -> Result<Done>, bench: &mut Bench, results: &mut Results) -> Result<()> {
    println!("\n== {}: {}", step.name, step.about);
    let begin = Instant::now();
    let done = work(bench);
    interrupt::check()?;
    results.add(step, done, begin.elapsed());
    Ok(())
}

fn finish(boots: Option<(&Step, Beside)>, results: &mut Results) -> Result<()> {
    let Some((step, boots)) = boots else { return Ok(()) };
    println!("\n== {}: {}", step.name, step.about);
    let begin = Instant::now();
    let done = boots.finish();
    interrupt::check()?;
    let (done, seconds) = match done {
        Ok((tally, seconds)) => (Ok(Done::Ran(tally)), Duration::from_secs(seconds)),
        Err(error) => (Err(error), begin.elapsed()),
    };
    results.add(step, done, seconds);
    Ok(())
}

/// Runs suites again and again, after they are built, while nothing on this machine gets a processor for itself.
fn busily(chosen: &[&Step], times: NonZeroU32, bench: &mut Bench, results: &mut Results) -> Result<()> {
    let suites: Vec<_> = chosen.iter().filter_map(|step| Some((*step, step.work.of_suite()?))).collect();
    bench.building(true);
    for (step, work) in &suites {
        println!("\n== {}: {}", step.name, step.about);
        if let Done::Ran(tally) = work(bench)?
            && tally.failed > 0
        {
            bail!("the tests do not build");
        }
        interrupt::check()?;
    }
    bench.building(false);
    let _load = busy::Load::begin();
    for time in 1..=times.get() {
        println!("\n== {time} of {times}");
        for (step, work) in &suites {
            one(step, *work, bench, results)?;
        }
    }
    Ok(())
}

/// What came of the steps.
#[derive(Debug, Default)]
struct Results {
    total: Tally,
    lines: Vec<String>,
}

impl Results {
    /// Adds a step's, and prints its line.
    fn add(&mut self, step: &Step, done: Result<Done>, time: Duration) {
        let verdict = match done {
            Ok(Done::Ran(tally)) => {
                self.total = self.total.plus(tally);
                if tally.failed == 0 { format!("ok ({tally})") } else { format!("FAILED ({tally})") }
            }
            Ok(Done::Skipped(reason)) => {
                self.total.skipped += 1;
                format!("skipped ({reason})")
            }
            Err(error) => {
                self.total.failed += 1;
                format!("FAILED ({error:#}); rerun: cargo xtask test --only {}", step.name)
            }
        };
        let line = format!("step {:<14} {:>5} s  {verdict}", step.name, time.as_secs());
        println!("{line}");
        self.lines.push(line);
    }
}
