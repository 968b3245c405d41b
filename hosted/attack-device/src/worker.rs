//! The process that runs sessions, some thousand of them: what a device that did not stop keeps for good is the process's.

use std::io::Write as _;

use crate::limits::Limits;
use crate::{logger, session};

/// Sessions of one process.
pub(crate) const SESSIONS: u64 = 4096;

/// A line of a worker's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A session begins; those before it are over.
    Session(u64),
    /// A session has found something.
    Finding(u64, String),
    /// Requests and calls of all sessions, and how many had a file system.
    Total { requests: u64, calls: u64, mounted: u64 },
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(number) => write!(f, "session {number}"),
            Self::Finding(number, what) => write!(f, "finding: session {number}: {what}"),
            Self::Total { requests, calls, mounted } => {
                write!(f, "total: {requests} requests, {calls} calls, {mounted} mounts")
            }
        }
    }
}

impl Line {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if let Some(number) = line.strip_prefix("session ") {
            return Some(Self::Session(number.parse().ok()?));
        }
        if let Some(finding) = line.strip_prefix("finding: session ") {
            let (number, what) = finding.split_once(": ")?;
            return Some(Self::Finding(number.parse().ok()?, what.to_owned()));
        }
        let mut counts =
            line.strip_prefix("total: ")?.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
        Some(Self::Total { requests: counts.next()?, calls: counts.next()?, mounted: counts.next()? })
    }
}

/// Runs sessions from `first` on.
pub(crate) fn run(seed: u64, first: u64, count: u64) {
    logger::install();
    if count == 1 {
        logger::tell_all();
    }
    // A panic is reported with its session.
    std::panic::set_hook(Box::new(|info| {
        crate::rules::broken(|| format!("a panic: {}", info.to_string().replace('\n', " ")));
    }));
    let mut total = [0_u64; 3];
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone; then nobody needs to know.
    let mut say = |line: Line| drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    for number in first..first + count {
        say(Line::Session(number));
        let report = session::run(seed, number, &Limits::DRIVER);
        total[0] += report.requests;
        total[1] += u64::from(report.calls);
        total[2] += u64::from(report.mounted);
        if let Some(finding) = report.finding {
            say(Line::Finding(number, finding));
        }
    }
    say(Line::Total { requests: total[0], calls: total[1], mounted: total[2] });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let total = Line::Total { requests: 1, calls: 2, mounted: 3 };
        for line in [Line::Session(7), Line::Finding(8, "a: b".to_owned()), total] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("thread main panicked"), None);
    }
}
