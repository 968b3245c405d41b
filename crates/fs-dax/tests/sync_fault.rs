//! Synchronous faults: the truth table, the two holes of the first implementation, and the epoch against a model.

use fs_dax::{
    Action, Area, Backing, BusError, Decision, Errno, Fault, FaultAccess, FaultOutcome, FileRange, MappedRun,
    MetadataChange, MetadataEpoch, MetadataState, Page, PageMapping, PageSize, PageSizes, PhysAddr, Placement, Sharing,
    SyncMode, SyncOutcome, VirtAddr, Wanted,
};

const MIB: u64 = 1 << 20;
const VIRT: u64 = 0x7f00_0000_0000;
const RUN: MappedRun = MappedRun { file_offset: 0, phys: PhysAddr(0x1_0000_0000), len: 8 * MIB };

fn fault(access: FaultAccess, sync: SyncMode, at: u64) -> Fault {
    Fault {
        area: Area::new(VirtAddr(VIRT), 8 * MIB, 0).unwrap(),
        at: VirtAddr(VIRT + at),
        access,
        sharing: Sharing::Shared,
        sync,
        wanted: Wanted::Largest,
    }
}

fn backing(metadata: MetadataState) -> Backing {
    Backing { eof: 8 * MIB, run: Some(RUN), writable: true, metadata }
}

fn resolve(fault: &Fault, epoch: &MetadataEpoch) -> FaultOutcome<&'static str> {
    fault.resolve(PageSizes::SMALL_4K, &backing(MetadataState::of(epoch).allocated()), "pin")
}

fn clean(epoch: &MetadataEpoch) {
    assert!(epoch.synced(epoch.seen()));
}

/// The page that the fault would get now.
fn look_up(fault: &Fault) -> Option<Page> {
    match PageSizes::SMALL_4K.place(&fault.area, fault.at, 8 * MIB, Some(&RUN), fault.wanted) {
        Placement::Page(page) => Some(page),
        _ => None,
    }
}

#[test]
fn truth_table() {
    use Action::{InstallReadOnly as Read, InstallWritable as Write, NeedsSync as Sync};
    let table = [
        (false, false, false, false, Read),
        (false, false, true, false, Read),
        (false, true, false, false, Read),
        (false, true, true, false, Read),
        (true, false, false, true, Write),
        (true, false, true, true, Write),
        (true, true, false, true, Write),
        (true, true, true, false, Sync),
    ];
    for (write, sync, metadata_dirty, entry_dirty, action) in table {
        let row = format!("write {write} sync {sync} metadata dirty {metadata_dirty}");
        assert_eq!(Decision::of(write, sync, metadata_dirty), Decision { entry_dirty, action }, "{row}");
        // The same through a whole fault.
        let epoch = MetadataEpoch::new();
        if !metadata_dirty {
            clean(&epoch);
        }
        let access = if write { FaultAccess::Write } else { FaultAccess::Read };
        let mode = if sync { SyncMode::Persistent } else { SyncMode::None };
        match resolve(&fault(access, mode, 0), &epoch) {
            FaultOutcome::Map(PageMapping { writable, .. }) => {
                assert_eq!(action, if writable { Write } else { Read }, "{row}");
                assert_eq!(writable, entry_dirty, "{row}");
            }
            FaultOutcome::NeedsSync(_) => assert_eq!(action, Sync, "{row}"),
            other => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn a_page_mapped_for_reading_is_upgraded_the_same_way() {
    let epoch = MetadataEpoch::new();
    let read = fault(FaultAccess::Read, SyncMode::Persistent, 0x5000);
    let FaultOutcome::Map(PageMapping { writable: false, page: read_page, .. }) = resolve(&read, &epoch) else {
        panic!("a read installs the page for reading");
    };
    let write = Fault { access: FaultAccess::Write, ..read };
    let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!("the store needs a sync") };
    assert_eq!(token.page().phys, read_page.phys);
    let synced = token.start(&epoch).answered(Ok(()), &epoch).unwrap();
    match synced.finish(&epoch, look_up(&write).as_ref()) {
        SyncOutcome::InstallWritable { page, .. } => assert_eq!(page, read_page),
        SyncOutcome::Retry { .. } => panic!("nothing raced"),
    }
    // The file's metadata is durable now: the next page needs no sync.
    let next = Fault { at: VirtAddr(VIRT + 4 * MIB), ..write };
    assert!(matches!(resolve(&next, &epoch), FaultOutcome::Map(PageMapping { writable: true, .. })));
}

#[test]
fn a_huge_page_is_synced_from_its_boundary() {
    let epoch = MetadataEpoch::new();
    let write = fault(FaultAccess::Write, SyncMode::Persistent, 3 * MIB + 0x5123);
    let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!() };
    assert_eq!(token.page().size, PageSize::Huge);
    assert_eq!(token.range(), FileRange::new(2 * MIB, 2 * MIB).unwrap());
    assert_eq!(token.page().phys, PhysAddr(0x1_0020_0000));

    let small = Fault { wanted: Wanted::Base, ..write };
    let FaultOutcome::NeedsSync(token) = resolve(&small, &epoch) else { panic!() };
    assert_eq!(token.range(), FileRange::new(3 * MIB + 0x5000, 0x1000).unwrap());
}

#[test]
fn any_error_is_a_bus_error_and_leaves_the_inode_dirty() {
    for errno in [Errno::EIO, Errno::ENOSYS, Errno::ENOSPC] {
        let epoch = MetadataEpoch::new();
        let write = fault(FaultAccess::Write, SyncMode::Persistent, 0);
        let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!() };
        let BusError { errno: got, guard } = token.start(&epoch).answered(Err(errno), &epoch).unwrap_err();
        assert_eq!((got, guard), (errno, "pin"));
        assert!(epoch.is_dirty());
    }
}

#[test]
fn a_page_that_is_gone_or_changed_is_retried() {
    let write = fault(FaultAccess::Write, SyncMode::Persistent, 0x5000);
    let now = look_up(&write).unwrap();
    let smaller = Page { size: PageSize::Base, len: 4096, ..now };
    let moved = Page { phys: PhysAddr(now.phys.0 + 2 * MIB), ..now };
    for (now, retry) in [(Some(now), false), (None, true), (Some(smaller), true), (Some(moved), true)] {
        let epoch = MetadataEpoch::new();
        let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!() };
        let synced = token.start(&epoch).answered(Ok(()), &epoch).unwrap();
        let outcome = synced.finish(&epoch, now.as_ref());
        assert_eq!(matches!(outcome, SyncOutcome::Retry { .. }), retry, "{now:?}");
    }
}

#[test]
fn metadata_that_changes_meanwhile() {
    use MetadataChange::*;
    let write = fault(FaultAccess::Write, SyncMode::Persistent, 0x5000);
    for change in [Create, ExtendingWrite, SizeChange, Allocate, Deallocate, CopyFileRange] {
        // When the change happens: before the fault is resolved, before the FSYNC, during it, after it.
        for when in 0..4 {
            let epoch = MetadataEpoch::new();
            let at = |moment| {
                if moment == when {
                    epoch.noticed(change);
                }
            };
            at(0);
            let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!() };
            at(1);
            let syncing = token.start(&epoch);
            at(2);
            let synced = syncing.answered(Ok(()), &epoch).unwrap();
            assert_eq!(epoch.is_dirty(), when == 2, "clean only if nothing changed since the FSYNC was sent");
            at(3);
            let outcome = synced.finish(&epoch, look_up(&write).as_ref());
            let retry = when > 0 && change.moves_blocks();
            assert_eq!(matches!(outcome, SyncOutcome::Retry { .. }), retry, "{change:?} at {when}");
            assert_eq!(epoch.is_dirty(), when >= 2);
        }
    }
}

#[test]
fn a_change_under_way_makes_dirty_and_retries() {
    let epoch = MetadataEpoch::new();
    clean(&epoch);
    let change = epoch.change(MetadataChange::SizeChange);
    assert!(epoch.is_dirty());
    let write = fault(FaultAccess::Write, SyncMode::Persistent, 0x5000);
    let FaultOutcome::NeedsSync(token) = resolve(&write, &epoch) else { panic!() };
    let synced = token.start(&epoch).answered(Ok(()), &epoch).unwrap();
    assert!(epoch.is_dirty(), "the change may have come after the FSYNC");
    assert!(matches!(synced.finish(&epoch, look_up(&write).as_ref()), SyncOutcome::Retry { .. }));
    drop(change);
    assert!(epoch.is_dirty());
    clean(&epoch);
}

#[test]
fn the_weaker_mode_allocates_first() {
    let epoch = MetadataEpoch::new();
    clean(&epoch);
    let write = fault(FaultAccess::Write, SyncMode::MetadataDurable, 0x5000);
    let state = MetadataState::of(&epoch);
    assert!(state.is_dirty(SyncMode::MetadataDurable) && !state.is_dirty(SyncMode::Persistent));
    let ask = |state| write.resolve(PageSizes::SMALL_4K, &backing(state), ());
    let FaultOutcome::NeedsAllocation(token) = ask(state) else { panic!("the page may be a hole") };
    assert_eq!(token.range(), FileRange::new(0, 2 * MIB).unwrap());
    epoch.noticed(MetadataChange::Allocate);
    let synced = token.allocated(Ok(())).unwrap().start(&epoch).answered(Ok(()), &epoch).unwrap();
    assert!(matches!(synced.finish(&epoch, look_up(&write).as_ref()), SyncOutcome::InstallWritable { .. }));
    assert!(!epoch.is_dirty());

    let FaultOutcome::NeedsAllocation(token) = ask(state) else { panic!() };
    assert_eq!(token.allocated(Err(Errno::EOPNOTSUPP)).unwrap_err().errno, Errno::EOPNOTSUPP);

    // Known to be allocated and clean: no sync. Known to be allocated and dirty: only the sync.
    let state = MetadataState::of(&epoch).allocated();
    assert!(matches!(ask(state), FaultOutcome::Map(PageMapping { writable: true, .. })));
    epoch.noticed(MetadataChange::ExtendingWrite);
    assert!(matches!(ask(MetadataState::of(&epoch).allocated()), FaultOutcome::NeedsSync(_)));
}

#[test]
fn files_that_are_durable_by_construction_never_sync() {
    for mode in [SyncMode::None, SyncMode::Persistent, SyncMode::MetadataDurable] {
        let write = fault(FaultAccess::Write, mode, 0x5000);
        let outcome = write.resolve(PageSizes::SMALL_4K, &backing(MetadataState::DURABLE), ());
        assert!(matches!(outcome, FaultOutcome::Map(PageMapping { writable: true, .. })), "{mode:?}");
    }
}

/// One step of somebody in the model of the epoch.
#[derive(Clone, Copy)]
enum Step {
    Begin,
    Host,
    End,
}

/// All interleavings of two metadata changes and two FSYNCs, in which each is begun by the guest, done by the host at
/// some later time, and ended by the guest when the reply comes: whenever the epoch says "clean", what the host has is
/// durable.
#[test]
fn clean_is_never_a_lie() {
    fn interleave(left: &mut [usize; 4], order: &mut Vec<usize>, check: &mut impl FnMut(&[usize])) {
        if left.iter().all(|steps| *steps == 0) {
            return check(order);
        }
        for actor in 0..4 {
            if left[actor] > 0 {
                left[actor] -= 1;
                order.push(actor);
                interleave(left, order, check);
                order.pop();
                left[actor] += 1;
            }
        }
    }
    let mut runs = 0u32;
    let mut clean_moments = 0u32;
    // Under Miri one change and one FSYNC.
    let mut steps = if cfg!(miri) { [3, 0, 3, 0] } else { [3, 3, 3, 3] };
    interleave(&mut steps, &mut Vec::new(), &mut |order| {
        runs += 1;
        let epoch = MetadataEpoch::new();
        // How many changes the host has made, and how many of them are durable. One was made before the client came.
        let (mut made, mut durable) = (1, 0);
        let mut changes = [None, None];
        let mut seen = [None, None];
        let mut steps = [0; 4];
        for actor in order {
            let step = [Step::Begin, Step::Host, Step::End][steps[*actor]];
            steps[*actor] += 1;
            match (*actor, step) {
                (n @ (0 | 1), Step::Begin) => changes[n] = Some(epoch.change(MetadataChange::ExtendingWrite)),
                (0 | 1, Step::Host) => made += 1,
                (n, Step::End) if n < 2 => changes[n] = None,
                (n, Step::Begin) => seen[n - 2] = Some(epoch.seen()),
                (_, Step::Host) => durable = made,
                (n, Step::End) => {
                    epoch.synced(seen[n - 2].unwrap());
                }
            }
            if !epoch.is_dirty() {
                clean_moments += 1;
                assert_eq!(durable, made, "{order:?}");
            }
        }
    });
    assert_eq!(runs, if cfg!(miri) { 20 } else { 369_600 });
    assert!(clean_moments > 0);
}
