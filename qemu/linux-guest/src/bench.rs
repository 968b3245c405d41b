//! How fast Linux is with the share, by the names that the test kernel's measurements have.
//!
//! Each measurement is a line `GUEST {"bench":NAME,"value":NUMBER,"unit":UNIT}`. The host has put a file `bench-data`
//! of whole ranges into the share that everybody may read and write; it is read cold, so a repetition takes a new
//! mount or a new boot.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::sys::{self, Map};
use crate::task::{SHARE, Task, say};

const LARGE: usize = 2 << 20;
const SMALL: usize = 4096;
/// How often what takes little time is done, so that a processor that is elsewhere for a moment does not count for much.
const PASSES: u64 = 8;
/// How often all large pages are touched for the first time.
const LARGE_PASSES: usize = 16;
/// How many names are made, opened and removed.
const NAMES: usize = 200;
/// How many names the folder that is listed has.
const LISTED: usize = 1000;

fn report(name: &str, value: f64, unit: &str) {
    println!("GUEST {{\"bench\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
}

/// Measures something that moves so many bytes.
fn rate(name: &str, bytes: u64, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let begin = Instant::now();
    work()?;
    report(name, bytes as f64 / begin.elapsed().as_secs_f64() / 1e6, "MB/s");
    Ok(())
}

/// Measures several runs that move so many bytes each.
fn passes(name: &str, bytes: u64, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    rate(name, PASSES * bytes, || (0..PASSES).try_for_each(|_| work()))
}

/// Measures something that is done so many times.
fn each(name: &str, count: usize, work: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    let begin = Instant::now();
    (0..count).try_for_each(work)?;
    report(name, begin.elapsed().as_secs_f64() * 1e6 / count as f64, "us");
    Ok(())
}

fn blocks(len: u64, block: usize, mut work: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    (0..len / block as u64).try_for_each(|index| work(index * block as u64))
}

/// Offsets of small blocks in no order, the same in every run.
fn anywhere(len: u64, index: usize) -> u64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 20) % (len / SMALL as u64) * SMALL as u64
}

fn random_reads(name: &str, file: &File, len: u64, count: usize) -> io::Result<()> {
    let mut buffer = vec![0; SMALL];
    let mut read = |index| file.read_exact_at(&mut buffer, anywhere(len, index));
    // The first ones are not measured: an emulator translates the code in them.
    (count..count + 100).try_for_each(&mut read)?;
    each(name, count, read)
}

fn data(file: &File, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; LARGE];
    rate("read_cold_2m", len, || blocks(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
    passes("read_warm_2m", len, || blocks(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
    passes("read_warm_4k", len, || blocks(len, SMALL, |at| file.read_exact_at(&mut buffer[..SMALL], at)))?;
    random_reads("read_random_4k", file, len, 2000)?;
    // The first time the ranges are mapped anew, for writing too, and the host makes room for what it has to write.
    rate("write_cold_2m", len, || blocks(len, LARGE, |at| file.write_all_at(&buffer, at)))?;
    passes("write_warm_2m", len, || blocks(len, LARGE, |at| file.write_all_at(&buffer, at)))?;
    passes("write_warm_4k", len, || blocks(len, SMALL, |at| file.write_all_at(&buffer[..SMALL], at)))?;
    let bytes = usize::try_from(len).map_err(io::Error::other)?;
    // Large pages first: where the kernel has used small ones it stays with them.
    let aligned = || Map::new(file, bytes, true);
    first_touches("fault_2m", bytes / LARGE, LARGE_PASSES, aligned, |map, range| map.set(range * LARGE, 1))?;
    let map = aligned()?;
    black_box(map.sum());
    passes("map_scan", len, || {
        black_box(map.sum());
        Ok(())
    })?;
    drop(map);
    // A page past a boundary of large pages the kernel has no choice but small ones: every touch is a fault.
    let misaligned = || Map::past_boundary(file, bytes, true, SMALL);
    first_touches("fault_4k", bytes / SMALL, 1, misaligned, |map, page| _ = black_box(map.get(page * SMALL)))
}

/// Measures how long it takes to touch pages of a new mapping, in so many goes after one that is not measured: an emulator
/// translates the code in it.
fn first_touches(
    name: &str,
    count: usize,
    goes: usize,
    map: impl Fn() -> io::Result<Map>,
    touch: impl Fn(&Map, usize),
) -> io::Result<()> {
    let mut elapsed = 0.0;
    for go in 0..=goes {
        let map = map()?;
        let begin = Instant::now();
        (0..count).for_each(|index| touch(&map, index));
        if go > 0 {
            elapsed += begin.elapsed().as_secs_f64();
        }
    }
    report(name, elapsed * 1e6 / (goes * count) as f64, "us");
    Ok(())
}

fn names(folder: &Path, file: &File) -> io::Result<()> {
    fs::create_dir(folder)?;
    each("rtt", 500, |_| sys::ask_attributes(file))?;
    each("lookup_miss", 500, |index| match fs::symlink_metadata(folder.join(format!("missing-{index}"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    })?;
    let name = |index: usize| folder.join(format!("name-{index}"));
    each("create", NAMES, |index| OpenOptions::new().write(true).create_new(true).open(name(index)).map(drop))?;
    each("open_close", NAMES, |index| File::open(name(index)).map(drop))?;
    for index in NAMES..LISTED {
        File::create(name(index))?;
    }
    each("readdir_1000", 5, |_| fs::read_dir(folder)?.try_for_each(|entry| entry.map(drop)))?;
    each("unlink", NAMES, |index| fs::remove_file(name(index)))?;
    fs::remove_dir_all(folder)
}

fn measure(task: &Task) -> io::Result<()> {
    task.mount()?;
    let share = PathBuf::from(SHARE);
    let file = OpenOptions::new().read(true).write(true).open(share.join("bench-data"))?;
    let len = file.metadata()?.len();
    if task.run == "thrash" {
        let mut buffer = vec![0; LARGE];
        rate("reclaim_seq", len, || blocks(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
        random_reads("thrash_rand4k", &file, len, 2000)?;
    } else {
        data(&file, len)?;
        names(&share.join("bench.tmp"), &file)?;
    }
    drop(file);
    sys::unmount(SHARE)
}

/// Runs the measurements: those for a window that holds the file, or with `run=thrash` those for one that does not.
pub(crate) fn run(task: &Task) {
    match measure(task) {
        Ok(()) => say("bench", "pass", ""),
        Err(error) => say("bench", "fail", &error.to_string()),
    }
}
