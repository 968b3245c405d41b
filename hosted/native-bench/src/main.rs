//! Measures the driver in a host process next to the host's own calls on the same files.
//!
//! [`contest`] has rivals take turns, [`host`] is what the host itself does, and each mode has a file; the README says more.
#![deny(unsafe_code)]

mod allocations;
mod args;
mod contest;
mod counted;
mod data;
mod files;
mod host;
mod mappings;
mod names;
mod offsets;
mod output;
mod peer;
mod requests;
mod threads;

use std::process::ExitCode;

use anyhow::Result;
use args::{Args, Mode};
use clap::Parser as _;
use files::Files;
use peer::Peer;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let files = Files::make(&args.share)?;
    let peer = Peer::open(args)?;
    let fs = peer.mount(args)?;
    match args.mode {
        Mode::Hits => {
            data::hits(&fs, &files)?;
            threads::scaling(&fs, &files)?;
            mappings::views_and_faults(&fs, &files)?;
            names::measure(&fs, &files)?;
        }
        Mode::Misses => mappings::misses(&fs, &files)?,
        Mode::Requests => requests::measure(&fs, &files)?,
        Mode::Counted => counted::run(&fs)?,
    }
    fs.unmount()?;
    Ok(())
}
