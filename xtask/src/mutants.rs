//! `cargo xtask mutants`: do the tests notice? Each mutation of a kept list breaks what a sentence of the documentation
//! promises; the tests that should notice run over a private copy of the tree with that one mutation in it.

mod copy;
mod generated;
mod list;
mod mutation;
mod trial;

use crate::{paths::Paths, process::interrupt, progress::Step};
use anyhow::{Result, bail};
use clap::Args;
use mutation::Mutation;
use std::{process::ExitCode, time::Instant};
use trial::{Trial, Verdict};

/// `cargo xtask mutants`
#[derive(Args, Clone, Debug)]
pub(crate) struct MutantsArgs {
    /// Only the mutations of this crate
    #[arg(long = "crate", value_name = "NAME")]
    of: Option<String>,
    /// Only the mutations with this in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print the mutations only
    #[arg(long)]
    list: bool,
    /// Besides, those that cargo-mutants makes by itself of the small crates, where it is installed
    #[arg(long)]
    generated: bool,
}

/// Runs `cargo xtask mutants`.
pub(crate) fn command(args: &MutantsArgs) -> Result<ExitCode> {
    let chosen: Vec<&Mutation> = list::all()
        .filter(|one| args.of.as_ref().is_none_or(|name| one.of == name))
        .filter(|one| args.filter.as_ref().is_none_or(|text| one.name.contains(text.as_str())))
        .collect();
    if chosen.is_empty() {
        bail!("no mutation matches; `cargo xtask mutants --list` prints them");
    }
    if args.list {
        for one in chosen {
            println!("{:<12} {}", one.of, one.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let paths = Paths::find()?;
    let folder = paths.target.join("mutants");
    let trial = Trial::new(&paths.root, &folder.join("tree"), &folder.join("build"))?;
    let mut rows = Vec::new();
    for one in chosen {
        let step = Step::begin(format!("{}: {}", one.of, one.name));
        let begin = Instant::now();
        let verdict = trial.run(one)?;
        drop(step);
        let row = format!("{:<12} {:<60} {:>5} s  {verdict}", one.of, one.name, begin.elapsed().as_secs());
        println!("{row}");
        rows.push((row, verdict));
        interrupt::check()?;
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|(_, verdict)| wanted(verdict)).count();
    let (noticed, survived) = (count(Verdict::is_noticed), count(|verdict| matches!(verdict, Verdict::Survived)));
    println!();
    for (row, _) in &rows {
        println!("{row}");
    }
    println!("{noticed} noticed, {survived} survived, {} not tried", rows.len() - noticed - survived);
    let generated = !args.generated || generated::run(&paths, args.of.as_deref())?;
    Ok(if noticed == rows.len() && generated { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
