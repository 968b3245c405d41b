//! A hostile guest against the real daemon, seeded: whatever it finds comes again from its seed and session.
//!
//! A session is a daemon of its own. It gets requests with names that lead out of the share, nodes and handles that are
//! none, offsets that no file has, bytes that are not what they say, and chains and rings that lie. Sessions of even
//! numbers have one thread and repeat exactly; those of odd numbers have eight, and requests race.

mod generate;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;

use session::{Session, Tally};

/// Attacks a virtio-fs daemon as a hostile guest would.
#[derive(Debug, Parser)]
#[command(name = "attack", max_term_width = 110)]
struct Options {
    /// The daemon's program [default: virtiofsd-dax beside this one]
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,

    /// How long to attack
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Where the sequence of attacks begins
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Only this session, to its end: for what an earlier run has found
    #[arg(long, value_name = "NUMBER")]
    session: Option<u64>,

    /// Most requests of one session
    #[arg(long, default_value_t = 50_000)]
    requests: u64,

    /// Where the shares are made [default: /dev/shm if there is one]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,

    /// What our daemon is to do wrong, as its own --fault wants it: a finding that is there to be found
    #[arg(long, value_name = "FAULT", hide = true)]
    fault: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let daemon = match options.daemon {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("virtiofsd-dax"),
    };
    let daemon = daemon.canonicalize().with_context(|| format!("no daemon at {}", daemon.display()))?;
    let memory = PathBuf::from("/dev/shm");
    let folder = options.folder.unwrap_or(if memory.is_dir() { memory } else { std::env::temp_dir() });
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.seconds);
    let (mut tally, mut failed) = (Tally::default(), 0);
    let mut number = options.session.unwrap_or(0);
    loop {
        let fault = options.fault.as_deref();
        let session = Session { daemon: &daemon, folder: &folder, seed: options.seed, number, fault };
        let before = tally.requests;
        let deadline = if options.session.is_none() { Some(end) } else { None };
        match session.run(options.requests, deadline, &mut tally) {
            Ok(()) => {}
            Err(finding) => {
                failed += 1;
                println!("finding: session {number}, after {} requests: {finding:#}", tally.requests - before);
                println!(
                    "replay: attack --daemon {} --seed {} --session {number} --requests {}{}",
                    daemon.display(),
                    options.seed,
                    options.requests,
                    fault.map(|fault| format!(" --fault {fault}")).unwrap_or_default()
                );
            }
        }
        number += 1;
        if options.session.is_some() || Instant::now() >= end {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "seed {}: {} requests in {number} sessions, {:.0} a second; {} answered without an error, {} mappings",
        options.seed,
        tally.requests,
        tally.requests as f64 / seconds,
        tally.successes,
        tally.mappings
    );
    println!("{} inputs, {failed} findings", tally.requests);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
