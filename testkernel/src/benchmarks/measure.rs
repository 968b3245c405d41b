//! How things are measured and reported, and what is measured with.

use crate::{
    arch::clock::Clock,
    events::{self, Output},
    mount::Fs,
    outcome::Outcome,
};
use alloc::{format, vec};
use core::{fmt::Write, hint::black_box};
use virtio_fs::Error;
use x86_64::instructions::tlb;

/// The folder that names are made in; made first and removed last.
pub(super) const FOLDER: &str = "bench.tmp";
/// The file that is read and written. It is used if the share has it, and stays; else it is made, and removed.
pub(super) const FILE: &str = "bench-data";
/// Bytes of that file if it is made here.
pub(super) const FILE_BYTES: u64 = 64 << 20;
/// How often what takes little time is done, so that a processor that is elsewhere for a moment does not count for much.
const PASSES: u64 = 8;
/// Bytes of large and small blocks.
pub(super) const LARGE: usize = 2 << 20;
pub(super) const SMALL: usize = 4096;

/// A file of the driver's.
pub(super) type File = crate::mmap::File;

/// Has an emulator see how many pages are used here. QEMU's own TLB begins with 256 entries, so that pages 1 MiB apart displace
/// each other, and grows only when it is flushed and most of it is in use. Kernels that switch between address spaces flush it
/// all the time, this one hardly ever.
pub(super) fn grow_tlb() {
    let mut words = vec![0_u64; FILE_BYTES as usize / 8];
    for round in 0..10 {
        words.iter_mut().step_by(SMALL / 8).for_each(|word| *word = round);
        black_box(&mut words);
        tlb::flush_all();
    }
}

/// Measures one run that moves so many bytes.
pub(super) fn rate(name: &str, bytes: u64, work: impl FnOnce() -> Outcome) -> Outcome {
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
pub(super) fn passes(
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
pub(super) fn each(name: &str, count: u32, work: impl FnMut(u32) -> Outcome) -> Outcome {
    let begin = Clock::now_ns();
    (0..count).try_for_each(work)?;
    report(name, (Clock::now_ns() - begin) / u64::from(count), "ns");
    Ok(())
}

/// As [`each`], and counts the requests that it takes.
pub(super) fn each_request(fs: &Fs, name: &str, count: u32, mut work: impl FnMut(u32) -> Result<(), Error>) -> Outcome {
    let before = fs.stats().requests;
    each(name, count, |index| Ok(work(index)?))?;
    let requests = fs.stats().requests - before;
    events::metric(&format!("requests {name}"), requests * 100 / u64::from(count), "per 100");
    Ok(())
}

pub(super) fn report(name: &str, value: u64, unit: &str) {
    events::metric(&format!("bench {name}"), value, unit);
    // The output cannot fail.
    let _ = writeln!(Output, "{name:20} {value:>10} {unit}");
}
