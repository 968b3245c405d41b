//! Several threads at once.

use std::os::unix::fs::FileExt as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use transport_vhost_user::HostLock;
use virtio_fs::VirtioFs;

use crate::data::Ways;
use crate::files::{FILE, Files, OTHER};
use crate::offsets::Cycle;
use crate::output;

/// How long each number of threads runs.
const TURN: Duration = Duration::from_millis(50);
const ROUNDS: usize = 7;
/// The part of a file that each thread goes through.
const SPAN: u64 = 256 << 10;

/// What a thread does again and again, given its number, and a buffer and an offset of its own.
pub(crate) type Operation<'a> = dyn Fn(usize, &mut [u8], u64) -> Result<()> + Sync + 'a;

/// Operations a second of `count` threads.
pub(crate) fn rate(count: usize, len: usize, operation: &Operation<'_>) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let ready = Barrier::new(count + 1);
    std::thread::scope(|scope| {
        let work = |thread: usize| {
            let (stop, ready) = (&stop, &ready);
            move || -> Result<u64> {
                let mut buffer = vec![0; len];
                let mut offsets = Cycle::new(len as u64, SPAN.max(16 * len as u64));
                let begin = thread as u64 * (8 << 20);
                let mut done = 0;
                ready.wait();
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..16 {
                        operation(thread, &mut buffer, begin + offsets.next())?;
                    }
                    done += 16;
                }
                Ok(done)
            }
        };
        let threads: Vec<_> = (0..count).map(|thread| scope.spawn(work(thread))).collect();
        ready.wait();
        let begin = Instant::now();
        std::thread::sleep(TURN);
        stop.store(true, Ordering::Relaxed);
        let mut total = 0;
        for thread in threads {
            total += thread.join().map_err(|_| anyhow!("a thread panicked")).context("a benchmark's thread")??;
        }
        Ok(total as f64 / begin.elapsed().as_secs_f64())
    })
}

/// Prints how much more `many` threads do than one.
pub(crate) fn scale(name: &str, many: usize, len: usize, rivals: &[(&str, &Operation<'_>)]) -> Result<()> {
    let mut scales = vec![Vec::new(); rivals.len()];
    for _ in 0..ROUNDS {
        for ((_, operation), scales) in rivals.iter().zip(&mut scales) {
            scales.push(rate(many, len, *operation)? / rate(1, len, *operation)?);
        }
    }
    for ((who, _), scales) in rivals.iter().zip(&mut scales) {
        output::value(name, who, output::median(scales), "x");
    }
    Ok(())
}

/// Two and four threads on one file, and on two.
pub(crate) fn scaling(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let ways = [Ways::open(fs, files, FILE)?, Ways::open(fs, files, OTHER)?];
    for (len_name, len) in [("64", 64), ("4k", 4096)] {
        for (sort, of) in [("same", [0, 0]), ("other", [0, 1])] {
            for (threads, many) in [("threads", 2), ("threads4", 4)] {
                let way = |thread: usize| &ways[of[thread % 2]];
                scale(
                    &format!("{threads}_{len_name}_{sort}"),
                    many,
                    len,
                    &[
                        ("ours", &|thread, buffer, offset| Ok(way(thread).ours.read_exact_at(buffer, offset)?)),
                        ("pread", &|thread, buffer, offset| Ok(way(thread).host.read_exact_at(buffer, offset)?)),
                        ("memcpy", &|thread, buffer, offset| way(thread).mapped.read(buffer, offset)),
                    ],
                )?;
            }
        }
    }
    Ok(())
}
