//! A test with several guests that share memory: the host steps them through it.

use super::words::words;
use crate::{
    paths::Paths,
    rig::{
        boot::{self, Command, Host, Report},
        daemon::Daemon,
        machine::{Machine, SHARED_LEN, SharedMemory},
        plan::{Deadlines, Plan},
        tools::Tools,
        verdict::{self, Failure, Success, Witness},
    },
    scenarios::{
        Test,
        region::Region,
        scenario::{Script, Step},
    },
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};
use testkernel_protocol::{
    command_line::{GUEST, MEMORY, READ_ONLY, word},
    stepping,
};

/// RAM of a guest.
const MEMORY_LEN: u64 = 128 << 20;
/// How many guests are there from the beginning.
const FIRST: usize = 2;
const TICK: Duration = Duration::from_millis(1);

/// The host's part of a boot in which the guest is stepped through its memory.
struct Stepped {
    /// The last step that was taken, by the word of a guest that cannot write it to the memory.
    done: Arc<AtomicU64>,
}

impl Host for Stepped {
    fn sync(&mut self, name: &str, _: Option<&mut Daemon>) -> Result<()> {
        match name.strip_prefix(stepping::DONE).map(str::parse) {
            Some(Ok(number)) => self.done.store(number, Ordering::Release),
            _ => bail!("the kernel waits for `{name}`, of which the host knows nothing"),
        }
        Ok(())
    }

    fn output(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn command(&mut self) -> Result<Option<Command>> {
        Ok(Some(Command::End))
    }

    fn log(&mut self, _: &[u8]) {}
}

/// A guest that was started.
struct Guest<'scope> {
    boot: ScopedJoinHandle<'scope, Result<Report>>,
    /// The number of its last step.
    told: u64,
    done: Arc<AtomicU64>,
}

/// Several guests of one test.
#[derive(Clone, Copy)]
pub(super) struct Guests<'a> {
    pub(super) tools: &'a Tools,
    pub(super) accelerator: &'a str,
    pub(super) test: &'a Test,
    pub(super) script: &'a Script,
    pub(super) machine: &'a Machine,
    /// Where the memory is, and the logs go.
    pub(super) folder: &'a Path,
}

impl Guests<'_> {
    /// Boots the guests, has them and the host do what the script says, and ends them.
    ///
    /// # Errors
    /// When this program is interrupted, or QEMU cannot be started.
    pub(super) fn boot(&self) -> Result<Result<Success, Failure>> {
        let Self { test, script, folder, .. } = *self;
        let images = Paths::find()?.root.join("crates/famfs/testdata");
        let image = script.image.map(|name| images.join(format!("{name}.img.gz")));
        let mut region = Region::new(folder.join("memory"), SHARED_LEN, image.as_deref())?;
        let file = region.path().to_owned();
        let (outcome, reports) = thread::scope(|scope| {
            let start = |guest: usize| {
                let memory = SharedMemory { file: &file, writable: !script.read_only.contains(&guest) };
                let done = Arc::new(AtomicU64::new(0));
                let host = Stepped { done: done.clone() };
                let boot = scope.spawn(move || self.boot_guest(memory, guest, host));
                Guest { boot, told: 0, done }
            };
            let mut guests: Vec<_> = (0..script.guests().min(FIRST)).map(start).collect();
            let outcome = conduct(script, &mut region, &mut guests, &start);
            for (number, guest) in guests.iter().enumerate() {
                // If it cannot be reached, its own deadline ends it.
                let _ = region.tell(number, guest.told + 1, stepping::END);
            }
            let reports: Result<Vec<_>> = guests
                .into_iter()
                .map(|guest| guest.boot.join().map_err(|_| anyhow::anyhow!("a guest's thread panicked"))?)
                .collect();
            (outcome, reports)
        });
        let reports = reports?;
        let name = test.scenario.name;
        for (guest, report) in reports.iter().enumerate() {
            match verdict::judge(report, Some(name)) {
                Ok(Success::Passed) => {}
                Ok(skipped) => return Ok(Ok(skipped)),
                Err(failure) => {
                    let message = format!("guest {guest}: {}", failure.message);
                    return Ok(Err(Failure::new(failure.witness, message)));
                }
            }
        }
        let outcome = outcome.and_then(|()| (script.witness)(&region, &reports));
        Ok(outcome.map(|()| Success::Passed).map_err(|error| Failure::new(Witness::Host, format!("{error:#}"))))
    }

    fn boot_guest(&self, memory: SharedMemory<'_>, guest: usize, mut host: Stepped) -> Result<Report> {
        let Self { test, machine, folder, .. } = *self;
        let seconds = test.half.seconds;
        let mut words = words(test, machine, self.accelerator, seconds);
        words.push(word(GUEST, &guest.to_string()));
        if !memory.writable {
            words.push(word(MEMORY, READ_ONLY));
        }
        let plan = Plan {
            machine: *machine,
            accelerator: self.accelerator,
            memory: MEMORY_LEN,
            share: folder,
            memory_shared: Some(memory),
            small_disk: None,
            daemon: &[],
            our_daemon: &[],
            record: false,
            folder: &folder.join(format!("guest-{guest}")),
            words,
            faults: &[],
            deadlines: Deadlines::on(self.accelerator, Duration::from_secs(seconds + test.half.grace)),
        };
        boot::boot(self.tools, &plan, &mut host)
    }
}

/// Goes through the script. Every guest has a watchdog of its own, which ends a wait for it.
fn conduct<'scope>(
    script: &Script,
    region: &mut Region,
    guests: &mut Vec<Guest<'scope>>,
    start: &impl Fn(usize) -> Guest<'scope>,
) -> Result<()> {
    for (index, step) in script.steps.iter().enumerate() {
        match step {
            Step::Host(act) => act(region).with_context(|| format!("step {index}, the host's"))?,
            Step::Guests(acts) => {
                for &(number, name) in *acts {
                    while guests.len() <= number {
                        guests.push(start(guests.len()));
                    }
                    let guest = guests.get_mut(number).context("a guest was not started")?;
                    guest.told += 1;
                    region.tell(number, guest.told, name)?;
                }
                for &(number, name) in *acts {
                    let guest = guests.get(number).context("a guest was not started")?;
                    wait(region, number, guest).with_context(|| format!("step {index}, `{name}` of guest {number}"))?;
                }
            }
        }
    }
    Ok(())
}

fn wait(region: &Region, number: usize, guest: &Guest<'_>) -> Result<()> {
    let begin = Instant::now();
    while region.done(number)?.max(guest.done.load(Ordering::Acquire)) < guest.told {
        ensure!(!guest.boot.is_finished(), "the guest has ended after {:?}", begin.elapsed());
        thread::sleep(TICK);
    }
    Ok(())
}
