//! `cargo xtask famfs`: images of file systems on shared memory, in the manner of fsck.

mod check;
mod dump;
mod format;
mod image;
mod ls;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The exit status of `check` where nothing is refused.
const CLEAN: u8 = 0;
/// The exit status of all four where the file system is damaged, or the image must not be overwritten.
const DAMAGED: u8 = 1;
/// The exit status of all four where the image is no file system of a known format.
const UNKNOWN: u8 = 2;
/// The exit status where the image cannot be read or written (`EX_IOERR`): nothing is known about it.
const NO_IMAGE: u8 = 74;

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

/// The image to look at.
#[derive(Args, Clone, Debug)]
struct ImageArgs {
    /// A file or device with the memory's bytes from 0 on, or such a file compressed with gzip
    #[arg(value_name = "IMAGE[.gz]")]
    image: PathBuf,
}

/// Runs the command. What keeps it from reading the image has an exit status of its own.
pub(crate) fn command(args: &FamfsArgs) -> ExitCode {
    let out = &mut io::stdout().lock();
    match run(args, out).and_then(|status| Ok(out.flush().map(|()| status)?)) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            NO_IMAGE.into()
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

/// The exit status for an image of which nothing is readable.
fn refused(finding: &famfs::Finding) -> u8 {
    if finding.is_unknown_format() { UNKNOWN } else { DAMAGED }
}
