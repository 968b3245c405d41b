//! Mounts a virtiofsd's share on this machine: Linux's FUSE, the driver, a vhost-user socket, the daemon.
//!
//! [`session`] is a mount's life, [`source`] the other side, [`bridge`] the kernel's requests as calls of the driver.
#![deny(unsafe_code)]

mod background;
mod bridge;
mod cli;
mod convert;
mod daemon;
mod driver;
mod ending;
mod handles;
mod listing;
mod nodes;
mod open_file;
mod session;
mod source;
mod statistics;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    // The crate warns of every mount that somebody else has taken away.
    let filter = env_logger::Env::default().default_filter_or("warn,fuser::session=error");
    env_logger::Builder::from_env(filter).init();
    let outcome = if args.foreground { session::run(&args) } else { background::start() };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("virtiofs-mount: {error:#}");
            ExitCode::FAILURE
        }
    }
}
