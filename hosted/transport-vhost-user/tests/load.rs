//! Many threads on several queues, with a window that is far too small and a daemon that is slow and now and then refuses; and
//! one that is killed. No wrong byte, no thread that never ends, nothing left.
//!
//! `LOAD_ROUNDS` makes it longer.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::{DEADLINE, Daemon, daemon, mount_with};
use transport_vhost_user::HostLock;
use virtio_fs::{Config, OpenOptions, VirtioFs};

const THREADS: usize = 64;
const ROUNDS: usize = 12;
/// One range: whoever wants another chunk takes it from somebody.
const WINDOW: &str = "2M";
const FILE: usize = 3 << 20;
const BLOCK: usize = 8192;

/// All of the process's descriptors and mappings that a connection could leave behind.
fn belongings() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("mappings");
    let shared = maps.lines().filter(|line| line.contains("guest-memory") || line.contains("/share/")).count();
    (descriptors, shared)
}

/// Has the process to itself: what belongs to it is counted.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the process has no more than before: a thread that ends closes its descriptors a moment later.
fn expect_nothing_left(before: (usize, usize)) {
    let begin = Instant::now();
    while belongings() != before {
        assert!(begin.elapsed() < DEADLINE, "descriptors and mappings: {:?}, not {before:?}", belongings());
        std::thread::yield_now();
    }
}

fn rounds() -> usize {
    std::env::var("LOAD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn block(thread: usize, round: usize, index: usize) -> Vec<u8> {
    let first = (thread * 31 + round * 7 + index) as u8;
    (0..BLOCK).map(|byte| first.wrapping_add((byte / 64) as u8)).collect()
}

/// Writes and reads one file; returns what it must have. Errors are the daemon's, and are counted.
fn work(fs: &VirtioFs<HostLock>, thread: usize, errors: &AtomicU64, stop: &AtomicBool) -> Vec<u8> {
    let mut model = vec![0; FILE];
    let name = format!("file-{thread}");
    let options = OpenOptions::new().read(true).write(true).create(true);
    let Ok(file) = fs.open(&name, options) else { return Vec::new() };
    if file.set_len(FILE as u64).is_err() || file.write_all_at(&model, 0).is_err() {
        return Vec::new();
    }
    for round in 0..rounds() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let index = (thread * 17 + round * 101) % (FILE / BLOCK);
        let at = index * BLOCK;
        let bytes = block(thread, round, index);
        match file.write_all_at(&bytes, at as u64) {
            Ok(()) => model[at..at + BLOCK].copy_from_slice(&bytes),
            Err(_) => {
                // Nobody knows how much of it came through: once more, or never.
                errors.fetch_add(1, Ordering::Relaxed);
                if file.write_all_at(&bytes, at as u64).is_err() {
                    return Vec::new();
                }
                model[at..at + BLOCK].copy_from_slice(&bytes);
            }
        }
        let look = (thread * 13 + round * 53) % (FILE / BLOCK) * BLOCK;
        let mut read = vec![0xee; BLOCK];
        match file.read_exact_at(&mut read, look as u64) {
            Ok(()) => {
                assert!(read == model[look..look + BLOCK], "thread {thread}, round {round}: other bytes at {look:#x}")
            }
            Err(_) => {
                errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        if round % 5 == 4 && file.sync_data().is_err() {
            errors.fetch_add(1, Ordering::Relaxed);
        }
    }
    model
}

#[test]
fn slow_and_unwilling_daemons_cost_errors_and_no_byte() {
    let Some(command) = daemon(true) else { return };
    let _alone = alone();
    let before = belongings();
    {
        let arguments = [
            ["--window-size", WINDOW],
            ["--num-request-queues", "4"],
            ["--fault", "setupmapping:EIO@40"],
            ["--fault", "setupmapping:ENOMEM@90"],
            ["--fault", "read:EIO@30"],
            ["--fault", "fsync:EIO@20"],
            ["--fault", "fsync:delay-5"],
            ["--fault", "removemapping:unknown@33"],
            ["--fault", "getattr:delay-1"],
        ];
        let daemon = Daemon::start(command, arguments.as_flattened());
        let connection = daemon.connect();
        let fs = mount_with(&connection, Config::default().data_buffers(16));
        assert_eq!(fs.request_queues(), 4);
        let (errors, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let models: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn({
                        let (fs, errors, stop) = (&fs, &errors, &stop);
                        move || work(fs, thread, errors, stop)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no wrong byte")).collect()
        });
        for (thread, model) in models.iter().enumerate() {
            let host = std::fs::read(daemon.path(&format!("file-{thread}"))).expect("the host reads");
            assert!(host == *model, "file {thread} has other bytes");
        }
        let errors = errors.into_inner();
        assert!((1..10).contains(&errors), "{errors} errors: none reached anybody, or more than were injected");
        assert_eq!(fs.stats().timeouts, 0);
        fs.unmount().expect("the unmount");
        assert_eq!(connection.mappings(), []);
        assert_eq!(connection.counts().refused, 0, "{:?}", connection.take_events());
    }
    expect_nothing_left(before);
}

#[test]
fn a_daemon_that_is_killed_under_load_holds_nobody() {
    let Some(command) = daemon(true) else { return };
    let _alone = alone();
    let before = belongings();
    {
        let mut daemon = Daemon::start(command, &["--window-size", WINDOW, "--num-request-queues", "4"]);
        let connection = daemon.connect();
        let fs = mount_with(&connection, Config::default().data_buffers(16));
        let (errors, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (fs, errors, stop) = (&fs, &errors, &stop);
                scope.spawn(move || work(fs, thread, errors, stop));
            }
            let begin = Instant::now();
            while connection.counts().maps < 20 && begin.elapsed() < DEADLINE {
                std::thread::yield_now();
            }
            daemon.process.kill().expect("it was there");
        });
        assert!(connection.counts().maps >= 20, "it was killed before there was a load");
        assert!(connection.gone().is_some());
        // What it says is of no account: it returns.
        let _ = fs.unmount();
    }
    expect_nothing_left(before);
}
