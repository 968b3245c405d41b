//! What the rig's half of a scenario says.

use super::{
    region::Region,
    stage::{self, Stage},
};
use crate::rig::{boot::Report, verdict::Witness};
use anyhow::Result;

/// The rig's half of a scenario: what the host does while it runs, and what the host can see for itself.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Whether its share has the large file.
    pub(crate) big: bool,
    /// What our daemon is to do wrong, as its `--fault` wants it.
    pub(crate) faults: &'static [&'static str],
    /// Words for the kernel's command line.
    pub(crate) words: &'static [(&'static str, &'static str)],
    /// Bytes of a file system of its own in the share, where the host lets everybody mount one; it is as the folder
    /// [`SMALL_DISK`](testkernel_protocol::share::SMALL_DISK) otherwise.
    pub(crate) small_disk: Option<u64>,
    /// Further arguments of the daemon.
    pub(crate) daemon: &'static [&'static str],
    /// Further arguments of ours, which an unmodified daemon does not know.
    pub(crate) our_daemon: &'static [&'static str],
    /// Whether the host kills the daemon: its end and record then say nothing.
    pub(crate) daemon_dies: bool,
    /// Whether a second guest with a daemon of its own has the same share, and each waits for the other at every point.
    pub(crate) twins: bool,
    /// What guests that share memory do, if it is about those.
    pub(crate) shared: Option<Script>,
    /// What must come of it.
    pub(crate) expect: Expect,
    /// What the host does while the kernel waits at a point of this name.
    pub(crate) at: fn(&mut Stage, &str) -> Result<()>,
    /// What the host checks when everything has ended.
    pub(crate) after: fn(&Stage, &Report) -> Result<()>,
    /// Seconds that the kernel's own watchdog gives it.
    pub(crate) seconds: u64,
    /// Seconds that the host gives it beyond those.
    pub(crate) grace: u64,
}

/// What must come of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It passes.
    Pass,
    /// The rig calls it a failure: this witness, in words that contain all of these.
    Failure(Witness, &'static [&'static str]),
}

/// Nothing but the checks that every boot gets.
pub(crate) const PLAIN: Scenario = Scenario {
    big: false,
    faults: &[],
    words: &[],
    small_disk: None,
    daemon: &[],
    our_daemon: &[],
    daemon_dies: false,
    twins: false,
    shared: None,
    expect: Expect::Pass,
    at: stage::no_such_point,
    after: |_, _| Ok(()),
    seconds: 90,
    grace: 15,
};

/// What guests that share memory do, and what the host does to the memory.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    /// The image that the memory begins with; else it is empty.
    pub(crate) image: Option<&'static str>,
    /// The guests to which the memory is read-only.
    pub(crate) read_only: &'static [usize],
    /// Who does what, one after the other.
    pub(crate) steps: &'static [Step],
    /// What the host checks when all guests have ended; their reports are in the order of their numbers.
    pub(crate) witness: fn(&Region, &[Report]) -> Result<()>,
}

/// A step of a script.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Guests each do something, at the same time. The third guest is started when it has something to do.
    Guests(&'static [(usize, &'static str)]),
    /// The host does something to the memory.
    Host(fn(&mut Region) -> Result<()>),
}

/// A scenario with shared memory that begins empty.
pub(crate) const fn script(steps: &'static [Step], witness: fn(&Region, &[Report]) -> Result<()>) -> Scenario {
    Scenario { shared: Some(Script { image: None, read_only: &[], steps, witness }), ..PLAIN }
}

impl Script {
    /// How many guests there are.
    pub(crate) fn guests(&self) -> usize {
        let numbers = self.steps.iter().flat_map(|step| match step {
            Step::Guests(guests) => *guests,
            Step::Host(_) => &[],
        });
        numbers.map(|(guest, _)| guest + 1).max().unwrap_or(0)
    }
}
