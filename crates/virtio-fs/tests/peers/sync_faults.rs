//! Faults that have to sync first, and stores that go to private copies.

use std::time::Instant;

use fs_dax::{Area, Errno, Fault, FaultAccess, FaultOutcome, Sharing, SyncMode, VirtAddr, Wanted};
use virtio_fs::{File, OpenOptions};

use crate::faults::{load, tables};
use crate::rig::HANGS;
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    metadata_is_durable_before_a_page_is_writable,
    a_store_to_a_private_mapping_goes_to_a_copy,
}

const MAKE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);
const BASE: u64 = 1 << 40;

/// A store at an offset of a mapping.
pub(crate) fn store(offset: u64, sharing: Sharing, sync: SyncMode) -> Fault {
    Fault {
        area: Area::new(VirtAddr(BASE), 1 << 30, 0).unwrap(),
        at: VirtAddr(BASE + offset),
        access: FaultAccess::Write,
        sharing,
        sync,
        wanted: Wanted::Base,
    }
}

/// Goes on until a page may be stored to; how often it allocated and synced for that.
pub(crate) fn settle(file: &File<spin::Mutex<()>>, fault: &Fault) -> Result<(u32, u32), Errno> {
    let (mut allocated, mut synced) = (0, 0);
    let mut outcome = file.fault(fault);
    loop {
        outcome = match outcome {
            FaultOutcome::Map(mapping) => {
                assert!(mapping.writable && mapping.guard.is_current());
                mapping.guard.installed(&mapping.page, true);
                return Ok((allocated, synced));
            }
            FaultOutcome::NeedsAllocation(allocate) => {
                allocated += 1;
                file.finish_allocation(fault, allocate)
            }
            FaultOutcome::NeedsSync(sync) => {
                synced += 1;
                file.finish_sync(fault, sync)
            }
            FaultOutcome::BusError(errno) => return Err(errno),
            other => panic!("{other:?}"),
        };
    }
}

fn metadata_is_durable_before_a_page_is_writable(peer: Peer) {
    let fs = peer.mount();
    let _tables = tables(&fs);
    let file = fs.open("new", MAKE).unwrap();
    file.write_all_at(&content(1, 4 << 20), 0).unwrap();
    // The file is new: a store that needs its metadata waits for an FSYNC, the next one does not.
    let persistent = store(0, Sharing::Shared, SyncMode::Persistent);
    assert_eq!(settle(&file, &persistent), Ok((0, 1)));
    assert_eq!(settle(&file, &store(8192, Sharing::Shared, SyncMode::Persistent)), Ok((0, 0)));
    // Where the host may yet have to allocate, it is made to.
    assert_eq!(settle(&file, &store(2 << 20, Sharing::Shared, SyncMode::MetadataDurable)), Ok((1, 0)));
    assert_eq!(settle(&file, &store(3 << 20, Sharing::Shared, SyncMode::None)), Ok((0, 0)));
    assert_eq!(fs.stats().sync_faults, 2, "{:?}", fs.stats());
    assert_eq!(file.dirty_pages(), 4);
    if let Some(strict) = peer.if_strict() {
        let ledger = strict.ledger();
        assert_eq!((ledger.count(op::FALLOCATE), ledger.count(op::FSYNC)), (1, 2));
    }
    // Longer is other metadata again.
    file.write_all_at(b"longer", 4 << 20).unwrap();
    assert_eq!(settle(&file, &persistent), Ok((0, 1)));
    drop(file);
    peer.finish(fs);
}

fn a_store_to_a_private_mapping_goes_to_a_copy(peer: Peer) {
    let data = content(2, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let _tables = tables(&fs);
    // Private copies are for who may only read, too.
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    let window = peer.window().unwrap().clone();
    let offset = (2_u64 << 20) + 4096;
    let outcome = file.fault(&store(offset + 5, Sharing::Private, SyncMode::None));
    let FaultOutcome::Copy(mapping) = outcome else { panic!("{outcome:?}") };
    assert_eq!((mapping.page.file_offset, mapping.page.len, mapping.writable), (offset, 4096, false));
    let mut copy = load(&window, &mapping.page, offset, 4096);
    assert_same(&copy, &data[offset as usize..][..4096], "the page that is copied");
    assert!(mapping.guard.is_current());
    copy.fill(0x77);
    drop(mapping);
    assert_eq!(file.dirty_pages(), 0, "nobody stores to the file");
    assert_same(&peer.get("file"), &data, "on the host");
    // Its guard keeps the file from being cut; a copy that was made before the cut is not installed after it.
    let writer = fs.open("file", MAKE).unwrap();
    let FaultOutcome::Copy(mapping) = file.fault(&store(offset, Sharing::Private, SyncMode::None)) else {
        panic!("no copy");
    };
    std::thread::scope(|scope| {
        let cut = scope.spawn(|| writer.set_len(4096));
        let deadline = Instant::now() + HANGS;
        while mapping.guard.is_current() {
            assert!(Instant::now() < deadline, "a cut that nobody hears of");
            std::thread::yield_now();
        }
        drop(mapping);
        cut.join().unwrap().unwrap();
    });
    let outcome = file.fault(&store(offset, Sharing::Private, SyncMode::None));
    assert!(matches!(outcome, FaultOutcome::BusError(errno) if errno == Errno::ERANGE), "{outcome:?}");
    drop((outcome, file, writer));
    peer.finish(fs);
}

#[test]
fn an_error_on_the_way_is_a_bus_error_and_nothing_is_writable() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let _tables = tables(&fs);
    let file = fs.open("new", MAKE).unwrap();
    file.write_all_at(&content(3, 4 << 20), 0).unwrap();
    for (opcode, errno, sync) in [
        (op::FSYNC, libc::EIO, SyncMode::Persistent),
        // A server that knows no FSYNC has made nothing durable.
        (op::FSYNC, libc::ENOSYS, SyncMode::Persistent),
        (op::FALLOCATE, libc::ENOSPC, SyncMode::MetadataDurable),
        (op::FSYNC, libc::ENOSPC, SyncMode::MetadataDurable),
    ] {
        peer.strict().watch(move |request| if request.opcode() == opcode { Act::Refuse(errno) } else { Act::Serve });
        let result = settle(&file, &store(0, Sharing::Shared, sync));
        assert_eq!(result, Err(Errno::new(errno).unwrap()), "{opcode} {sync:?}");
        assert_eq!(file.dirty_pages(), 0);
    }
    peer.strict().behave();
    assert_eq!(settle(&file, &store(0, Sharing::Shared, SyncMode::Persistent)), Ok((0, 1)), "it was never durable");
    drop(file);
    peer.finish(fs);
}

#[test]
fn blocks_that_move_during_the_sync_are_synced_again() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let _tables = tables(&fs);
    let file = fs.open("new", MAKE).unwrap();
    file.write_all_at(&content(4, 4 << 20), 0).unwrap();
    peer.put("other", &content(5, 8192));
    let other = fs.open("other", MAKE).unwrap();
    let mut kept = false;
    peer.strict().watch(move |request| {
        let first = request.opcode() == op::FSYNC && !std::mem::replace(&mut kept, request.opcode() == op::FSYNC);
        if first { Act::Hold } else { Act::Serve }
    });
    let fault = store(0, Sharing::Shared, SyncMode::Persistent);
    std::thread::scope(|scope| {
        let FaultOutcome::NeedsSync(sync) = file.fault(&fault) else { panic!("it is new") };
        let syncing = scope.spawn(|| file.finish_sync(&fault, sync));
        let deadline = Instant::now() + HANGS;
        while peer.strict().held() == 0 {
            assert!(Instant::now() < deadline, "no FSYNC");
            std::thread::yield_now();
        }
        // Whether the server can do it or not, it may have moved blocks. It waits for the page under way.
        let waits = fs.stats().window_waits;
        let copying = scope.spawn(|| other.copy_range(0, &file, 1 << 20, 4096));
        while fs.stats().window_waits == waits {
            assert!(Instant::now() < deadline, "a copy that does not wait");
            std::thread::yield_now();
        }
        peer.strict().release(0);
        let outcome = syncing.join().unwrap();
        assert!(matches!(outcome, FaultOutcome::Retry), "{outcome:?}");
        drop(outcome);
        let _ = copying.join().unwrap();
    });
    assert_eq!(settle(&file, &fault), Ok((0, 1)));
    drop((file, other));
    peer.finish(fs);
}
