//! Several processors at the same files.

mod worker;

use super::{
    Machine, Outcome, Stop, ensure, files,
    mmap::{MIB, World},
    reclaim,
};
use crate::{
    arch::{clock::Clock, cpu, smp},
    digest::Sha256,
    events,
    memory::LARGE_PAGE,
    mmap::{File, Process},
};
use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use spin::Mutex;
use virtio_fs::{Config, OpenOptions};
use worker::{Counts, Stage, Worker};

/// Bytes of the file in which each processor has pages of its own.
const OWN_SIZE: u64 = 32 * MIB;
/// Bytes of the file that is cut and punched, at most.
const CUT_SIZE: u64 = 12 * MIB;
/// Seconds, when the command line names none.
const SECONDS: u64 = 20;
/// How long a processor may take to end what it is at.
const LAST: Duration = Duration::from_secs(60);

/// How a processor's part ended, once it has.
type Ended = Option<Result<Worker, Stop>>;

/// Starts all processors, at least so many; a machine with fewer does not do for the scenario.
pub(super) fn start(least: usize) -> Result<usize, Stop> {
    let count = smp::start()?;
    events::metric("processors", count as u64, "1");
    if count < least {
        return Err(Stop::Skip(format!("the machine has {count} processors, {least} are needed")));
    }
    Ok(count)
}

/// Waits until a processor has nothing to do any more.
pub(super) fn join(processor: usize, patience: Duration) -> Outcome {
    let deadline = Clock::now_ns() + patience.as_nanos() as u64;
    while smp::is_busy(processor) {
        ensure!(Clock::now_ns() < deadline, "processor {processor} is still busy after {patience:?}");
        cpu::wait_for_interrupt();
    }
    Ok(())
}

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. For `seconds=` seconds (20) every processor
/// reads, stores, copies, pins, cuts, punches and synchronises, through page tables and by calls, two programs on the same
/// files; every byte that is read is checked. The window is so small that reclaim never rests. Infos `sha256 NAME`.
pub(crate) fn stress(machine: &Machine) -> Outcome {
    let seconds = match machine.command_line.parameter("seconds").map(str::parse) {
        None => SECONDS,
        Some(Ok(seconds)) => seconds,
        Some(Err(_)) => return Err(Stop::Fail("seconds= is no number".into())),
    };
    let processors = start(1)?;
    let world = World::new(machine, Config::default())?;
    let create = |name: &str, len: u64| -> Result<Arc<File>, Stop> {
        let file = world.fs.open(name, OpenOptions::new().read(true).write(true).create_new(true))?;
        file.set_len(len)?;
        Ok(Arc::new(file))
    };
    let stage = Arc::new(Stage {
        fs: world.fs.clone(),
        big: world.open(reclaim::BIG.0, false)?,
        own: create("smp-own", OWN_SIZE)?,
        cut: create("smp-cut", CUT_SIZE)?,
        processors: processors as u64,
        deadline: Clock::now_ns() + seconds * 1_000_000_000,
        failed: AtomicBool::new(false),
    });
    let second = Process::new()?;
    for process in [&world.process, &second] {
        stage.map_files(process)?;
    }
    let results: Arc<Vec<Mutex<Ended>>> = Arc::new((0..processors).map(|_| Mutex::new(None)).collect());
    let work = |processor: usize| {
        let (stage, results) = (stage.clone(), results.clone());
        let process = if processor.is_multiple_of(2) { world.process.clone() } else { second.clone() };
        move || {
            let mut worker = Worker::new(stage.clone(), process, processor as u64);
            let result = worker.run();
            if result.is_err() {
                stage.failed.store(true, Ordering::Release);
            }
            *results[processor].lock() = Some(result.map(|()| worker));
        }
    };
    for processor in 1..processors {
        smp::run_on(processor, work(processor));
    }
    work(0)();
    for processor in 1..processors {
        join(processor, LAST)?;
    }
    let mut counts = Counts::default();
    for (processor, result) in results.iter().enumerate() {
        let worker = match result.lock().take() {
            Some(Ok(worker)) => worker,
            Some(Err(Stop::Fail(message))) => return Err(Stop::Fail(format!("processor {processor}: {message}"))),
            other => return Err(Stop::Fail(format!("processor {processor} ended with {:?}", other.is_some()))),
        };
        counts.add(&worker.counts);
        worker.check_own()?;
    }
    counts.tell();
    // What the host has in the end, for the host to compare.
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for offset in (0..OWN_SIZE).step_by(buffer.len()) {
        stage.own.read_exact_at(&mut buffer, offset)?;
        digest.update(&buffer);
    }
    events::info("sha256 smp-own", &digest.finish());
    files::check_whole(&world.fs, reclaim::BIG.0, reclaim::BIG.1, 1 << 20)?;
    second.end();
    let stats = world.fs.stats();
    ensure!(stats.timeouts == 0, "{} requests timed out", stats.timeouts);
    events::metric("stat removed_mappings_under_stress", stats.removed_mappings, "1");
    // Each range was wanted for something else at least once, however slow the host is.
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    ensure!(stats.removed_mappings > ranges, "only {} mappings were ever removed", stats.removed_mappings);
    drop((stage, results));
    world.finish()
}
