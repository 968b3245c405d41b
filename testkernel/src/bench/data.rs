//! Reading, writing and mapping.

use super::{File, LARGE, SMALL, each, rate, report};
use crate::{
    arch::{traps, user},
    content::Content,
    memory::{heap, paging::USER_START},
    mmap::{self, PageTables, Process, ViewRequest},
    mount::Fs,
    scenarios::{Outcome, Stop, ensure},
};
use alloc::{format, sync::Arc, vec};
use core::{hint::black_box, sync::atomic::Ordering};
use dax::{MapFlags, SyncPolicy};
use virtio_fs::Error;

/// Where the file is mapped: at a boundary of large pages, and a small page past one, where only small pages fit.
const ALIGNED: u64 = USER_START + (1 << 30);
const MISALIGNED: u64 = USER_START + (2 << 30) + SMALL as u64;

pub(super) fn run(fs: &Fs, file: &Arc<File>) -> Outcome {
    let mut buffer = vec![0; LARGE];
    read_cold(file, "read_cold_2m")?;
    let len = file.len()?;
    rate("read_warm_2m", len, || each_block(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))?;
    let mut allocations = heap::allocations();
    rate("read_warm_4k", len, || {
        each_block(len, SMALL, |at| file.read_exact_at(&mut buffer[..SMALL], at))?;
        allocations = heap::allocations() - allocations;
        Ok(())
    })?;
    report("hit_allocations", allocations, "1");
    read_random(file, "read_random_4k", 2000)?;
    // The first pass may have to map the ranges anew, for writing too.
    for name in ["write_cold_2m", "write_warm_2m"] {
        rate(name, len, || each_block(len, LARGE, |at| file.write_all_at(&buffer, at)))?;
    }
    rate("write_warm_4k", len, || each_block(len, SMALL, |at| file.write_all_at(&buffer[..SMALL], at)))?;
    if fs.window_region().is_some() {
        map_scan(file, len)?;
        faults(fs, file, len)?;
    }
    Ok(())
}

/// Reads the whole file in large blocks, which nobody has read before.
pub(super) fn read_cold(file: &File, name: &str) -> Outcome {
    let mut buffer = vec![0; LARGE];
    let len = file.len()?;
    rate(name, len, || each_block(len, LARGE, |at| file.read_exact_at(&mut buffer, at)))
}

/// Reads small blocks in no order, the same in every run.
pub(super) fn read_random(file: &File, name: &str, count: u32) -> Outcome {
    let mut buffer = vec![0; SMALL];
    let blocks = file.len()? / SMALL as u64;
    let random = Content::of("where to read");
    each(name, count, |index| {
        let at = random.word(u64::from(index)) % blocks * SMALL as u64;
        Ok(file.read_exact_at(&mut buffer, at)?)
    })
}

/// Touches mapped bytes for the first time, whose ranges are in the window: each touch is a page fault.
fn faults(fs: &Fs, file: &Arc<File>, len: u64) -> Outcome {
    fs.set_mappings(Some(Arc::new(PageTables::default())));
    traps::handle_page_faults(mmap::handle);
    let process = Process::new()?;
    process.activate();
    let touched = touch(&process, file, len);
    process.end();
    fs.set_mappings(None);
    touched
}

fn touch(process: &Process, file: &Arc<File>, len: u64) -> Outcome {
    let map = |at| {
        let policy = SyncPolicy::default();
        let request =
            ViewRequest { file: file.clone(), flags: MapFlags::SHARED, policy, at, len, offset: 0, writable: true };
        process.map(&request).map_err(|errno| Stop::Fail(format!("the file cannot be mapped: {errno}")))
    };
    let failed = |at: u64, errno| Stop::Fail(format!("the page at {at:#x} cannot be touched: {errno}"));
    let (small, large) = ((len / SMALL as u64) as u32, (len / LARGE as u64) as u32);
    // The first pass is not measured: an emulator translates the code in it.
    for name in [None, Some("fault_2m")] {
        let view = map(ALIGNED)?;
        timed(name, large, |range| {
            let at = ALIGNED + u64::from(range) * LARGE as u64;
            user::store_word(at, 1).map_err(|errno| failed(at, errno))
        })?;
        process.unmap(&view);
    }
    for name in [None, Some("fault_4k")] {
        let view = map(MISALIGNED)?;
        timed(name, small, |page| {
            let at = MISALIGNED + u64::from(page) * SMALL as u64;
            user::load_word(at).map(|word| _ = black_box(word)).map_err(|errno| failed(at, errno))
        })?;
        process.unmap(&view);
    }
    let counts = process.counts();
    ensure!(
        (counts.base, counts.huge) == (2 * u64::from(small), 2 * u64::from(large)),
        "{} pages of 4 KiB and {} of 2 MiB were installed, not twice {small} and {large}",
        counts.base,
        counts.huge
    );
    Ok(())
}

/// Does something so many times, and measures it if it has a name.
fn timed(name: Option<&str>, count: u32, work: impl FnMut(u32) -> Outcome) -> Outcome {
    match name {
        Some(name) => each(name, count, work),
        None => (0..count).try_for_each(work),
    }
}

/// Goes through the file where it lies in the window.
fn map_scan(file: &File, len: u64) -> Outcome {
    rate("map_scan", len, || {
        each_block(len, LARGE, |at| {
            let view = file.map(at, LARGE)?;
            black_box(view.words().iter().fold(0_u64, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed))));
            Ok(())
        })
    })
}

/// Calls `work` with the offset of each block of the file.
fn each_block(len: u64, block: usize, mut work: impl FnMut(u64) -> Result<(), Error>) -> Outcome {
    Ok((0..len / block as u64).try_for_each(|index| work(index * block as u64))?)
}
