//! Measurements: what the driver does in a second, next to what this kernel can do between two buffers in its own RAM.
//!
//! Each goes to the host as a metric `bench NAME` and onto the output as a line. `requests NAME` says how many requests
//! a hundred operations took. Repetitions and comparisons are the host's matter. A Linux guest has the same measurements
//! by the same names, see the package linux-guest.

mod data;
mod limits;
mod measure;
mod names;
mod shared;

use crate::{
    machine::Machine,
    memory::heap,
    mount::{self, Fs},
    outcome::{Outcome, Stop, ensure},
};
use alloc::{sync::Arc, vec};
use measure::{FILE, FILE_BYTES, File, LARGE, grow_tlb, report};
use testkernel_protocol::content::Content;
use virtio_fs::{Config, OpenOptions};

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
    })?;
    shared::run(machine)
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
