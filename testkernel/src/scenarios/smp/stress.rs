//! Several processors at the same files.

use super::worker::{CUT_SIZE, Counts, OWN_SIZE, Stage, Worker};
use crate::{
    arch::{clock::Clock, smp},
    digest::Sha256,
    events,
    machine::Machine,
    memory::LARGE_PAGE,
    mmap::{File, Process},
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{files, processors, views::World},
    watchdog::{self},
};
use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use spin::Mutex;
use testkernel_protocol::share;
use virtio_fs::{Config, OpenOptions};

/// How a processor's part ended, once it has.
type Ended = Option<Result<Worker, Stop>>;

/// Seconds, when the command line names none.
const SECONDS: u64 = 20;

/// How long a request or a wait may take. The host may be busy with other things: what takes longer is stuck, not slow.
const STUCK: Duration = Duration::from_secs(60);

/// How long a processor may take to end what it is at: a few such waits.
const LAST: Duration = Duration::from_secs(150);

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. For `seconds=` seconds (20) every processor
/// reads, stores, copies, pins, cuts, punches and synchronises, through page tables and by calls, two programs on the same
/// files; every byte that is read is checked. The window is so small that reclaim never rests. Infos `sha256 NAME`. How much is
/// done in that time decides nothing: it fails of a wrong byte, a stuck processor, a page that a processor may still use after
/// it was taken away, or mappings that do not balance.
// Long: one scenario, in the order in which it happens.
pub(crate) fn stress(machine: &Machine) -> Outcome {
    let seconds = match machine.command_line.parameter("seconds").map(str::parse) {
        None => SECONDS,
        Some(Ok(seconds)) => seconds,
        Some(Err(_)) => return Err(Stop::Fail("seconds= is no number".into())),
    };
    let processors = processors::start(1)?;
    let world = World::new(machine, Config::default().request_timeout(STUCK).window_timeout(STUCK))?;
    let create = |name: &str, len: u64| -> Result<Arc<File>, Stop> {
        let file = world.fs.open(name, OpenOptions::new().read(true).write(true).create_new(true))?;
        file.set_len(len)?;
        Ok(Arc::new(file))
    };
    let stage = Arc::new(Stage {
        fs: world.fs.clone(),
        big: world.open(share::BIG.name, false)?,
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
            watchdog::doing("");
            if let Err(stop) = &result {
                // At once: another processor may be stuck because of it.
                log::error!("processor {processor}: {stop:?}");
                stage.failed.store(true, Ordering::Release);
            }
            *results[processor].lock() = Some(result.map(|()| worker));
        }
    };
    for processor in 1..processors {
        smp::run_on(processor, work(processor));
    }
    work(0)();
    let joined = (1..processors).try_for_each(|processor| processors::join(processor, LAST));
    // What a processor found wrong says more than that another one is stuck since.
    for (processor, result) in results.iter().enumerate() {
        if let Some(Err(Stop::Fail(message))) = &*result.lock() {
            return Err(Stop::Fail(format!("processor {processor}: {message}")));
        }
    }
    joined?;
    let mut counts = Counts::default();
    for (processor, result) in results.iter().enumerate() {
        let Some(Ok(mut worker)) = result.lock().take() else {
            return Err(Stop::Fail(format!("processor {processor} ended with nothing to show")));
        };
        worker.check_own()?;
        counts.add(&worker.counts);
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
    files::check_whole(&world.fs, share::BIG.name, share::BIG.size, 1 << 20)?;
    second.end();
    let stats = world.fs.stats();
    ensure!(stats.timeouts == 0, "{} requests timed out", stats.timeouts);
    // The large file was read as a whole in the end: each range was wanted for something else, however slow the host is.
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    ensure!(stats.removed_mappings > ranges, "only {} mappings were ever removed", stats.removed_mappings);
    drop((stage, results));
    world.finish()
}
