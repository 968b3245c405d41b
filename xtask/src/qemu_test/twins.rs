//! A test with two guests on one share, each with a daemon of its own, which wait for each other at every point.

use super::{
    share::{MEMORY, witnessed},
    words::words,
};
use crate::{
    rig::{
        boot::{self, Host, Report},
        daemon::Daemon,
        machine::Machine,
        plan::{Deadlines, Plan},
        tools::Tools,
        verdict::{self, Failure, Success},
    },
    scenarios::{Test, stage::Stage},
};
use anyhow::{Result, bail};
use std::{
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};
use testkernel_protocol::command_line::{GUEST, word};

/// How long one waits for the other: less than a kernel waits for the host.
const PATIENCE: Duration = Duration::from_secs(25);
const GUESTS: usize = 2;

/// Where guests wait for each other.
#[derive(Debug, Default)]
struct Meeting {
    arrived: Mutex<usize>,
    all: Condvar,
}

impl Meeting {
    /// Waits until as many have come as there are guests, once more each time.
    ///
    /// # Errors
    /// When the other one does not come.
    fn meet(&self, name: &str) -> Result<()> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *arrived += 1;
        self.all.notify_all();
        let wanted = arrived.next_multiple_of(GUESTS);
        let waited = self.all.wait_timeout_while(arrived, PATIENCE, |arrived| *arrived < wanted);
        let (arrived, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *arrived < wanted {
            bail!("the other guest did not come to `{name}` within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }
}

/// The host's part of one of them.
struct Paired<'a> {
    stage: Stage,
    meeting: &'a Meeting,
}

impl Host for Paired<'_> {
    fn sync(&mut self, name: &str, daemon: Option<&mut Daemon>) -> Result<()> {
        self.stage.sync(name, daemon)?;
        self.meeting.meet(name)
    }

    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        self.stage.output(bytes)
    }

    fn log(&mut self, _: &[u8]) {}
}

/// Two guests of one test.
#[derive(Clone, Copy)]
pub(super) struct Twins<'a> {
    pub(super) tools: &'a Tools,
    pub(super) accelerator: &'a str,
    pub(super) test: &'a Test,
    pub(super) machine: &'a Machine,
    /// Where the logs go.
    pub(super) folder: &'a Path,
    pub(super) share: &'a Path,
}

impl Twins<'_> {
    /// Boots both, and looks at what came of them.
    ///
    /// # Errors
    /// When this program is interrupted, or QEMU cannot be started.
    pub(super) fn boot(&self) -> Result<Result<Success, Failure>> {
        let meeting = Meeting::default();
        let ended: Vec<_> = thread::scope(|scope| {
            let meeting = &meeting;
            let guests: Vec<_> = (0..GUESTS).map(|guest| scope.spawn(move || self.boot_one(guest, meeting))).collect();
            let join = |guest: thread::ScopedJoinHandle<'_, _>| {
                guest.join().unwrap_or_else(|_| bail!("a guest's thread panicked"))
            };
            guests.into_iter().map(join).collect::<Result<_>>()
        })?;
        for (guest, (stage, report)) in ended.iter().enumerate() {
            let judged = verdict::judge(report, Some(self.test.scenario.name));
            match judged.and_then(|success| witnessed(&self.test.half, stage, report, success)) {
                Ok(Success::Passed) => {}
                Ok(skipped) => return Ok(Ok(skipped)),
                Err(failure) => {
                    let message = format!("guest {guest}: {}", failure.message);
                    return Ok(Err(Failure::new(failure.witness, message)));
                }
            }
        }
        Ok(Ok(Success::Passed))
    }

    fn boot_one(&self, guest: usize, meeting: &Meeting) -> Result<(Stage, Report)> {
        let Self { test, machine, share, .. } = *self;
        let scenario = &test.half;
        let mut words = words(test, machine, self.accelerator, scenario.seconds);
        words.push(word(GUEST, &guest.to_string()));
        let plan = Plan {
            machine: *machine,
            accelerator: self.accelerator,
            memory: MEMORY,
            share,
            memory_shared: None,
            small_disk: None,
            daemon: scenario.daemon,
            our_daemon: scenario.our_daemon,
            record: true,
            folder: &self.folder.join(format!("guest-{guest}")),
            words,
            faults: scenario.faults,
            deadlines: Deadlines::on(self.accelerator, Duration::from_secs(scenario.seconds + scenario.grace)),
        };
        let mut host = Paired { stage: Stage::new(share, machine.window(), scenario.at), meeting };
        let report = boot::boot(self.tools, &plan, &mut host)?;
        Ok((host.stage, report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_wait_for_each_other_again_and_again() {
        let meeting = Meeting::default();
        let turns = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for guest in 0..GUESTS {
                let (meeting, turns) = (&meeting, &turns);
                scope.spawn(move || {
                    for turn in 0..20 {
                        turns.lock().unwrap().push((turn, guest));
                        meeting.meet("a point").unwrap();
                    }
                });
            }
        });
        let turns = turns.into_inner().unwrap();
        assert!(turns.is_sorted_by_key(|(turn, _)| *turn), "{turns:?}");
    }
}
