//! msync and fsync of what was stored through page tables.

use crate::{
    arch::{clock::Clock, smp, user},
    machine::Machine,
    memory::PAGE,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        processors,
        views::{APART, BASE, MAP, MIB, OTHER, World, expect_page, load, map, shared, store},
    },
};
use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};
use fuse_proto::Errno;
use virtio_fs::Config;

/// A view one page off, so that its pages are small.
const SMALL: u64 = BASE + PAGE;

/// Machine: a window. Exactly the dirty pages are write-protected and cleaned, in runs, and the processors are interrupted once
/// for all runs of a sync; none a second time; those of a part only, when asked for a part; and none of another file.
pub(crate) fn only_dirty(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let (file, other) = (world.open(MAP, true)?, world.open(OTHER, true)?);
    map(&world.process, &shared(&file, SMALL, 6 * MIB, true))?;
    map(&world.process, &shared(&other, SMALL + APART, 4 * MIB, true))?;
    for page in 0..20 {
        load(SMALL + page * PAGE)?;
    }
    for page in [3, 7, 8, 600] {
        store(SMALL + page * PAGE, page)?;
    }
    store(SMALL + APART, 1)?;
    let counts = || (world.tables.protections(), world.tables.protected(), world.fs.stats().protected_pages);
    ensure!(file.dirty_pages() == 4 && other.dirty_pages() == 1, "wrong pages are dirty");

    file.sync_data()?;
    // Three runs: 3, 7 and 8, 600.
    ensure!(counts() == (3, 4, 4), "{:?} runs, entries and pages were write-protected, not 3, 4, 4", counts());
    ensure!(world.tables.shootdowns() == 1, "{} shootdowns for the runs of one sync", world.tables.shootdowns());
    for page in [3, 7, 8, 600] {
        expect_page(&world.process, SMALL + page * PAGE, Some((PAGE, false)))?;
    }
    ensure!(file.dirty_pages() == 0, "{} pages are dirty after a sync", file.dirty_pages());
    ensure!(other.dirty_pages() == 1, "another file's page was cleaned");
    expect_page(&world.process, SMALL + APART, Some((PAGE, true)))?;

    file.sync_data()?;
    ensure!(counts() == (3, 4, 4), "a sync with nothing dirty write-protected {:?}", counts());
    ensure!(world.tables.shootdowns() == 1, "a sync with nothing dirty interrupted the processors");
    let fsyncs = world.fs.stats().fsyncs;
    ensure!(fsyncs == 2, "two syncs sent {fsyncs} FSYNCs");

    for page in [3, 7, 600] {
        store(SMALL + page * PAGE, page + 1)?;
    }
    // One byte of one page.
    file.sync_range(7 * PAGE + 100, 1)?;
    ensure!(counts() == (4, 5, 5), "msync of one page write-protected {:?}", counts());
    expect_page(&world.process, SMALL + 7 * PAGE, Some((PAGE, false)))?;
    expect_page(&world.process, SMALL + 3 * PAGE, Some((PAGE, true)))?;
    ensure!(file.dirty_pages() == 2, "{} pages are dirty, not the other two", file.dirty_pages());
    drop((file, other));
    world.finish()
}

/// Machine: a window and two processors, and a daemon that takes 3 s for the first FSYNC. While it does, the other processor
/// stores to a page that is being written back, and that it has stored to before, so that it has to forget what it knows of
/// it: the page stays dirty, and so the next sync has it again.
pub(crate) fn store_during(machine: &Machine) -> Outcome {
    const WAITING: u8 = 0;
    const STORED_DURING: u8 = 1;
    const STORED_AFTER: u8 = 2;
    const FAILED: u8 = 3;
    processors::start(2)?;
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    map(&world.process, &shared(&file, SMALL, 6 * MIB, true))?;
    store(SMALL, 1)?;
    store(SMALL + PAGE, 1)?;
    let (outcome, returned) = (Arc::new(AtomicU8::new(WAITING)), Arc::new(AtomicBool::new(false)));
    let warm = Arc::new(AtomicBool::new(false));
    {
        let (outcome, returned, warm) = (outcome.clone(), returned.clone(), warm.clone());
        let (tables, process) = (world.tables.clone(), world.process.clone());
        smp::run_on(1, move || {
            process.activate();
            // From here on this processor remembers that the page can be written.
            warm.store(user::store_word(SMALL, 1).is_ok(), Ordering::Release);
            while tables.protections() == 0 {
                core::hint::spin_loop();
            }
            let stored = user::store_word(SMALL, 2);
            outcome.store(
                match stored {
                    Err(_) => FAILED,
                    Ok(()) if returned.load(Ordering::Acquire) => STORED_AFTER,
                    Ok(()) => STORED_DURING,
                },
                Ordering::Release,
            );
        });
    }
    let deadline = Clock::now_ns() + 10_000_000_000;
    while !warm.load(Ordering::Acquire) {
        ensure!(Clock::now_ns() < deadline, "the other processor did not store");
        core::hint::spin_loop();
    }
    file.sync_data()?;
    returned.store(true, Ordering::Release);
    processors::join(1, Duration::from_secs(10))?;
    let outcome = outcome.load(Ordering::Acquire);
    ensure!(outcome == STORED_DURING, "the other processor did not store during the write-back: {outcome}");
    ensure!(file.dirty_pages() == 1, "{} pages are dirty, not the one that was stored to", file.dirty_pages());
    expect_page(&world.process, SMALL, Some((PAGE, true)))?;
    expect_page(&world.process, SMALL + PAGE, Some((PAGE, false)))?;
    let before = world.tables.protected();
    file.sync_data()?;
    ensure!(world.tables.protected() == before + 1, "the page was not written back again");
    ensure!(file.dirty_pages() == 0, "{} pages are dirty in the end", file.dirty_pages());
    ensure!(load(SMALL)? == 2, "the store is gone");
    drop(file);
    world.finish()
}

/// Machine: a window, with a daemon that answers the first FSYNC with EIO. All that was to be written back is dirty again, and the
/// next sync has it.
pub(crate) fn fsync_fails(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    map(&world.process, &shared(&file, SMALL, 6 * MIB, true))?;
    for page in [1, 2, 700] {
        store(SMALL + page * PAGE, page)?;
    }
    let result = file.sync_data();
    let errno = result.as_ref().map_err(virtio_fs::Error::errno);
    ensure!(errno == Err(Errno::EIO), "a sync with an FSYNC that fails gives {result:?}");
    ensure!(file.dirty_pages() == 3, "{} pages are dirty after a sync that failed, not 3", file.dirty_pages());
    // Stores to them are faults still: they were write-protected, and must not be missed.
    store(SMALL + PAGE, 10)?;
    ensure!(file.dirty_pages() == 3, "{} pages are dirty, not 3", file.dirty_pages());
    file.sync_data()?;
    ensure!(file.dirty_pages() == 0, "{} pages are dirty after a sync", file.dirty_pages());
    let (taken, sent) = (world.fs.stats().protected_pages, world.fs.stats().fsyncs);
    ensure!((taken, sent) == (6, 2), "{taken} pages were taken with {sent} FSYNCs, not 6 with 2");
    ensure!(load(SMALL + PAGE)? == 10, "a store is gone");
    drop(file);
    world.finish()
}
