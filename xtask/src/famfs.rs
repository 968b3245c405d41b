//! `cargo xtask famfs`: images of file systems on shared memory, in the manner of fsck.

mod check;
mod dump;
mod format;
pub(crate) mod image;
mod ls;
mod status;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// `cargo xtask famfs`
#[derive(Args, Debug)]
pub(crate) struct FamfsArgs {
    #[command(subcommand)]
    command: FamfsCommand,
}

#[derive(Debug, Subcommand)]
enum FamfsCommand {
    /// Makes an empty file system.
    Format(format::FormatArgs),
    /// Lists directories, with modes, owners and sizes.
    Ls(ls::LsArgs),
    /// Shows superblock, log and what replay of the log makes of it.
    Dump(dump::DumpArgs),
    /// Prints every error with its place, then what is unusual, then what is readable. Exit status 0: nothing is
    /// refused, 1: damaged, 2: not a famfs of a known format.
    Check(check::CheckArgs),
}

/// Runs the command. What keeps it from reading the image has an exit status of its own.
pub(crate) fn command(args: &FamfsArgs) -> ExitCode {
    let out = &mut io::stdout().lock();
    match run(args, out).and_then(|status| Ok(out.flush().map(|()| status)?)) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            status::NO_IMAGE.into()
        }
    }
}

fn run(args: &FamfsArgs, out: &mut dyn Write) -> Result<u8> {
    match &args.command {
        FamfsCommand::Format(args) => format::command(args, out),
        FamfsCommand::Ls(args) => ls::command(args, out),
        FamfsCommand::Dump(args) => dump::command(args, out),
        FamfsCommand::Check(args) => check::command(args, out),
    }
}
