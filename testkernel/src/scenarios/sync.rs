//! Synchronous faults: a page that a program may store to has its metadata on the host's disk first.

use crate::{
    arch::{clock::Clock, smp},
    events,
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    mmap::{File, ViewRequest},
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        processors,
        views::{APART, BASE, MIB, World, expect_page, load, map, no_store, shared, store},
    },
};
use alloc::{format, sync::Arc};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use fs_dax::{
    Area, Decision, Errno, Fault, FaultAccess, FaultOutcome, FileMapping, MapFlags, Sharing, SyncMode, SyncPolicy,
    VirtAddr, Wanted,
};
use virtio_fs::{Config, OpenOptions};

const SYNC: MapFlags = MapFlags::SHARED_VALIDATE.union(MapFlags::SYNC);

/// A new file of so many bytes, all holes.
fn create(world: &World, name: &str, len: u64) -> Result<Arc<File>, Stop> {
    let options = OpenOptions::new().read(true).write(true).create_new(true);
    let file = world.fs.open(name, options)?;
    file.set_len(len)?;
    Ok(Arc::new(file))
}

/// A synchronous view under a policy.
fn synchronous(file: &Arc<File>, policy: SyncPolicy, at: u64, len: u64) -> ViewRequest {
    ViewRequest { flags: SYNC, policy, ..shared(file, at, len, true) }
}

/// Leaves a mark in the daemon's record: a look-up of a name that does not exist.
fn mark(world: &World, name: &str) -> Outcome {
    let result = world.fs.attr(name);
    ensure!(result.is_err(), "there is a file named {name}");
    Ok(())
}

/// Machine: a window. A program that asks for a synchronous view is refused with EOPNOTSUPP, unless the kernel states more
/// than the default; one that asks in the old way learns that it did not get it.
pub(crate) fn refused_by_default(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = create(&world, "sync-refused", 2 * MIB)?;
    let refused = world.process.map(&synchronous(&file, SyncPolicy::default(), BASE, 2 * MIB)).err();
    ensure!(refused == Some(Errno::EOPNOTSUPP), "a synchronous view is refused with {refused:?}");
    let lax = ViewRequest { flags: MapFlags::SHARED | MapFlags::SYNC, ..shared(&file, BASE, 2 * MIB, true) };
    let view = map(&world.process, &lax)?;
    ensure!(!view.agreed.is_sync(), "a flag that is ignored by its rules is said to be kept");
    for (policy, mode) in
        [(SyncPolicy::PersistentHost, SyncMode::Persistent), (SyncPolicy::MetadataDurable, SyncMode::MetadataDurable)]
    {
        let at = BASE + APART * (1 + mode as u64);
        let view = map(&world.process, &synchronous(&file, policy, at, 2 * MIB))?;
        ensure!(view.agreed.sync == mode, "under {policy:?} the view is {:?}", view.agreed.sync);
    }
    let not_dax = FileMapping::NOT_DAX.validate(SYNC.bits()).map_err(|error| error.errno());
    ensure!(not_dax == Err(Errno::EOPNOTSUPP), "a file without DAX answers {not_dax:?}");
    let strange = FileMapping::dax(SyncPolicy::default()).validate((MapFlags::SHARED_VALIDATE.bits()) | 1 << 30);
    ensure!(strange.is_err(), "a flag that nobody knows is accepted: {strange:?}");
    drop((file, view));
    world.finish()
}

/// Machine: a window. The daemon's record shows FALLOCATE and FSYNC answered between the marks around each store that made a
/// page writable, and nothing between those around others. A page that was read before goes the same way, and a large page is
/// allocated from its begin, not from the address that faulted.
pub(crate) fn fsync_before_writable(machine: &Machine) -> Outcome {
    const NAME: &str = "sync-new";
    let world = World::new(machine, Config::default())?;
    let file = create(&world, NAME, 4 * MIB)?;
    let blocks = || Ok::<u64, Stop>(world.fs.lookup(NAME)?.refresh_attr()?.blocks);
    map(&world.process, &synchronous(&file, SyncPolicy::MetadataDurable, BASE, 4 * MIB))?;
    let small = BASE + APART + PAGE;
    map(
        &world.process,
        &ViewRequest { offset: 2 * MIB, ..synchronous(&file, SyncPolicy::MetadataDurable, small, 2 * MIB) },
    )?;
    let sent = || (world.fs.stats().sync_faults, world.fs.stats().fsyncs);
    ensure!(load(BASE + 8)? == 0, "a hole is not zero");
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    ensure!(sent() == (0, 0), "reading sent {:?} FSYNCs", sent());

    let before = blocks()?;
    mark(&world, "before large, read before")?;
    store(BASE + MIB + 8, 1)?;
    mark(&world, "after large, read before")?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, true)))?;
    let allocated = blocks()? - before;
    ensure!(allocated >= LARGE_PAGE / 512, "{allocated} blocks were allocated, not those of all 2 MiB");
    ensure!(file.dirty_pages() == 512, "{} pages are dirty", file.dirty_pages());
    ensure!(sent().0 == 1, "{} synchronous faults, not 1", sent().0);

    mark(&world, "before small")?;
    store(small + 3 * PAGE, 2)?;
    mark(&world, "after small")?;
    expect_page(&world.process, small + 3 * PAGE, Some((PAGE, true)))?;
    // Nothing becomes writable here.
    mark(&world, "before nothing")?;
    store(BASE + 16, 3)?;
    store(small + 3 * PAGE + 8, 4)?;
    mark(&world, "after nothing")?;
    ensure!(sent().0 == 2, "{} synchronous faults, not 2", sent().0);
    ensure!((load(BASE + MIB + 8)?, load(small + 3 * PAGE)?) == (1, 2), "the stores are not there");
    drop(file);
    world.finish()
}

/// Machine: a window. Write, synchronous, metadata not durable: for each of the eight rows what the driver decides, what it
/// leaves alone meanwhile, and what comes of it.
// Long: each row of the table goes through the same steps, which share its values.
pub(crate) fn truth_table(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    for row in 0..8_u64 {
        let (write, sync, dirty) = (row & 4 != 0, row & 2 != 0, row & 1 != 0);
        let file = create(&world, &format!("sync-row-{row}"), 2 * MIB)?;
        // A store into a hole, or into what is only set aside, would change metadata in the middle of it all.
        let block = [1; 4096];
        for offset in (0..2 * MIB).step_by(block.len()) {
            file.write_all_at(&block, offset)?;
        }
        // The blocks that the host counts now are no news after the FSYNC.
        file.node().refresh_attr()?;
        if !dirty {
            file.sync_all()?;
            // The host may count other blocks now: it has found them for the FSYNC.
            file.node().refresh_attr()?;
        }
        let at = BASE + row * APART;
        let request = synchronous(&file, SyncPolicy::PersistentHost, at, 2 * MIB);
        let flags = if sync { SYNC } else { MapFlags::SHARED };
        let view = map(&world.process, &ViewRequest { flags, ..request })?;
        let expected = Decision::of(write, sync, dirty);
        let before = world.fs.stats().sync_faults;
        // The driver's decision itself.
        let fault = Fault {
            area: Area::new(VirtAddr(at), 2 * MIB, 0)?,
            at: VirtAddr(at + 4096),
            access: if write { FaultAccess::Write } else { FaultAccess::Read },
            sharing: Sharing::Shared,
            sync: view.agreed.sync,
            wanted: Wanted::Largest,
        };
        let decided = match file.fault(&fault) {
            FaultOutcome::Map(mapping) if mapping.writable => fs_dax::Action::InstallWritable,
            FaultOutcome::Map(_) => fs_dax::Action::InstallReadOnly,
            FaultOutcome::NeedsSync(_) => fs_dax::Action::NeedsSync,
            other => return Err(Stop::Fail(format!("row {row}: {other:?}"))),
        };
        ensure!(decided == expected.action, "write {write}, sync {sync}, dirty {dirty}: {decided:?}, not {expected:?}");
        ensure!(file.dirty_pages() == 0, "row {row}: a page is dirty that nobody may store to yet");
        ensure!(world.fs.stats().sync_faults == before, "row {row}: a decision sent an FSYNC");
        // And the fault as the processor makes it.
        if write {
            store(at + 4096, row)?
        } else {
            load(at + 4096).map(drop)?
        }
        let fsyncs = world.fs.stats().sync_faults - before;
        let needed = u64::from(expected.action == fs_dax::Action::NeedsSync);
        ensure!(fsyncs == needed, "row {row}: {fsyncs} FSYNCs were sent, not {needed}");
        expect_page(&world.process, at, Some((LARGE_PAGE, write)))?;
        let pages = if write { 512 } else { 0 };
        ensure!(file.dirty_pages() == pages, "row {row}: {} pages are dirty, not {pages}", file.dirty_pages());
        // Once durable, always durable, until the file changes.
        if needed == 1 {
            let second = synchronous(&file, SyncPolicy::PersistentHost, at + APART / 2, 2 * MIB);
            map(&world.process, &second)?;
            store(at + APART / 2, row)?;
            ensure!(world.fs.stats().sync_faults == before + 1, "row {row}: a clean file was synced again");
            file.set_len(4 * MIB)?;
            let third = synchronous(&file, SyncPolicy::PersistentHost, at + APART / 4, 2 * MIB);
            map(&world.process, &third)?;
            store(at + APART / 4, row)?;
            ensure!(world.fs.stats().sync_faults == before + 2, "row {row}: a file that grew was not synced");
        }
    }
    // Its metadata is durable, but for the blocks that it does not have: they are set aside, and that is made durable.
    let at = BASE + 8 * APART;
    let hole = create(&world, "sync-hole", 4 * MIB)?;
    hole.sync_all()?;
    map(&world.process, &synchronous(&hole, SyncPolicy::PersistentHost, at, 4 * MIB))?;
    let before = world.fs.stats().sync_faults;
    store(at + 3 * MIB, 7)?;
    let fsyncs = world.fs.stats().sync_faults - before;
    ensure!(fsyncs == 1, "a store into a hole of a durable file sent {fsyncs} FSYNCs, not 1");
    drop(hole);
    world.finish()
}

/// Machine: a window, with a daemon that answers the first FSYNC with EIO and the second one with ENOSYS, each with nothing done.
/// Both are bus errors; the page stays read-only and clean, and the store is nowhere. The third FSYNC succeeds.
pub(crate) fn fsync_error_is_bus_error(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = create(&world, "sync-error", 2 * MIB)?;
    map(&world.process, &synchronous(&file, SyncPolicy::PersistentHost, BASE, 2 * MIB))?;
    ensure!(load(BASE)? == 0, "a hole is not zero");
    for errno in [Errno::EIO, Errno::ENOSYS] {
        no_store(BASE, errno)?;
        expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
        ensure!(file.dirty_pages() == 0, "{} pages are dirty after a fault that failed", file.dirty_pages());
        ensure!(load(BASE)? == 0, "a store that failed is there");
    }
    store(BASE, 5)?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, true)))?;
    let sent = world.fs.stats().sync_faults;
    ensure!(sent == 3, "{sent} synchronous faults, not 3");
    drop(file);
    world.finish()
}

/// Machine: a window and two processors, and a daemon that takes 1.5 s for the first FSYNC. While a synchronous fault waits
/// for it, the other processor cuts the file in the same 2 MiB: neither waits for the other, the fault is looked up anew and
/// synchronised once more.
pub(crate) fn cut_meanwhile(machine: &Machine) -> Outcome {
    processors::start(2)?;
    let world = World::new(machine, Config::default())?;
    let file = create(&world, "sync-cut", 4 * MIB)?;
    map(&world.process, &synchronous(&file, SyncPolicy::PersistentHost, BASE, 4 * MIB))?;
    let begun = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(AtomicBool::new(false));
    {
        let (begun, cut, file) = (begun.clone(), cut.clone(), file.clone());
        smp::run_on(1, move || {
            while !begun.load(Ordering::Acquire) {
                core::hint::spin_loop();
            }
            // The fault sends its FSYNC meanwhile. Were it slower, this would prove less, and fail no more.
            Clock::spin(Duration::from_millis(300));
            cut.store(file.set_len(MIB + 4 * PAGE).is_ok(), Ordering::Release);
        });
    }
    begun.store(true, Ordering::Release);
    store(BASE + MIB, 6)?;
    processors::join(1, Duration::from_secs(30))?;
    ensure!(cut.load(Ordering::Acquire), "the file could not be cut");
    ensure!(load(BASE + MIB)? == 6, "the store is gone");
    no_store(BASE + MIB + 4 * PAGE, Errno::ERANGE)?;
    let sent = world.fs.stats().sync_faults;
    events::metric("synchronous faults", sent, "1");
    drop(file);
    world.finish()
}
