//! Measurements: what the driver does in a second, next to what this kernel can do between two buffers in its own RAM.
//!
//! Each goes to the host as a metric `bench NAME` and onto the output as a line. `requests NAME` says how many requests
//! a hundred operations took. Repetitions and comparisons are the host's matter. A Linux guest has the same measurements
//! by the same names, see the package linux-guest.

mod data;
mod limits;
mod names;

use crate::{
    arch::clock::Clock,
    content::Content,
    events::{self, Output},
    memory::heap,
    mount::{self, Fs},
    scenarios::{Machine, Outcome, Stop, ensure},
};
use alloc::{format, sync::Arc, vec};
use core::{fmt::Write, hint::black_box};
use virtio_fs::{Config, Error, OpenOptions};
use x86_64::instructions::tlb;

/// The folder that names are made in; made first and removed last.
const FOLDER: &str = "bench.tmp";
/// The file that is read and written. It is used if the share has it, and stays; else it is made, and removed.
const FILE: &str = "bench-data";
/// Bytes of that file if it is made here.
const FILE_BYTES: u64 = 64 << 20;
/// How often what takes little time is done, so that a processor that is elsewhere for a moment does not count for much.
const PASSES: u64 = 8;
/// Bytes of large and small blocks.
const LARGE: usize = 2 << 20;
const SMALL: usize = 4096;

/// A file of the driver's.
type File = crate::mmap::File;

/// Runs the measurements for a window that holds the file, each from a fresh mount.
///
/// # Errors
/// When anything fails.
pub(crate) fn run(machine: &Machine) -> Outcome {
    range_bytes(machine)?;
    // One range after the other: what reading cold costs when nothing is mapped ahead.
    with_file(machine, Config::default().read_ahead(false), |_, file| data::read_cold(file, "limit_cold_2m"))?;
    with_file(machine, Config::default(), |fs, file| {
        data::run(fs, file)?;
        names::run(fs)
    })
}

/// Runs those for a window that is smaller than the file, and for none.
///
/// # Errors
/// As [`run`].
pub(crate) fn thrash(machine: &Machine) -> Outcome {
    with_file(machine, Config::default(), |_, file| {
        data::read_cold(file, "reclaim_seq")?;
        data::read_random(file, "thrash_rand4k", 2000)
    })?;
    with_file(machine, Config::default().dax(false), |_, file| data::read_random(file, "limit_thrash", 2000))
}

/// Has an emulator see how many pages are used here. QEMU's own TLB begins with 256 entries, so that pages 1 MiB apart displace
/// each other, and grows only when it is flushed and most of it is in use. Kernels that switch between address spaces flush it
/// all the time, this one hardly ever.
fn grow_tlb() {
    let mut words = vec![0_u64; FILE_BYTES as usize / 8];
    for round in 0..10 {
        words.iter_mut().step_by(SMALL / 8).for_each(|word| *word = round);
        black_box(&mut words);
        tlb::flush_all();
    }
}

/// What a range of the window takes of the heap: what twice as many take more.
fn range_bytes(machine: &Machine) -> Outcome {
    let mounted = |range_size| -> Result<(u64, u64), Stop> {
        let before = heap::bytes();
        let fs = mount::mount(machine, Config::default().range_size(range_size))?;
        let (bytes, window) = (heap::bytes() - before, fs.window_region().map_or(0, |region| region.len()));
        fs.unmount()?;
        Ok((bytes, window / range_size))
    };
    let ((many, ranges), (few, half)) = (mounted(LARGE as u64)?, mounted(2 * LARGE as u64)?);
    if ranges > half {
        report("range_bytes", many.saturating_sub(few).div_ceil(ranges - half), "B");
    }
    Ok(())
}

/// Mounts, and has the file there meanwhile.
fn with_file(machine: &Machine, config: Config, measure: impl FnOnce(&Fs, &Arc<File>) -> Outcome) -> Outcome {
    let fs = mount::mount(machine, config)?;
    let ours = make_file(&fs)?;
    grow_tlb();
    let outcome = fs
        .open(FILE, OpenOptions::new().read(true).write(true))
        .map_err(Stop::from)
        .and_then(|file| measure(&fs, &Arc::new(file)));
    if ours {
        fs.remove_file(FILE)?;
    }
    outcome?;
    Ok(fs.unmount()?)
}

/// Makes the file unless it is there; says whether it did.
fn make_file(fs: &Fs) -> Result<bool, Stop> {
    if let Ok(attr) = fs.attr(FILE) {
        let usable = attr.size.is_multiple_of(LARGE as u64) && (1..=4 * FILE_BYTES).contains(&attr.size);
        ensure!(usable, "{FILE} has {} bytes: it must be a multiple of 2 MiB, at most 256 MiB", attr.size);
        return Ok(false);
    }
    let file = fs.open(FILE, OpenOptions::new().write(true).create_new(true))?;
    let mut block = vec![0; LARGE];
    Content::of(FILE).fill(0, &mut block);
    for index in 0..FILE_BYTES / LARGE as u64 {
        file.write_all_at(&block, index * LARGE as u64)?;
    }
    Ok(true)
}

/// Measures one run that moves so many bytes.
fn rate(name: &str, bytes: u64, work: impl FnOnce() -> Outcome) -> Outcome {
    let begin = Clock::now_ns();
    work()?;
    report_rate(name, bytes, Clock::now_ns() - begin);
    Ok(())
}

fn report_rate(name: &str, bytes: u64, elapsed_ns: u64) {
    report(name, (u128::from(bytes) * 1000 / u128::from(elapsed_ns.max(1))) as u64, "MB/s");
}

/// Measures several runs that move so many bytes each, and in turn with them what their limit is, so that what else the
/// machine does meets both.
fn passes(
    [limit, name]: [&str; 2],
    bytes: u64,
    mut at_best: impl FnMut(),
    mut work: impl FnMut() -> Outcome,
) -> Outcome {
    let mut elapsed = [0; 2];
    for _ in 0..PASSES {
        let begin = Clock::now_ns();
        at_best();
        let middle = Clock::now_ns();
        work()?;
        elapsed[0] += middle - begin;
        elapsed[1] += Clock::now_ns() - middle;
    }
    for (name, elapsed) in [limit, name].into_iter().zip(elapsed) {
        report_rate(name, PASSES * bytes, elapsed);
    }
    Ok(())
}

/// Measures an operation that is done so many times.
fn each(name: &str, count: u32, work: impl FnMut(u32) -> Outcome) -> Outcome {
    let begin = Clock::now_ns();
    (0..count).try_for_each(work)?;
    report(name, (Clock::now_ns() - begin) / u64::from(count), "ns");
    Ok(())
}

/// As [`each`], and counts the requests that it takes.
fn each_request(fs: &Fs, name: &str, count: u32, mut work: impl FnMut(u32) -> Result<(), Error>) -> Outcome {
    let before = fs.stats().requests;
    each(name, count, |index| Ok(work(index)?))?;
    let requests = fs.stats().requests - before;
    events::metric(&format!("requests {name}"), requests * 100 / u64::from(count), "per 100");
    Ok(())
}

fn report(name: &str, value: u64, unit: &str) {
    events::metric(&format!("bench {name}"), value, unit);
    // The output cannot fail.
    let _ = writeln!(Output, "{name:20} {value:>10} {unit}");
}
