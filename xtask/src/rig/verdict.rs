//! The verdict on a boot. Several witnesses must agree that it passed: QEMU's status, the kernel's events, the host's own
//! look at the files, the daemon's end and its record. Any of them alone can fail it.

use super::{
    boot::{DaemonEnd, End, Phase, Report},
    events::Event,
};
use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};
use testkernel_protocol::exit;

/// QEMU's status when the kernel said that it passed.
const PASSED: i32 = exit::status(exit::PASSED);
/// The same when it failed.
const FAILED: i32 = exit::status(exit::FAILED);

/// What a boot that did not fail came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    /// All witnesses agree.
    Passed,
    /// The kernel said that it doesn't apply, and why.
    Skipped(String),
}

/// Who says that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The kernel, in words.
    Kernel,
    /// QEMU ended without a verdict of the kernel's.
    Qemu,
    /// The host's clock: nothing came in time.
    Clock,
    /// The events contradict the status or each other.
    Events,
    /// The host's look at the share or the output.
    Host,
    /// The daemon's end or its record.
    Daemon,
}

/// Why a boot failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Who says so.
    pub(crate) witness: Witness,
    /// What is wrong, in one line.
    pub(crate) message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// A failure that this witness saw.
    pub(crate) fn new(witness: Witness, message: impl Into<String>) -> Self {
        Self { witness, message: message.into() }
    }
}

/// Judges a boot; `test` is the scenario that should have run, if one should.
pub(crate) fn judge(report: &Report, test: Option<&str>) -> Result<Success, Failure> {
    kernel_failed(report)?;
    qemu_ended(report)?;
    let success = events_agree(report, test)?;
    if let Some(complaint) = report.complaints.first() {
        return Err(Failure::new(Witness::Host, complaint.clone()));
    }
    daemon_agrees(report)?;
    Ok(success)
}

/// The kernel's own word comes first: it says most.
fn kernel_failed(report: &Report) -> Result<(), Failure> {
    match report.events.iter().find_map(|event| if let Event::Fail { message } = event { Some(message) } else { None })
    {
        Some(message) => Err(Failure::new(Witness::Kernel, message.clone())),
        None => Ok(()),
    }
}

fn qemu_ended(report: &Report) -> Result<(), Failure> {
    let status = match report.end {
        End::Exited(status) => status,
        End::Deadline(phase, limit) => {
            let what = match phase {
                Phase::Boot => "the kernel said nothing",
                Phase::Test | Phase::Prompt => "the kernel gave no verdict",
                Phase::End => "QEMU did not end after the kernel's verdict",
            };
            return Err(Failure::new(Witness::Clock, format!("{what} within {} s", limit.as_secs())));
        }
    };
    match (status.code(), status.signal()) {
        (Some(PASSED), _) => Ok(()),
        (Some(FAILED), _) => {
            Err(Failure::new(Witness::Events, "the kernel ended as failed, but sent no event that says why"))
        }
        (Some(0), _) => Err(Failure::new(
            Witness::Qemu,
            "the machine reset or switched off without a verdict (a triple fault does that)",
        )),
        (Some(code), _) => Err(Failure::new(Witness::Qemu, format!("QEMU failed with status {code}"))),
        (None, signal) => {
            Err(Failure::new(Witness::Qemu, format!("QEMU was killed by signal {}", signal.unwrap_or_default())))
        }
    }
}

/// Exactly: hello, the start of the right test, one of pass and skip, done, and nothing after it.
fn events_agree(report: &Report, test: Option<&str>) -> Result<Success, Failure> {
    let wrong = |message: String| Err(Failure::new(Witness::Events, message));
    if let Some(broken) = report.broken.first() {
        return wrong(broken.clone());
    }
    if report.events.first() != Some(&Event::Hello {}) {
        return wrong("QEMU's status says passed, but the kernel's first event is not `hello`".into());
    }
    let started: Vec<&str> = report
        .events
        .iter()
        .filter_map(|event| if let Event::Start { test } = event { Some(test.as_str()) } else { None })
        .collect();
    if started != test.into_iter().collect::<Vec<_>>() {
        return wrong(format!("the kernel started {started:?} where {} was asked for", test.unwrap_or("no test")));
    }
    let [.., verdict, Event::Done] = report.events.as_slice() else {
        return wrong("QEMU's status says passed, but the kernel's last event is not `done`".into());
    };
    let verdicts = report.events.iter().filter(|event| matches!(event, Event::Pass | Event::Skip { .. })).count();
    match verdict {
        _ if verdicts > 1 => wrong(format!("the kernel gave {verdicts} verdicts")),
        Event::Pass => Ok(Success::Passed),
        Event::Skip { reason } => Ok(Success::Skipped(reason.clone())),
        _ => wrong("QEMU's status says passed, but the kernel sent no `pass`".into()),
    }
}

fn daemon_agrees(report: &Report) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(Witness::Daemon, message));
    match report.daemon {
        DaemonEnd::None => return Ok(()),
        DaemonEnd::Hung => return wrong("the daemon ran on after QEMU was gone".into()),
        DaemonEnd::Exited(status) if !status.success() => {
            return wrong(format!("the daemon failed ({})", words(status)));
        }
        DaemonEnd::Exited(_) => {}
    }
    match report.record.as_ref().and_then(super::record::Record::imbalance) {
        Some(imbalance) => wrong(imbalance),
        None => Ok(()),
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn status(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn good() -> Report {
        Report {
            events: vec![Event::Hello {}, Event::Start { test: "a::b".into() }, Event::Pass, Event::Done],
            broken: Vec::new(),
            end: End::Exited(status(PASSED)),
            daemon: DaemonEnd::Exited(status(0)),
            record: None,
            complaints: Vec::new(),
        }
    }

    fn fails(change: impl FnOnce(&mut Report), witness: Witness) {
        let mut report = good();
        change(&mut report);
        let failure = judge(&report, Some("a::b")).expect_err("it must fail");
        assert_eq!(failure.witness, witness, "{failure}");
    }

    #[test]
    fn it_passes_when_all_agree() {
        assert_eq!(judge(&good(), Some("a::b")), Ok(Success::Passed));
        let mut report = good();
        report.events[2] = Event::Skip { reason: "no".into() };
        assert_eq!(judge(&report, Some("a::b")), Ok(Success::Skipped("no".into())));
        report.events.remove(1);
        assert_eq!(judge(&report, None), Ok(Success::Skipped("no".into())));
    }

    #[test]
    fn any_witness_fails_it() {
        fails(|report| report.events[2] = Event::Fail { message: "no".into() }, Witness::Kernel);
        fails(|report| report.end = End::Exited(status(0)), Witness::Qemu);
        fails(|report| report.end = End::Exited(status(1)), Witness::Qemu);
        fails(|report| report.end = End::Exited(ExitStatus::from_raw(6)), Witness::Qemu);
        fails(|report| report.end = End::Exited(status(FAILED)), Witness::Events);
        for phase in [Phase::Boot, Phase::Test, Phase::End] {
            fails(|report| report.end = End::Deadline(phase, Duration::from_secs(1)), Witness::Clock);
        }
        fails(|report| report.broken.push("x".into()), Witness::Events);
        fails(|report| report.complaints.push("x".into()), Witness::Host);
        fails(|report| report.daemon = DaemonEnd::Hung, Witness::Daemon);
        fails(|report| report.daemon = DaemonEnd::Exited(ExitStatus::from_raw(9)), Witness::Daemon);
        fails(|report| report.daemon = DaemonEnd::Exited(status(1)), Witness::Daemon);
        fails(|report| report.record = Some(super::super::record::Record::default()), Witness::Daemon);
    }

    #[test]
    fn events_must_be_complete_and_in_order() {
        for index in 0..4 {
            fails(|report| drop(report.events.remove(index)), Witness::Events);
        }
        fails(|report| report.events[1] = Event::Start { test: "a::other".into() }, Witness::Events);
        fails(|report| report.events.swap(2, 3), Witness::Events);
        fails(|report| report.events.insert(2, Event::Pass), Witness::Events);
        fails(|report| report.events.insert(2, Event::Start { test: "a::b".into() }), Witness::Events);
        fails(|report| report.events.push(Event::Info { name: "x".into(), value: "y".into() }), Witness::Events);
    }
}
