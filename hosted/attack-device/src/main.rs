//! A hostile device against the driver, in one thread, on a clock of its own: every choice comes from a seed, so a session
//! that found something finds it again.
//!
//! A session is a device with a character (what it says of itself, how often it lies and how), a mount, some calls of the
//! driver's public functions, and an unmount. What must hold whatever the device does:
//!
//! - No call panics, or takes a lock twice.
//! - A call ends within its budget: the deadline of its longest class of request, one short deadline for all the rest
//!   together, by the session's clock; and it sends a bounded number of requests.
//! - Heap and DMA memory stay bounded.
//! - No memory is freed that the device may still reach, and the device is shown no other memory. Loads and stores of the
//!   window go where the device said that a file is mapped.
//! - The embedder's clock, waits, wakers, memory and logger are called with no lock of the driver's held.
//!
//! Sessions run in a process of their own, some thousand each, so that one that takes the process down is a finding like
//! any other. Built with AddressSanitizer, every allocation for the device is a heap block that it watches.

mod calls;
mod campaign;
mod character;
mod clock;
mod device;
mod handles;
mod heap;
mod lies;
mod limits;
mod lock;
mod logger;
mod memory;
mod platform;
mod queue;
mod rules;
mod server;
mod session;
mod transport;
mod worker;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;

/// Attacks the driver as a hostile device would.
#[derive(Debug, Parser)]
#[command(name = "attack-device", max_term_width = 110)]
struct Options {
    /// How long to attack
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Where the sequence of sessions begins
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Only this session: for what an earlier run has found
    #[arg(long, value_name = "NUMBER")]
    session: Option<u64>,

    /// Run sessions from this one on, and say how they go: for the process that counts
    #[arg(long, value_name = "NUMBER", hide = true)]
    worker: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(first) = options.worker {
        worker::run(options.seed, first, worker::SESSIONS);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(session) = options.session {
        worker::run(options.seed, session, 1);
        return Ok(ExitCode::SUCCESS);
    }
    let tally = campaign::run(options.seed, Duration::from_secs(options.seconds))?;
    println!("{tally}");
    println!("{} inputs, {} findings", tally.sessions, tally.findings);
    Ok(if tally.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
