//! Copies on the host: nobody is in the destination meanwhile, nor before a late answer is known, and blocks of the source that may
//! be shared now are not durable.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use fs_dax::{FaultOutcome, Sharing, SyncMode, Wanted};
use virtio_fs::{Config, Error};

use crate::faults::{BOTH, base, load, retries, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;
use crate::sync_faults::{settle, store};

const PAGE: u64 = 4096;
const MIB: usize = 1 << 20;

/// With two files of 1 and 2 MiB, `to` and `from`.
fn with_files(peer: Peer) -> Peer {
    let peer = peer.with_window(Some(8 << 20));
    peer.put("from", &content(1, 2 * MIB));
    peer.put("to", &content(2, MIB));
    peer
}

fn config(peer: &Peer) -> Config {
    peer.config().window_timeout(Duration::from_secs(1)).max_timeouts(u32::MAX)
}

/// What a host does with a copy of the first `len` bytes, and what its server answers.
fn copied(peer: &Peer, len: usize) -> Vec<u8> {
    let to = std::fs::OpenOptions::new().write(true).open(peer.path("to")).unwrap();
    to.write_all_at(&peer.get("from")[..len], 0).unwrap();
    [(len as u32).to_le_bytes(), [0; 4]].concat()
}

fn keep(request: &crate::rig::ledger::Request) -> Act {
    if request.opcode() == op::COPY_FILE_RANGE { Act::Hold } else { Act::Serve }
}

#[test]
fn nobody_is_in_the_destination_of_a_copy() {
    let peer = with_files(Peer::new(Kind::Strict).with_still_clock());
    let fs = peer.mount_with(config(&peer)).unwrap();
    let tables = tables(&fs);
    let (from, to) = (fs.open("from", BOTH).unwrap(), fs.open("to", BOTH).unwrap());
    tables.touch(&to, 3 * PAGE, true, Wanted::Base).unwrap();
    tables.touch(&from, 3 * PAGE, true, Wanted::Base).unwrap();
    tables.touch(&from, MIB as u64, true, Wanted::Base).unwrap();
    peer.strict().watch(keep);
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| from.copy_range(0, &to, 0, MIB as u64));
        while peer.strict().held() == 0 {
            std::thread::yield_now();
        }
        let entry = |file, at, write| tables.walk(base(file) + at, write).is_some();
        let destination = entry(&to, 3 * PAGE, false);
        let source = [entry(&from, 3 * PAGE, false), entry(&from, 3 * PAGE, true), entry(&from, MIB as u64, true)];
        let faulting = scope.spawn(|| retries(&to, 3 * PAGE));
        while !faulting.is_finished() {
            peer.clock().advance(Duration::from_millis(100));
            std::thread::yield_now();
        }
        peer.strict().behave();
        peer.strict().invent(0, copied(&peer, MIB));
        assert_eq!(copying.join().unwrap().unwrap(), MIB as u64);
        assert!(!destination, "a page that may become a hole");
        assert_eq!(source, [true, false, true], "stores to what is copied, of which blocks may be shared, fault again");
        assert!(faulting.join().unwrap(), "a fault during a copy is tried again");
    });
    let page = tables.touch(&to, 3 * PAGE, true, Wanted::Base).expect("afterwards");
    let window = peer.window().unwrap();
    assert_same(&load(window, &page, 3 * PAGE, 100), &content(1, 2 * MIB)[3 * PAGE as usize..][..100], "the copy");
    assert_same(&fs.read("to").unwrap(), &content(1, 2 * MIB)[..MIB], "the copy");
    drop((from, to));
    peer.finish(fs);
}

#[test]
fn a_copy_that_is_given_up_keeps_its_bytes_frozen() {
    for refused in [false, true] {
        let peer = with_files(Peer::new(Kind::Strict).with_skipping_clock());
        let fs = peer.mount_with(config(&peer)).unwrap();
        let (from, to) = (fs.open("from", BOTH).unwrap(), fs.open("to", BOTH).unwrap());
        drop(to.map(0, MIB).unwrap());
        peer.strict().watch(keep);
        let error = from.copy_range(0, &to, 0, 2 * MIB as u64).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(to.map(0, 1).is_err(), "a view of bytes that may become a hole");
        assert!(retries(&to, 0), "a page of bytes that may become a hole");
        assert_same(&fs.read("to").unwrap(), &content(2, MIB), "requests see the file as it is");
        drop(from.map(0, MIB).expect("the source stays as it is"));
        let wanted = if refused { content(2, MIB) } else { content(1, 2 * MIB) };
        if refused {
            peer.strict().refuse(0, libc::EIO);
        } else {
            peer.strict().invent(0, copied(&peer, 2 * MIB));
        }
        assert_eq!(to.len().unwrap(), wanted.len() as u64, "the answer is known");
        let view = to.map(0, MIB).expect("nothing is frozen any more");
        let mut found = vec![0; MIB];
        view.copy_to(0, &mut found);
        assert_same(&found, &wanted[..MIB], "afterwards");
        assert_same(&fs.read("to").unwrap(), &wanted, "afterwards");
        drop(view);
        drop((from, to));
        peer.finish(fs);
    }
}

#[test]
fn what_is_copied_is_not_durable_any_more() {
    let peer = with_files(Peer::new(Kind::Strict).with_skipping_clock());
    let fs = peer.mount_with(config(&peer)).unwrap();
    let (from, to) = (fs.open("from", BOTH).unwrap(), fs.open("to", BOTH).unwrap());
    let fault = store(0, Sharing::Shared, SyncMode::Persistent);
    assert_eq!(settle(&from, &fault), Ok((0, 1)));
    assert_eq!(settle(&from, &fault), Ok((0, 0)));
    let answer = copied(&peer, MIB);
    peer.strict().watch(move |request| match request.opcode() {
        op::COPY_FILE_RANGE => Act::Invent(answer.clone()),
        _ => Act::Serve,
    });
    assert_eq!(from.copy_range(0, &to, 0, MIB as u64).unwrap(), MIB as u64);
    assert_eq!(settle(&from, &fault), Ok((0, 1)), "the host may move its blocks with the next store");
    assert_eq!(settle(&from, &fault), Ok((0, 0)));
    // One that is given up may be carried out after any FSYNC.
    peer.strict().watch(keep);
    from.copy_range(0, &to, 0, MIB as u64).unwrap_err();
    let synced_in_vain = || {
        let FaultOutcome::NeedsSync(sync) = from.fault(&fault) else { panic!("durable blocks") };
        let outcome = from.finish_sync(&fault, sync);
        assert!(matches!(outcome, FaultOutcome::Retry), "{outcome:?}");
    };
    synced_in_vain();
    synced_in_vain();
    peer.strict().refuse(0, libc::EIO);
    // The late answer is seen by the one that it is in the way of.
    synced_in_vain();
    assert_eq!(settle(&from, &fault), Ok((0, 1)));
    drop((from, to));
    peer.finish(fs);
}
