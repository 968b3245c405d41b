//! A file, and then the whole file system, marked failed while every processor uses it.

use crate::{
    arch::{clock::Clock, cpu, smp, user},
    events,
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    mmap::{File, Process},
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        files, processors,
        views::{APART, BASE, MAP, MIB, OTHER, World, expect_page, map, shared},
    },
};
use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::Duration,
};
use fs_dax::Errno;
use spin::Mutex;
use testkernel_protocol::{content::Content, share};
use virtio_fs::Config;

/// Where the views are, in every program.
const MAP_AT: u64 = BASE;
const OTHER_AT: u64 = BASE + APART;
/// One page off: its pages are small.
const SMALL_AT: u64 = BASE + 2 * APART + PAGE;
const BIG_AT: u64 = BASE + 3 * APART;
const MAP_SIZE: u64 = 6 * MIB;
const OTHER_SIZE: u64 = 4 * MIB;

/// What has failed so far.
const NOTHING: u8 = 0;
const ONE_FILE: u8 = 1;
const EVERYTHING: u8 = 2;

/// How long a processor may take for its rounds before it is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the processors share.
struct Stage {
    /// The one that fails.
    file: Arc<File>,
    /// Goes on, until everything fails.
    other: Arc<File>,
    /// Larger than the window.
    big: Arc<File>,
    /// What has failed for sure: a processor that sees it here meets an error from then on.
    failed: AtomicU8,
    /// What may have failed already.
    failing: AtomicU8,
    end: AtomicBool,
    rounds: Vec<AtomicU64>,
    /// What the first processor found that found something wrong.
    wrong: Mutex<Option<Stop>>,
    served: AtomicU64,
    refused: AtomicU64,
}

/// What a processor does again and again.
type Round = fn(&Stage, &mut Random) -> Outcome;

/// A processor's own random numbers.
struct Random {
    stream: Content,
    drawn: u64,
}

impl Random {
    fn of(processor: usize) -> Self {
        Self { stream: Content::of(&format!("failure {processor}")), drawn: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        self.stream.word(self.drawn) % limit
    }
}

impl Stage {
    fn map_files(&self, process: &Process) -> Outcome {
        map(process, &shared(&self.file, MAP_AT, MAP_SIZE, true))?;
        map(process, &shared(&self.other, OTHER_AT, OTHER_SIZE, true))?;
        map(process, &shared(&self.file, SMALL_AT, MAP_SIZE, true))?;
        map(process, &shared(&self.big, BIG_AT, share::BIG.size, false))?;
        Ok(())
    }

    /// Judges an operation that was begun when `known` had failed: it fails exactly when it must, or may where it raced.
    fn judge(&self, known: u8, least: u8, what: &str, result: Result<(), Errno>) -> Outcome {
        let possible = self.failing.load(Ordering::Acquire);
        match result {
            Ok(()) => {
                ensure!(known < least, "{what} goes on after the failure");
                self.served.fetch_add(1, Ordering::Relaxed);
            }
            Err(Errno::EIO) if possible >= least => _ = self.refused.fetch_add(1, Ordering::Relaxed),
            Err(errno) => return Err(Stop::Fail(format!("{what}: {errno}, with failure {known} to {possible}"))),
        }
        Ok(())
    }
}

/// A load that must give the file's word, if it gives any.
fn load(at: u64, name: &str, offset: u64) -> Result<Result<(), Errno>, Stop> {
    match user::load_word(at + offset) {
        Ok(word) => {
            let expected = Content::of(name).word(offset / 8);
            ensure!(word == expected, "{name}: the word at {offset:#x} is {word:#018x}, not {expected:#018x}");
            Ok(Ok(()))
        }
        Err(errno) => Ok(Err(errno)),
    }
}

/// A store of what is there anyway.
fn store(at: u64, name: &str, offset: u64) -> Result<(), Errno> {
    user::store_word(at + offset, Content::of(name).word(offset / 8))
}

/// The same few pages each time, so that a processor remembers them.
fn same_pages(stage: &Stage, _: &mut Random) -> Outcome {
    let known = stage.failed.load(Ordering::Acquire);
    for (what, at, offset) in [("a large page", MAP_AT, MIB), ("a small page", SMALL_AT, 5 * PAGE)] {
        stage.judge(known, ONE_FILE, &format!("loading from {what}"), load(at, MAP, offset)?)?;
        stage.judge(known, ONE_FILE, &format!("storing to {what}"), store(at, MAP, offset + 8))?;
    }
    stage.judge(known, EVERYTHING, "loading from another file", load(OTHER_AT, OTHER, 64)?)?;
    stage.judge(known, EVERYTHING, "storing to another file", store(OTHER_AT, OTHER, 72))
}

/// Anything anywhere.
fn anything(stage: &Stage, random: &mut Random) -> Outcome {
    let known = stage.failed.load(Ordering::Acquire);
    let (file, name, at, size, least) = match random.below(4) {
        0 => (&stage.file, MAP, MAP_AT, MAP_SIZE, ONE_FILE),
        1 => (&stage.file, MAP, SMALL_AT, MAP_SIZE, ONE_FILE),
        2 => (&stage.other, OTHER, OTHER_AT, OTHER_SIZE, EVERYTHING),
        _ => (&stage.big, share::BIG.name, BIG_AT, share::BIG.size, EVERYTHING),
    };
    let writable = least == ONE_FILE || at == OTHER_AT;
    let offset = random.below(size / 8 - 512) * 8;
    let errno = |error: virtio_fs::Error| Errno::new(error.errno().number()).unwrap_or(Errno::EIO);
    let (what, result) = match random.below(8) {
        0 | 1 => ("load", load(at, name, offset)?),
        2 | 3 if writable => ("store", store(at, name, offset)),
        4 if writable => {
            let mut bytes = vec![0; 4096];
            Content::of(name).fill(offset, &mut bytes);
            ("write", file.write_all_at(&bytes, offset).map_err(errno))
        }
        5 if writable => ("sync", file.sync_range(offset, MIB).map_err(errno)),
        6 => ("pin", file.pin(offset, 4096).map(drop).map_err(errno)),
        _ => {
            let mut bytes = vec![0; 4096];
            let read = file.read_exact_at(&mut bytes, offset).map_err(errno);
            if read.is_ok() {
                files::check(name, Content::of(name), offset, &bytes)?;
            }
            ("read", read)
        }
    };
    stage.judge(known, least, &format!("{name}: {what} at {offset:#x}"), result)
}

/// One round of this processor's.
fn one_round(stage: &Stage, round: Round, random: &mut Random, processor: usize) -> Outcome {
    round(stage, random)?;
    stage.rounds[processor].fetch_add(1, Ordering::AcqRel);
    smp::attend();
    Ok(())
}

/// Goes on until every processor has made so many rounds more.
fn rounds_more(stage: &Stage, round: Round, random: &mut Random, more: u64) -> Outcome {
    let begin: Vec<u64> = stage.rounds.iter().map(|rounds| rounds.load(Ordering::Acquire)).collect();
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    loop {
        if let Some(stop) = stage.wrong.lock().take() {
            return Err(stop);
        }
        one_round(stage, round, random, 0)?;
        let behind = stage.rounds.iter().zip(&begin).position(|(now, then)| now.load(Ordering::Acquire) < then + more);
        let Some(behind) = behind else { return Ok(()) };
        ensure!(
            Clock::now_ns() < deadline,
            "processor {behind} is stuck: it did not make {more} rounds in {PATIENCE:?}"
        );
        // Under emulation the others may need this very processor.
        cpu::wait_for_interrupt();
    }
}

/// The scenario, with what every processor does meanwhile.
// Long: one scenario, in the order in which it happens.
fn fail_while(machine: &Machine, round: Round, rounds: u64) -> Outcome {
    let count = processors::start(1)?;
    // An operation that waits longer is stuck.
    let config = Config::default().window_timeout(PATIENCE);
    let world = World::new(machine, config)?;
    let stage = Arc::new(Stage {
        file: world.open(MAP, true)?,
        other: world.open(OTHER, true)?,
        big: world.open(share::BIG.name, false)?,
        failed: AtomicU8::new(NOTHING),
        failing: AtomicU8::new(NOTHING),
        end: AtomicBool::new(false),
        rounds: (0..count).map(|_| AtomicU64::new(0)).collect(),
        wrong: Mutex::new(None),
        served: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let second = Process::new()?;
    for process in [&world.process, &second] {
        stage.map_files(process)?;
    }
    for processor in 1..count {
        let stage = stage.clone();
        // Two processors in each of two programs, on a machine with four.
        let process = if processor.is_multiple_of(2) { world.process.clone() } else { second.clone() };
        smp::run_on(processor, move || {
            process.activate();
            let mut random = Random::of(processor);
            while !stage.end.load(Ordering::Acquire) {
                if let Err(stop) = one_round(&stage, round, &mut random, processor) {
                    let stop = match stop {
                        Stop::Fail(message) => Stop::Fail(format!("processor {processor}: {message}")),
                        skip => skip,
                    };
                    stage.wrong.lock().get_or_insert(stop);
                    return;
                }
            }
        });
    }
    let mut random = Random::of(0);
    rounds_more(&stage, round, &mut random, rounds)?;
    let unmapped = world.tables.unmapped();
    stage.failing.store(ONE_FILE, Ordering::Release);
    world.fs.lookup(MAP)?.mark_failed();
    stage.failed.store(ONE_FILE, Ordering::Release);
    ensure!(world.tables.unmapped() > unmapped, "no page of the file was taken away");
    rounds_more(&stage, round, &mut random, rounds)?;
    for process in [&world.process, &second] {
        for at in (0..MAP_SIZE).step_by(LARGE_PAGE as usize) {
            expect_page(process, MAP_AT + at, None)?;
            expect_page(process, SMALL_AT + at, None)?;
        }
    }
    stage.failing.store(EVERYTHING, Ordering::Release);
    world.fs.mark_failed();
    stage.failed.store(EVERYTHING, Ordering::Release);
    rounds_more(&stage, round, &mut random, rounds)?;
    stage.end.store(true, Ordering::Release);
    for processor in 1..count {
        processors::join(processor, PATIENCE)?;
    }
    if let Some(stop) = stage.wrong.lock().take() {
        return Err(stop);
    }
    let pages = world.process.pages() + second.pages();
    ensure!(pages == 0, "{pages} pages of a failed file system are in the page tables");
    let (served, refused) = (stage.served.load(Ordering::Acquire), stage.refused.load(Ordering::Acquire));
    events::metric("operations before the failure", served, "1");
    events::metric("operations refused", refused, "1");
    ensure!(served > 0 && refused > 0, "{served} operations were served, {refused} refused");
    second.end();
    drop(stage);
    world.finish()
}

/// Machine: a window, any number of processors. Every processor loads from and stores to the same few pages, so that it
/// remembers them, while a file is marked failed, and then the file system: no mapping of the window changes at that, so that
/// nothing but an interrupt to the other processors makes them forget. From then on each access is a bus error with EIO, on every
/// processor and in every program, and only there.
pub(crate) fn failure_is_everywhere(machine: &Machine) -> Outcome {
    fail_while(machine, same_pages, 100)
}

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. As `failure_is_everywhere`, while every
/// processor loads, stores, reads, writes, pins and synchronises anywhere, and reclaim never rests: nothing hangs, other files
/// go on, and everything is EIO in the end.
pub(crate) fn failure_under_load(machine: &Machine) -> Outcome {
    fail_while(machine, anything, 60)
}
