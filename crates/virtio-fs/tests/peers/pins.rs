//! Pages that are pinned through the embedder's page tables, of which the driver knows only by asking.

use fs_dax::{FileRange, UnmapCause, Wanted};
use fuse_proto::FallocateMode;
use virtio_fs::Error;

use crate::faults::{BOTH, base, load, retries, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::peer::{Peer, on_both};

on_both! {
    pinned_pages_are_not_reclaimed,
    pinned_pages_are_not_cut_off,
    with_everything_pinned_a_fault_ends,
}

const MIB: u64 = 1 << 20;

fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |error| error.errno().number())
}

fn pinned_pages_are_not_reclaimed(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(1, 32 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    let at = 6 * MIB + 4096;
    let pinned = tables.touch(&file, at, false, Wanted::Base).unwrap();
    tables.pinned.lock().unwrap().push((file.key(), pinned.range()));
    for pass in 0..3 {
        for offset in (0..32 * MIB).step_by(1 << 20) {
            let page = tables.touch(&file, offset, false, Wanted::Base).unwrap();
            assert_same(&load(&window, &page, offset, 4096), &data[offset as usize..][..4096], offset);
            // Whoever has it pinned goes by its address, whatever the page tables say.
            assert_same(&load(&window, &pinned, at, 4096), &data[at as usize..][..4096], format!("pass {pass}"));
        }
    }
    let again = tables.touch(&file, at, false, Wanted::Base).unwrap();
    assert_eq!(again.phys, pinned.phys, "the pinned page has moved");
    let removed = fs.stats().removed_mappings;
    assert!(removed > 8, "only {removed} ranges were reclaimed");
    assert!(!fs.stats().window.unwrap().removals_aborted.eq(&0), "the pinned range was never the next one to go");
    tables.pinned.lock().unwrap().clear();
    drop(file);
    peer.finish(fs);
}

fn pinned_pages_are_not_cut_off(peer: Peer) {
    let data = content(2, 6 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    let page = tables.touch(&file, 4 * MIB, true, Wanted::Base).unwrap();
    let pin = |bytes: FileRange| *tables.pinned.lock().unwrap() = vec![(file.key(), bytes)];
    let cut = || errno(file.set_len(2 * MIB));
    let punch = |offset| errno(file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, offset, 4096));
    pin(page.range());
    assert_eq!(cut(), libc::EBUSY);
    assert_eq!(punch(4 * MIB), libc::EBUSY);
    assert_eq!(errno(fs.open("file", BOTH.truncate(true))), libc::EBUSY);
    assert_same(&peer.get("file"), &data, "nothing of it has happened");
    let copies = tables.causes.lock().unwrap().iter().any(|cause| cause.takes_private_copies());
    assert!(!copies, "private copies of bytes that are still there");
    assert!(tables.walk(base(&file) + 4 * MIB, false).is_none(), "unmapped, pinned or not");
    tables.touch(&file, 4 * MIB, false, Wanted::Base).expect("and may fault in again");
    // Where nothing is pinned nothing waits.
    assert_eq!(punch(5 * MIB), 0);
    pin(FileRange::new(0, 4096).unwrap());
    assert_eq!(cut(), 0);
    assert_eq!(tables.causes.lock().unwrap().last(), Some(&UnmapCause::Truncate), "private copies go with the bytes");
    assert_eq!(peer.get("file").len() as u64, 2 * MIB);
    tables.pinned.lock().unwrap().clear();
    drop(file);
    peer.finish(fs);
}

fn with_everything_pinned_a_fault_ends(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    peer.put("file", &content(3, 16 << 20));
    let config = peer.config().window_timeout(std::time::Duration::from_millis(300));
    let fs = peer.mount_with(config).unwrap();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    tables.pinned.lock().unwrap().push((file.key(), FileRange::ALL));
    for offset in (0..8 * MIB).step_by(2 << 20) {
        tables.touch(&file, offset, false, Wanted::Base).unwrap();
    }
    assert!(retries(&file, 10 * MIB), "no bus error: pins are let go");
    // A read goes another way.
    file.read_exact_at(&mut [0; 4096], 12 * MIB).unwrap();
    tables.pinned.lock().unwrap().clear();
    tables.touch(&file, 10 * MIB, false, Wanted::Base).unwrap();
    drop(file);
    peer.finish(fs);
}
