//! Reading, writing and mapping.

use super::{
    limits::Ram,
    measure::{File, LARGE, SMALL, each, grow_tlb, passes, rate, report},
};
use crate::{
    arch::{clock::Clock, traps, user},
    memory::{heap, paging::USER_START},
    mmap::{self, Mapped, PageTables, Process, ViewRequest},
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
};
use alloc::{format, sync::Arc, vec};
use core::hint::black_box;
use fs_dax::{MapFlags, SyncPolicy};
use testkernel_protocol::content::Content;
use virtio_fs::Error;

/// Where the file is mapped: at a boundary of large pages, and a small page past one, where only small pages fit.
const ALIGNED: u64 = USER_START + (1 << 30);
const MISALIGNED: u64 = USER_START + (2 << 30) + SMALL as u64;
/// How often all large pages are touched for the first time.
const LARGE_PASSES: u32 = 16;

pub(super) fn run(fs: &Fs, file: &Arc<File>) -> Outcome {
    let mut buffer = vec![0; LARGE];
    read_cold(file, "read_cold_2m")?;
    let len = file.len()?;
    let mut ram = Ram::new(len);
    grow_tlb();
    let mut other = vec![0; LARGE];
    let read = |block: &mut [u8]| each_block(len, block.len(), |at| file.read_exact_at(block, at));
    passes(["limit_read_2m", "read_warm_2m"], len, || ram.copy_out(&mut other), || read(&mut buffer))?;
    let mut allocations = 0;
    passes(
        ["limit_read_4k", "read_warm_4k"],
        len,
        || ram.copy_out(&mut other[..SMALL]),
        || {
            let before = heap::allocations();
            read(&mut buffer[..SMALL])?;
            allocations += heap::allocations() - before;
            Ok(())
        },
    )?;
    report("hit_allocations", allocations, "1");
    read_random(file, "read_random_4k", 2000)?;
    let write = |block: &[u8]| each_block(len, block.len(), |at| file.write_all_at(block, at));
    // The first time the ranges may have to be mapped anew, for writing too, and the host makes room for what it has to write.
    rate("write_cold_2m", len, || write(&buffer))?;
    passes(["limit_write_2m", "write_warm_2m"], len, || ram.copy_in(&other), || write(&buffer))?;
    let [small, other] = [&buffer[..SMALL], &other[..SMALL]];
    passes(["limit_write_4k", "write_warm_4k"], len, || ram.copy_in(other), || write(small))?;
    if fs.window_region().is_some() {
        passes(["limit_scan", "map_scan"], len, || ram.scan(), || map_scan(file, len))?;
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
    let mut read = |index: u32| {
        let at = random.word(u64::from(index)) % blocks * SMALL as u64;
        Ok(file.read_exact_at(&mut buffer, at)?)
    };
    // The first ones are not measured: an emulator translates the code in them.
    (count..count + 100).try_for_each(&mut read)?;
    each(name, count, read)
}

/// Touches mapped bytes for the first time, with their ranges in the window: each touch is a page fault.
fn faults(fs: &Fs, file: &Arc<File>, len: u64) -> Outcome {
    fs.set_mappings(Some(Arc::new(PageTables::default())));
    traps::handle_page_faults(mmap::handle);
    let process = Process::new()?;
    process.activate();
    let touched = touch(&process, file.clone(), len, ["fault_2m", "fault_4k"]);
    process.end();
    fs.set_mappings(None);
    touched
}

/// The same for a file of any file system: large pages are stored to, small ones loaded from.
pub(super) fn touch(process: &Process, file: Arc<dyn Mapped>, len: u64, [huge, base]: [&str; 2]) -> Outcome {
    let map = |at| {
        let policy = SyncPolicy::default();
        let request =
            ViewRequest { file: file.clone(), flags: MapFlags::SHARED, policy, at, len, offset: 0, writable: true };
        process.map(&request).map_err(|errno| Stop::Fail(format!("the file cannot be mapped: {errno}")))
    };
    let failed = |at: u64, errno| Stop::Fail(format!("the page at {at:#x} cannot be touched: {errno}"));
    let (small, large) = ((len / SMALL as u64) as u32, (len / LARGE as u64) as u32);
    first_touches(
        huge,
        large,
        LARGE_PASSES,
        |range| {
            let at = ALIGNED + u64::from(range) * LARGE as u64;
            user::store_word(at, 1).map_err(|errno| failed(at, errno))
        },
        || map(ALIGNED),
        |view| process.unmap(&view),
    )?;
    first_touches(
        base,
        small,
        1,
        |page| {
            let at = MISALIGNED + u64::from(page) * SMALL as u64;
            user::load_word(at).map(|word| _ = black_box(word)).map_err(|errno| failed(at, errno))
        },
        || map(MISALIGNED),
        |view| process.unmap(&view),
    )?;
    let counts = process.counts();
    let expected = (2 * u64::from(small), u64::from(LARGE_PASSES + 1) * u64::from(large));
    ensure!(
        (counts.base, counts.huge) == expected,
        "{} pages of 4 KiB and {} of 2 MiB were installed, not {expected:?}",
        counts.base,
        counts.huge
    );
    Ok(())
}

/// Measures how long it takes to touch pages of a new mapping, in so many goes after one that is not measured: an emulator
/// translates the code in it.
fn first_touches<V>(
    name: &str,
    count: u32,
    goes: u32,
    mut touch: impl FnMut(u32) -> Outcome,
    map: impl Fn() -> Result<V, Stop>,
    unmap: impl Fn(V),
) -> Outcome {
    let mut elapsed = 0;
    for go in 0..=goes {
        let view = map()?;
        let begin = Clock::now_ns();
        (0..count).try_for_each(&mut touch)?;
        if go > 0 {
            elapsed += Clock::now_ns() - begin;
        }
        unmap(view);
    }
    report(name, elapsed / u64::from(goes * count), "ns");
    Ok(())
}

/// Goes through the file where it lies in the window.
fn map_scan(file: &File, len: u64) -> Outcome {
    each_block(len, LARGE, |at| {
        let view = file.map(at, LARGE)?;
        black_box(view.words().fold(0_u64, u64::wrapping_add));
        Ok::<(), Error>(())
    })
}

/// Calls `work` with the offset of each block of the file.
pub(super) fn each_block<E>(len: u64, block: usize, mut work: impl FnMut(u64) -> Result<(), E>) -> Outcome
where
    Stop: From<E>,
{
    Ok((0..len / block as u64).try_for_each(|index| work(index * block as u64))?)
}
