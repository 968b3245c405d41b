//! Measurements: what the driver does in a second, next to what this kernel can do between two buffers in its own RAM.
//!
//! Each goes to the host as a metric `bench NAME` and onto the output as a line. Repetitions and comparisons are the
//! host's matter.

use crate::{
    arch::{clock::Clock, copy::Copy},
    content::Content,
    events::{self, Output},
    mount::Fs,
    scenarios::{Outcome, Stop, ensure},
};
use alloc::{format, vec, vec::Vec};
use core::{fmt::Write, hint::black_box, sync::atomic::Ordering};
use virtio_fs::{Error, File, OpenOptions};

/// The folder that everything happens in; made first and removed last.
const FOLDER: &str = "bench.tmp";
/// Bytes of the file that is read and written.
const FILE_BYTES: u64 = 64 << 20;
/// Bytes of large and small blocks.
const LARGE: usize = 2 << 20;
const SMALL: usize = 4096;
/// How many names are made, opened and removed.
const NAMES: u32 = 200;

/// Runs all measurements in a folder of their own.
///
/// # Errors
/// When the folder is there already, or anything fails.
pub(crate) fn run(fs: &Fs) -> Outcome {
    ensure!(fs.attr(FOLDER).is_err(), "{FOLDER} exists already: what is in it might be somebody's");
    fs.create_dir(FOLDER, 0o755)?;
    let outcome = measure(fs);
    let removed = fs.remove_dir(FOLDER);
    outcome?;
    Ok(removed?)
}

fn measure(fs: &Fs) -> Outcome {
    limits();
    let name = format!("{FOLDER}/file");
    make_file(fs, &name)?;
    let file = fs.open(&name, OpenOptions::new().read(true).write(true));
    let outcome = file.map_err(Stop::from).and_then(|file| data(fs, &file));
    fs.remove_file(&name)?;
    outcome?;
    names(fs)
}

/// What the kernel does without the driver.
fn limits() {
    let from = vec![1_u8; LARGE];
    let mut to = vec![0_u8; LARGE];
    for (name, block) in [("limit_copy_2m", LARGE), ("limit_copy_4k", SMALL)] {
        rate(name, FILE_BYTES, || {
            for index in 0..FILE_BYTES as usize / block {
                let at = index * block % LARGE;
                // SAFETY: both buffers have `at + block` bytes and are different; no interrupt copies.
                unsafe { Copy::Sse.copy(from[at..].as_ptr(), to[at..].as_mut_ptr(), block) };
            }
        });
    }
    let words: Vec<u64> = vec![1; LARGE / 8];
    rate("limit_scan", FILE_BYTES, || {
        for _ in 0..FILE_BYTES as usize / LARGE {
            black_box(black_box(&words).iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        }
    });
}

fn make_file(fs: &Fs, name: &str) -> Outcome {
    let file = fs.open(name, OpenOptions::new().write(true).create_new(true))?;
    let mut block = vec![0; LARGE];
    Content::of(name).fill(0, &mut block);
    let mut outcome = Ok(());
    rate("write_extending_2m", FILE_BYTES, || {
        outcome = (0..FILE_BYTES / LARGE as u64).try_for_each(|index| file.write_all_at(&block, index * LARGE as u64));
    });
    Ok(outcome?)
}

fn data(fs: &Fs, file: &File<spin::Mutex<()>>) -> Outcome {
    let mut buffer = vec![0; LARGE];
    for name in ["read_cold_2m", "read_warm_2m"] {
        try_rate(name, FILE_BYTES, || each_block(LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
    }
    try_rate("read_warm_4k", FILE_BYTES, || each_block(SMALL, |at| file.read_exact_at(&mut buffer[..SMALL], at)))?;
    let random = Content::of("where to read");
    try_each("read_random_4k", 2000, |index| {
        let at = random.word(u64::from(index)) % (FILE_BYTES / SMALL as u64) * SMALL as u64;
        file.read_exact_at(&mut buffer[..SMALL], at)
    })?;
    if fs.window_region().is_some() {
        try_rate("map_scan", FILE_BYTES, || {
            each_block(LARGE, |at| {
                let view = file.map(at, LARGE)?;
                let sum = view.words().iter().fold(0_u64, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)));
                black_box(sum);
                Ok(())
            })
        })?;
    }
    for (name, block) in [("write_warm_2m", LARGE), ("write_warm_4k", SMALL)] {
        try_rate(name, FILE_BYTES, || each_block(block, |at| file.write_all_at(&buffer[..block], at)))?;
    }
    Ok(())
}

fn names(fs: &Fs) -> Outcome {
    try_each("rtt_statfs", 500, |_| fs.statfs().map(drop))?;
    try_each("lookup_miss", 500, |index| match fs.attr(format!("{FOLDER}/missing-{index}")) {
        Err(error) if error.errno() == fuse_proto::Errno::ENOENT => Ok(()),
        other => other.map(drop),
    })?;
    let name = |index: u32| format!("{FOLDER}/name-{index}");
    let create = OpenOptions::new().write(true).create_new(true);
    try_each("create", NAMES, |index| fs.open(name(index), create).map(drop))?;
    let read = OpenOptions::new().read(true);
    try_each("open_close", NAMES, |index| fs.open(name(index), read).map(drop))?;
    try_each("readdir", 20, |_| fs.read_dir(FOLDER)?.try_for_each(|entry| entry.map(drop)))?;
    try_each("unlink", NAMES, |index| fs.remove_file(name(index)))
}

/// Calls `work` with the offset of each block of the file.
fn each_block(block: usize, mut work: impl FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
    (0..FILE_BYTES / block as u64).try_for_each(|index| work(index * block as u64))
}

/// Measures one run that moves so many bytes.
fn rate(name: &str, bytes: u64, work: impl FnOnce()) {
    let begin = Clock::now_ns();
    work();
    let elapsed = (Clock::now_ns() - begin).max(1);
    report(name, (u128::from(bytes) * 1000 / u128::from(elapsed)) as u64, "MB/s");
}

/// As [`rate`], with an outcome.
fn try_rate(name: &str, bytes: u64, work: impl FnOnce() -> Result<(), Error>) -> Outcome {
    let mut outcome = Ok(());
    rate(name, bytes, || outcome = work());
    Ok(outcome?)
}

/// Measures an operation that is done so many times.
fn try_each(name: &str, count: u32, work: impl FnMut(u32) -> Result<(), Error>) -> Outcome {
    let begin = Clock::now_ns();
    (0..count).try_for_each(work)?;
    report(name, (Clock::now_ns() - begin) / u64::from(count), "ns");
    Ok(())
}

fn report(name: &str, value: u64, unit: &str) {
    events::metric(&format!("bench {name}"), value, unit);
    // The output cannot fail.
    let _ = writeln!(Output, "{name:20} {value:>10} {unit}");
}
