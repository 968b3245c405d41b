//! The order of synchronous faults: what the server is asked for before a page becomes writable, and in which order.

use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use fs_dax::{Action, Area, Decision, Fault, FaultAccess, FaultOutcome, PageSize, Sharing, SyncMode, VirtAddr, Wanted};
use virtio_fs::{FaultGuard, File};

use crate::faults::{BOTH, base, tables};
use crate::rig::content::content;
use crate::rig::ledger::{op, u64_at};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

type OneFile = File<spin::Mutex<()>>;
type Outcome = FaultOutcome<FaultGuard<spin::Mutex<()>>>;

const LEN: u64 = 4 << 20;
/// In the middle of the second 2 MiB.
const AT: u64 = (3 << 20) + 4096;

fn fault(file: &OneFile, write: bool, sync: SyncMode) -> Fault {
    let start = base(file);
    Fault {
        area: Area::new(VirtAddr(start), LEN, 0).unwrap(),
        at: VirtAddr(start + AT),
        access: if write { FaultAccess::Write } else { FaultAccess::Read },
        sharing: Sharing::Shared,
        sync,
        wanted: Wanted::Largest,
    }
}

/// Goes on until the fault is decided.
fn finish(file: &OneFile, fault: &Fault, mut outcome: Outcome) -> Outcome {
    loop {
        outcome = match outcome {
            FaultOutcome::NeedsSync(sync) => file.finish_sync(fault, sync),
            FaultOutcome::NeedsAllocation(allocate) => file.finish_allocation(fault, allocate),
            other => return other,
        }
    }
}

/// The opcodes of FALLOCATEs and FSYNCs with the offset of the former, as the server gets them.
fn listen(peer: &Peer) -> Arc<Mutex<Vec<(u32, u64)>>> {
    let heard: Arc<Mutex<Vec<(u32, u64)>>> = Arc::default();
    let list = heard.clone();
    peer.strict().watch(move |request| {
        match request.opcode() {
            op::FALLOCATE => list.lock().unwrap().push((op::FALLOCATE, u64_at(&request.bytes, 48))),
            op::FSYNC => list.lock().unwrap().push((op::FSYNC, 0)),
            _ => {}
        }
        Act::Serve
    });
    heard
}

#[test]
fn the_truth_table() {
    let peer = Peer::new(Kind::Strict);
    for row in 0..8 {
        peer.put(format!("row-{row}"), &content(row, LEN as usize));
    }
    let fs = peer.mount();
    let _tables = tables(&fs);
    let heard = listen(&peer);
    for row in 0..8_u64 {
        let (write, sync, dirty) = (row & 4 != 0, row & 2 != 0, row & 1 != 0);
        let file = fs.open(format!("row-{row}"), BOTH).unwrap();
        file.sync_all().unwrap();
        if dirty {
            // A file that grew, and has all its blocks.
            file.write_all_at(&[1; 4096], LEN).unwrap();
        }
        heard.lock().unwrap().clear();
        let fault = fault(&file, write, if sync { SyncMode::Persistent } else { SyncMode::None });
        let outcome = file.fault(&fault);
        let decided = match &outcome {
            FaultOutcome::Map(mapping) if mapping.writable => Action::InstallWritable,
            FaultOutcome::Map(_) => Action::InstallReadOnly,
            FaultOutcome::NeedsSync(_) => Action::NeedsSync,
            other => panic!("row {row}: {other:?}"),
        };
        assert_eq!(decided, Decision::of(write, sync, dirty).action, "write {write}, sync {sync}, dirty {dirty}");
        assert!(heard.lock().unwrap().is_empty(), "row {row}: a decision asked the server");
        let FaultOutcome::Map(mapping) = finish(&file, &fault, outcome) else { panic!("row {row}: no page") };
        assert_eq!((mapping.writable, mapping.page.size), (write, PageSize::Huge), "row {row}");
        drop(mapping);
        let fsyncs = if decided == Action::NeedsSync { vec![(op::FSYNC, 0)] } else { vec![] };
        assert_eq!(*heard.lock().unwrap(), fsyncs, "row {row}");
    }
    peer.finish(fs);
}

#[test]
fn blocks_that_a_fault_had_set_aside_are_made_durable_too() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let _tables = tables(&fs);
    for (name, mode) in [("persistent", SyncMode::Persistent), ("metadata", SyncMode::MetadataDurable)] {
        peer.put(name, b"");
        let file = fs.open(name, BOTH).unwrap();
        file.set_len(LEN).unwrap();
        // Durable, but for the blocks that it does not have.
        file.sync_all().unwrap();
        let heard = listen(&peer);
        let fault = fault(&file, true, mode);
        let FaultOutcome::Map(mapping) = finish(&file, &fault, file.fault(&fault)) else { panic!("{name}: no page") };
        assert!(mapping.writable);
        // From the begin of the 2 MiB, not from the byte that faulted; once; and before it is made durable.
        assert_eq!(*heard.lock().unwrap(), [(op::FALLOCATE, 2 << 20), (op::FSYNC, 0)], "{name}");
        drop((mapping, file));
    }
    peer.finish(fs);
}

/// What the host does to a file is metadata too, of which the driver learns by attributes.
#[test]
fn what_the_host_has_changed_is_made_durable() {
    let peer = Peer::new(Kind::Strict);
    let path = peer.put("file", &content(9, LEN as usize));
    let fs = peer.mount();
    let _tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    let host = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let store = fault(&file, true, SyncMode::Persistent);
    let stored = || {
        let heard = listen(&peer);
        let FaultOutcome::Map(mapping) = finish(&file, &store, file.fault(&store)) else { panic!("no page") };
        assert!(mapping.writable);
        drop(mapping);
        let heard = heard.lock().unwrap();
        heard.iter().filter(|(opcode, _)| *opcode == op::FSYNC).count()
    };
    file.sync_all().unwrap();
    assert_eq!(stored(), 0, "nothing has changed");
    host.set_len(LEN + 4096).unwrap();
    file.node().refresh_attr().unwrap();
    assert_eq!(stored(), 1, "it has grown");
    host.set_len(LEN).unwrap();
    file.node().refresh_attr().unwrap();
    assert_eq!(stored(), 1, "it was cut");
    // With no hole in it that would be a reason of its own.
    host.write_all_at(&[1; 4096], LEN).unwrap();
    file.node().refresh_attr().unwrap();
    assert_eq!(stored(), 1, "it has grown by what was written");
    assert_eq!(stored(), 0, "nothing has changed");
    drop(file);
    peer.finish(fs);
}
