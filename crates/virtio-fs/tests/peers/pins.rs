//! Pages that are pinned through the embedder's page tables, of which the driver knows only by asking.

use fs_dax::{FileRange, UnmapCause, Wanted};
use fuse_proto::FallocateMode;
use virtio_fs::{Error, HostRules, OpenOptions, VirtioFs};

use crate::faults::{BOTH, base, load, retries, store, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::peer::{Peer, on_both};

on_both! {
    pinned_pages_are_not_reclaimed,
    pinned_pages_are_not_cut_off,
    with_everything_pinned_a_fault_ends,
    a_view_of_one_page_bars_no_store,
    a_view_of_one_page_bars_no_growth,
    a_view_bars_cuts_of_its_own_bytes_only,
    a_pinned_page_bars_only_itself,
}

const MIB: u64 = 1 << 20;
const READ: OpenOptions = OpenOptions::new().read(true);

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

/// A mount on a host that cannot widen a mapping in its place, and nobody waits long for anybody.
fn mount_strict(peer: &Peer) -> VirtioFs {
    let config = peer.config().host(HostRules::STRICT).window_timeout(std::time::Duration::from_millis(300));
    peer.mount_with(config).unwrap()
}

/// What was set aside goes when there is need of it.
fn assert_none_stays_aside(fs: &VirtioFs, path: &str) {
    for _ in 0..2 {
        assert_eq!(fs.read(path).unwrap().len(), 16 << 20, "through all of the window");
    }
    let window = fs.stats().window.unwrap();
    assert_eq!((window.aside, window.holds, window.misuse), (0, 0, 0), "{window:?}");
}

fn a_view_of_one_page_bars_no_store(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let mut data = content(4, 2 << 20);
    peer.put("file", &data);
    peer.put("large", &content(5, 16 << 20));
    let fs = mount_strict(&peer);
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let (reader, writer) = (fs.open("file", READ).unwrap(), fs.open("file", BOTH).unwrap());
    let view = reader.map(0, 4096).unwrap();
    let seen = tables.touch(&reader, 8192, false, Wanted::Base).unwrap();
    for offset in [MIB, 0] {
        let page = tables.touch(&writer, offset, true, Wanted::Base).unwrap();
        store(&memory, &page, offset, &[7; 100]);
        data[offset as usize..][..100].fill(7);
    }
    assert_eq!(fs.stats().window.unwrap().aside, 1, "{:?}", fs.stats());
    let mut found = [0; 4096];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[..4096], "the view shows what others store to its page");
    assert_same(&load(&memory, &seen, 8192, 4096), &data[8192..][..4096], "and so do pages of its range");
    assert_same(&peer.get("file"), &data, "on the host");
    assert_eq!(writer.dirty_pages(), 2);
    writer.sync_all().unwrap();
    assert_eq!(writer.dirty_pages(), 0, "wherever the chunk is mapped");
    writer.map_mut(0, 4096).unwrap().store(0, &[8; 10]);
    assert_eq!(view.get(9), Some(8));
    drop((view, reader, writer));
    assert_none_stays_aside(&fs, "large");
    peer.finish(fs);
}

fn a_view_of_one_page_bars_no_growth(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let mut data = content(6, 1 << 20);
    peer.put("file", &data);
    peer.put("large", &content(5, 16 << 20));
    let fs = mount_strict(&peer);
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map_mut(0, 4096).unwrap();
    let grown = content(7, 1 << 16);
    file.write_all_at(&grown, MIB).unwrap();
    data.extend_from_slice(&grown);
    let page = tables.touch(&file, MIB + 4096, true, Wanted::Base).unwrap();
    assert_same(&load(&memory, &page, MIB + 4096, 4096), &data[MIB as usize + 4096..][..4096], "what is new");
    file.map(MIB, 4096).unwrap();
    view.store(0, &[9; 64]);
    data[..64].fill(9);
    assert_same(&fs.read("file").unwrap(), &data, "one file");
    file.sync_all().unwrap();
    // The view may go on storing after the write-back.
    view.store(64, &[9; 64]);
    data[64..128].fill(9);
    drop((view, file));
    assert_none_stays_aside(&fs, "large");
    assert_same(&peer.get("file"), &data, "on the host");
    peer.finish(fs);
}

fn a_view_bars_cuts_of_its_own_bytes_only(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(8, 2 << 20);
    peer.put("file", &data);
    peer.put("large", &content(5, 16 << 20));
    let fs = mount_strict(&peer);
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    let (view, other) = (file.map(0, 4096).unwrap(), file.map(MIB / 2, 4096).unwrap());
    tables.touch(&file, MIB + 8192, true, Wanted::Base).unwrap();
    file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, 8192, 4096).unwrap();
    file.set_len(MIB).unwrap();
    assert_eq!(errno(file.set_len(MIB / 2 + 1)), libc::EBUSY, "a byte in view");
    let mut left = data[..MIB as usize].to_vec();
    left[8192..][..4096].fill(0);
    assert_same(&peer.get("file"), &left, "nothing of it has happened");
    assert_eq!(tables.touch(&file, MIB + 8192, false, Wanted::Base), Err(fs_dax::Errno::ERANGE));
    drop(other);
    file.set_len(8192).unwrap();
    let mut found = [0; 4096];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[..4096], "in view all the time");
    let page = tables.touch(&file, 4096, true, Wanted::Base).unwrap();
    assert_same(&load(&memory, &page, 4096, 4096), &data[4096..8192], "what is left is mapped anew");
    assert_eq!(errno(file.set_len(0)), libc::EBUSY);
    drop(view);
    file.set_len(0).unwrap();
    drop(file);
    assert_none_stays_aside(&fs, "large");
    peer.finish(fs);
}

fn a_pinned_page_bars_only_itself(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(9, 2 << 20);
    peer.put("file", &data);
    peer.put("large", &content(5, 16 << 20));
    let fs = mount_strict(&peer);
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let (reader, file) = (fs.open("file", READ).unwrap(), fs.open("file", BOTH).unwrap());
    let pinned = tables.touch(&reader, 0, false, Wanted::Base).unwrap();
    tables.pinned.lock().unwrap().push((file.key(), pinned.range()));
    let page = tables.touch(&file, MIB, true, Wanted::Base).unwrap();
    store(&memory, &page, MIB, &[7; 8]);
    assert_same(&load(&memory, &pinned, 0, 4096), &data[..4096], "whoever has it pinned goes by its address");
    file.set_len(MIB / 2).unwrap();
    assert_same(&load(&memory, &pinned, 0, 4096), &data[..4096], "still");
    assert_eq!(errno(file.set_len(100)), libc::EBUSY);
    tables.pinned.lock().unwrap().clear();
    file.set_len(100).unwrap();
    drop((reader, file));
    assert_none_stays_aside(&fs, "large");
    peer.finish(fs);
}
