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
use crate::{SHARE, Task, say};

const LARGE: usize = 2 << 20;
const SMALL: usize = 4096;
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
    each(name, count, |index| file.read_exact_at(&mut buffer, anywhere(len, index)))
}

fn data(file: &File, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; LARGE];
    for name in ["read_cold_2m", "read_warm_2m"] {
        rate(name, len, || blocks(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
    }
    rate("read_warm_4k", len, || blocks(len, SMALL, |at| file.read_exact_at(&mut buffer[..SMALL], at)))?;
    random_reads("read_random_4k", file, len, 2000)?;
    // The first pass maps the ranges anew, for writing too.
    for name in ["write_cold_2m", "write_warm_2m"] {
        rate(name, len, || blocks(len, LARGE, |at| file.write_all_at(&buffer, at)))?;
    }
    rate("write_warm_4k", len, || blocks(len, SMALL, |at| file.write_all_at(&buffer[..SMALL], at)))?;
    let bytes = usize::try_from(len).map_err(io::Error::other)?;
    // Large pages first: where the kernel has used small ones it stays with them. The first passes are not measured: an
    // emulator translates the code in them.
    for name in [None, Some("fault_2m")] {
        let map = Map::new(file, bytes, true)?;
        timed(name, bytes / LARGE, |range| map.set(range * LARGE, 1))?;
    }
    let map = Map::new(file, bytes, true)?;
    for name in [None, Some("map_scan")] {
        let scan = || black_box(map.sum());
        match name {
            Some(name) => rate(name, len, || {
                scan();
                Ok(())
            })?,
            None => _ = scan(),
        }
    }
    drop(map);
    // A page past a boundary of large pages the kernel has no choice but small ones: every touch is a fault.
    for name in [None, Some("fault_4k")] {
        let map = Map::past_boundary(file, bytes, true, SMALL)?;
        timed(name, bytes / SMALL, |page| _ = black_box(map.get(page * SMALL)))?;
    }
    Ok(())
}

/// Does something so many times, and measures it if it has a name.
fn timed(name: Option<&str>, count: usize, mut work: impl FnMut(usize)) -> io::Result<()> {
    match name {
        Some(name) => each(name, count, |index| {
            work(index);
            Ok(())
        }),
        None => {
            (0..count).for_each(work);
            Ok(())
        }
    }
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
        random_reads("thrash_rand4k", &file, len, 1000)?;
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
