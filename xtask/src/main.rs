//! The commands of this repository: `cargo xtask setup`, `run`, `test`, `qemu-test`, `bench`,
//! `mutants`, `attack` and `famfs`.
//!
//! Each command gets for itself what it misses ([`setup`]), starts what it needs as children that cannot outlive it
//! ([`process`]), and judges a boot by several witnesses ([`rig::verdict`]), never by one.

mod attack;
mod bench;
mod conform;
#[cfg(test)]
mod docs;
mod famfs;
mod mutants;
mod paths;
mod peer;
mod process;
mod progress;
mod qemu_test;
mod rig;
mod run;
mod scenarios;
mod setup;
mod structure;
mod test;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use process::interrupt;
use std::process::ExitCode;

/// Boots a bare-metal kernel behind a virtio-fs DAX window, and proves that it works.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gets what the other commands need and the machine lacks; without root, into target/ only.
    Setup(setup::SetupArgs),
    /// Boots the test kernel with a folder of this machine behind a DAX window, and runs a command in it.
    Run(run::RunArgs),
    /// Runs everything that continuous integration runs.
    Test(test::TestArgs),
    /// Runs file-system suites that others wrote, over mounts of the driver in a process.
    Conform(conform::ConformArgs),
    /// Runs the scenarios in QEMU.
    QemuTest(qemu_test::QemuTestArgs),
    /// Measures, and compares with a Linux guest.
    Bench(bench::BenchArgs),
    /// Breaks the code on purpose, in a copy, and sees whether the tests notice.
    Mutants(mutants::MutantsArgs),
    /// Attacks the daemon as a hostile guest would, and the driver as a hostile device would.
    Attack(attack::AttackArgs),
    /// Makes, lists, dumps and checks images of file systems on shared memory.
    Famfs(famfs::FamfsArgs),
}

/// The exit status for wrong usage (`EX_USAGE`), which no command gives for anything else.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            // Nothing is left to do if even this cannot be shown. Help is shown on request, which is no error.
            let _ = asked.print();
            return if asked.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    interrupt::install();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            // Whatever failed then failed because of it.
            if interrupt::check().is_err() { ExitCode::from(interrupt::STATUS) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(args) => setup::command(&args),
        Command::Run(args) => run::command(&args),
        Command::Test(args) => test::command(&args),
        Command::Conform(args) => conform::command(&args),
        Command::QemuTest(args) => qemu_test::command(&args),
        Command::Bench(args) => bench::command(&args),
        Command::Mutants(args) => mutants::command(&args),
        Command::Attack(args) => attack::command(&args),
        Command::Famfs(args) => Ok(famfs::command(&args)),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_documentation_names_commands_that_there_are() {
        let page = include_str!("../../docs/commands.md");
        let named = page.lines().filter_map(|line| line.strip_prefix("| `cargo xtask ")?.split([' ', '`']).next());
        let mut named: Vec<_> = named.collect();
        assert!(named.len() >= 6, "{named:?}");
        let readme = include_str!("../../README.md").lines().filter_map(|line| line.strip_prefix("cargo xtask "));
        named.extend(readme.filter_map(|rest| rest.split(' ').next()));
        for name in named {
            assert!(Cli::command().find_subcommand(name).is_some(), "{name}");
        }
    }
}
