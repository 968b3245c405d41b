//! `cargo xtask qemu-test`: the scenarios, each in a boot of its own.

mod one;
mod output;
mod share;
mod shared;
mod twins;
mod words;

use crate::{
    rig::{kernel, machine, tools::Tools},
    scenarios,
    setup::{self, Context, qemu::QemuArgs},
};
use anyhow::{Context as _, Result, bail};
use clap::Args;
pub(crate) use output::Tally;
use output::{Outcome, TestResult};
use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// `cargo xtask qemu-test`
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct QemuTestArgs {
    /// Print the tests' names only
    #[arg(long)]
    list: bool,
    /// Run the tests with this in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run on this machine only (`--machine help` lists them)
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Write the results to a file: an array of {name, machine, outcome, seconds, message}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the folders of tests that passed, too
    #[arg(long)]
    keep: bool,
    /// How long tests take that can take any time (smp::stress)
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Boots at a time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// QEMU's accelerator
    #[arg(long, value_name = "NAME", default_value = "tcg", value_parser = ["tcg", "kvm"])]
    accel: String,
    #[command(flatten)]
    pub(crate) qemu: QemuArgs,
}

/// One test: a scenario and the machines that it runs on.
#[derive(Clone)]
struct Test {
    scenario: scenarios::Test,
    machines: Vec<machine::Machine>,
    /// Whether the kernel's binary has no half of it.
    lost: bool,
}

impl Test {
    fn name(&self) -> &'static str {
        self.scenario.scenario.name
    }
}

/// Runs `cargo xtask qemu-test`.
pub(crate) fn command(args: &QemuTestArgs) -> Result<ExitCode> {
    if args.machine.as_deref() == Some("help") {
        for machine in machine::MACHINES {
            println!("{:<14} {}", machine.name, machine.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let context = Context::new(&args.qemu)?;
    if args.list {
        let kernel = setup::build::kernel(&context)?;
        for test in chosen(&kernel::scenarios(&kernel)?, args)? {
            println!("{}", test.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tally = run(&context, args)?;
    println!("{tally}");
    Ok(if tally.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests and prints a line for each.
///
/// # Errors
/// When they cannot be run at all; a failed test is no error.
pub(crate) fn run(context: &Context, args: &QemuTestArgs) -> Result<Tally> {
    let tools = Tools::ensure(context, true)?;
    let listed = kernel::scenarios(&tools.kernel)?;
    let tests = chosen(&listed, args)?;
    let root = context.paths.qemu_test();
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    let jobs = args.jobs.unwrap_or_else(default_jobs).clamp(1, tests.len().max(1));
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let one =
        one::Runner { tools: &tools, root: &root, accelerator: &args.accel, keep: args.keep, seconds: args.seconds };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut done = Vec::new();
                        for machine in &test.machines {
                            done.push(if test.lost {
                                one::lost(test.name(), machine)
                            } else {
                                one.run(&test.scenario, machine)?
                            });
                        }
                        // A worker that panicked poisoned nothing that matters: results are only ever added.
                        let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        output::print(test.name(), &done);
                        results.extend(done);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let position = |result: &TestResult| tests.iter().position(|test| test.name() == result.name);
    results.sort_by_key(position);
    if let Some(file) = &args.json {
        output::write_json(file, &results)?;
    }
    Ok(Tally::of(tests.iter().map(|test| {
        Outcome::of_all(results.iter().filter(|result| result.name == test.name()).map(|result| &result.outcome))
    })))
}

/// The tests that the options choose.
fn chosen(listed: &[String], args: &QemuTestArgs) -> Result<Vec<Test>> {
    if let Some(name) = &args.machine
        && machine::named(name).is_none()
    {
        let names: Vec<&str> = machine::MACHINES.iter().map(|machine| machine.name).collect();
        bail!("there is no machine `{name}`; there are {}", names.join(", "));
    }
    let mut tests = Vec::new();
    for scenario in scenarios::all() {
        let name = scenario.scenario.name;
        if args.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        let wanted =
            scenario.scenario.machines.iter().filter(|name| args.machine.as_ref().is_none_or(|only| only == *name));
        let machines: Vec<_> = wanted.filter_map(|name| machine::named(name)).collect();
        if !machines.is_empty() {
            tests.push(Test { scenario, machines, lost: !listed.iter().any(|other| other == name) });
        }
    }
    if tests.is_empty() {
        bail!("no test matches; `cargo xtask qemu-test --list` prints their names");
    }
    Ok(tests)
}

/// A boot keeps hardly more than one processor busy: while the daemon works, the kernel waits.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
