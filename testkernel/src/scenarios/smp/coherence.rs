//! One file, seen by every processor and by the host, against a model of what it holds.

use super::model::{AT, LARGEST, Model, Seen, Stage};
use crate::{
    arch::smp,
    events,
    machine::Machine,
    mmap::Process,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        processors,
        views::{World, map, shared},
    },
    watchdog,
};
use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use spin::{Mutex, RwLock};
use testkernel_protocol::share;
use virtio_fs::{Config, OpenOptions};

/// How long a request or a wait may take before it is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// How long a processor may take to end what it is at.
const LAST: Duration = Duration::from_secs(150);

/// What a processor does, in all.
const ROUNDS: u64 = 240;

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. Every processor, in two programs, reads, writes,
/// maps, loads from and stores to pages of its own of one file, and now and then, alone, cuts, stretches, punches,
/// appends to, truncates by opening, or renames it, or has the host edit it (sync `edit`, the next of
/// [`Edit`](testkernel_protocol::edits::Edit)). Everything that is seen is compared with a model. Infos `name`, and `sha256
/// NAME` of what the file holds in the end.
pub(crate) fn coherence(machine: &Machine) -> Outcome {
    let processors = processors::start(1)?;
    let world = World::new(machine, Config::default().request_timeout(STUCK).window_timeout(STUCK))?;
    let model = Model::new();
    let options = OpenOptions::new().read(true).write(true).create_new(true);
    let stage = Arc::new(Stage {
        file: Arc::new(world.fs.open(model.name.as_str(), options)?),
        big: world.open(share::BIG.name, false)?,
        fs: world.fs.clone(),
        model: RwLock::new(model),
        processors: processors as u64,
        failed: AtomicBool::new(false),
    });
    let second = Process::new()?;
    for process in [&world.process, &second] {
        map(process, &shared(&stage.file, AT, LARGEST, true))?;
    }
    let wrong: Arc<Mutex<Option<Stop>>> = Arc::new(Mutex::new(None));
    let work = |processor: usize| {
        let (stage, wrong) = (stage.clone(), wrong.clone());
        let process = if processor.is_multiple_of(2) { world.process.clone() } else { second.clone() };
        move || {
            process.activate();
            let mut seen = Seen::new(stage.clone(), processor as u64);
            let result = (0..ROUNDS).try_for_each(|round| {
                let result = seen.round(round);
                smp::attend();
                result
            });
            watchdog::doing("");
            if let Err(Stop::Fail(message)) = result {
                // At once: another processor may be stuck because of it.
                log::error!("processor {processor}: {message}");
                stage.failed.store(true, Ordering::Release);
                wrong.lock().get_or_insert(Stop::Fail(format!("processor {processor}: {message}")));
            }
        }
    };
    for processor in 1..processors {
        smp::run_on(processor, work(processor));
    }
    work(0)();
    let joined = (1..processors).try_for_each(|processor| processors::join(processor, LAST));
    if let Some(stop) = wrong.lock().take() {
        return Err(stop);
    }
    joined?;
    in_the_end(&stage)?;
    second.end();
    let stats = world.fs.stats();
    ensure!(stats.timeouts == 0, "{} requests timed out", stats.timeouts);
    drop(stage);
    world.finish()
}

/// The file is the model, here and, as the host checks, there.
fn in_the_end(stage: &Stage) -> Outcome {
    let model = stage.model.read();
    let expected: Vec<u8> = model.bytes(0, model.size());
    let mut found = vec![0; expected.len()];
    stage.file.read_exact_at(&mut found, 0)?;
    let difference = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    ensure!(difference.is_none(), "in the end byte {difference:?} differs");
    let mut digest = crate::digest::Sha256::new();
    digest.update(&expected);
    events::info("name", &model.name);
    events::info(&format!("sha256 {}", model.name), &digest.finish());
    events::metric("edits of the host", model.edits, "1");
    ensure!(model.edits > 0, "the host edited nothing");
    Ok(())
}
