//! Many sessions, in one process after the other.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::worker::{Line, SESSIONS};

/// A session that takes longer than this on the wall hangs. Each takes a millisecond.
const HANG: Duration = Duration::from_secs(60);

/// What came of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    seed: u64,
    pub(crate) sessions: u64,
    pub(crate) findings: u64,
    requests: u64,
    calls: u64,
    mounted: u64,
    seconds: f64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, sessions, requests, calls, mounted, seconds, .. } = self;
        let rate = *sessions as f64 / seconds;
        write!(
            f,
            "seed {seed}: {sessions} sessions, {rate:.0} a second; {mounted} mounts, {calls} calls, {requests} requests"
        )
    }
}

/// A process that ends with its owner.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself, and then both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs sessions for so long.
///
/// # Errors
///
/// If a process for them cannot be started.
pub(crate) fn run(seed: u64, time: Duration) -> Result<Tally> {
    let begin = Instant::now();
    let mut tally = Tally { seed, ..Tally::default() };
    let mut next = 0;
    while begin.elapsed() < time {
        next = one_process(&mut tally, next, begin + time)?;
    }
    tally.seconds = begin.elapsed().as_secs_f64();
    Ok(tally)
}

/// Runs a process's sessions; returns the number of the next.
fn one_process(tally: &mut Tally, first: u64, end: Instant) -> Result<u64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &tally.seed.to_string(), "--worker", &first.to_string()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("a process for sessions")?;
    let mut worker = Worker(child);
    let lines = lines(worker.0.stdout.take().context("its output")?);
    let mut session = first;
    loop {
        match lines.recv_timeout(HANG) {
            Ok(Line::Session(number)) => {
                tally.sessions += u64::from(number > first);
                session = number;
                if Instant::now() >= end {
                    return Ok(session);
                }
            }
            Ok(Line::Finding(number, what)) => finding(tally, number, &what),
            Ok(Line::Total { requests, calls, mounted }) => {
                tally.sessions += 1;
                tally.requests += requests;
                tally.calls += calls;
                tally.mounted += mounted;
                return Ok(first + SESSIONS);
            }
            Err(RecvTimeoutError::Timeout) => {
                finding(tally, session, "it hangs");
                return Ok(session + 1);
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = worker.0.wait()?;
                finding(tally, session, &format!("it took its process down ({status})"));
                return Ok(session + 1);
            }
        }
    }
}

fn finding(tally: &mut Tally, session: u64, what: &str) {
    tally.findings += 1;
    println!("finding: session {session}: {what}");
    println!("replay: attack-device --seed {} --session {session}", tally.seed);
}

/// What a process says, as it says it.
fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<Line> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let Some(line) = Line::parse(&line) else {
                // A sanitizer's, say, and for people.
                println!("{line}");
                continue;
            };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}
