//! Mapped reads and writes, seen on both sides.

use fuse_proto::Errno;
use virtio_fs::{MapMut, OpenOptions, TailMapping, WindowAccess};

use crate::rig::HANGS;
use crate::rig::content::{assert_same, content, poke};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};

on_both! {
    a_mapped_file_is_read_without_requests,
    what_the_host_writes_is_seen_at_once,
    what_the_driver_stores_the_host_sees_at_once,
    a_view_is_the_page_cache_itself,
    views_end_where_they_must,
    a_view_of_a_file_for_reading_cannot_be_written,
    a_file_read_first_can_be_written_later,
    two_files_at_the_same_offset,
    a_view_holds_off_truncation,
    a_window_that_can_only_be_copied,
    a_large_file_through_a_large_view,
}

const READ: OpenOptions = OpenOptions::new().read(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

fn a_mapped_file_is_read_without_requests(peer: Peer) {
    let data = content(1, 8 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    let before = fs.stats();
    assert_eq!(before.request_read_bytes, 0, "{before:?}");
    for at in (0..data.len()).step_by(70_001) {
        let len = 100_000.min(data.len() - at);
        file.read_exact_at(&mut found[..len], at as u64).unwrap();
        assert_same(&found[..len], &data[at..at + len], at);
    }
    let after = fs.stats();
    assert_eq!(after.requests, before.requests, "a hit costs no request");
    assert_eq!(after.setup_mappings, before.setup_mappings);
    if let Some(strict) = peer.if_strict() {
        assert_eq!(strict.ledger().count(op::READ), 0);
        assert_eq!(strict.ledger().count(op::SETUPMAPPING), 4);
    }
    drop(file);
    peer.finish(fs);
}

fn what_the_host_writes_is_seen_at_once(peer: Peer) {
    let mut data = content(1, 4 << 20);
    let path = peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    let before = fs.stats().requests;
    for at in [4096, (2 << 20) - 100, 3_000_001] {
        let new = content(at as u64, 8192);
        poke(&path, at as u64, &new);
        data[at..at + 8192].copy_from_slice(&new);
        file.read_exact_at(&mut found, 0).unwrap();
        assert_same(&found, &data, at);
    }
    assert_eq!(fs.stats().requests, before);
    drop(file);
    peer.finish(fs);
}

fn what_the_driver_stores_the_host_sees_at_once(peer: Peer) {
    let mut data = content(1, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    for at in [123_456, (2 << 20) - 100, (4 << 20) - 8192] {
        let new = content(at as u64, 8192);
        file.write_all_at(&new, at as u64).unwrap();
        data[at..at + 8192].copy_from_slice(&new);
        assert_same(&peer.get("file"), &data, at);
    }
    let stats = fs.stats();
    assert_eq!((stats.request_write_bytes, stats.dax_write_bytes), (0, 3 * 8192), "{stats:?}");
    if let Some(strict) = peer.if_strict() {
        assert_eq!(strict.ledger().count(op::WRITE), 0);
    }
    file.sync_data().unwrap();
    drop(file);
    peer.finish(fs);
}

fn a_view_is_the_page_cache_itself(peer: Peer) {
    let data = content(1, 6 << 20);
    let path = peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map_mut(3 << 20, 65536).unwrap();
    assert_eq!(view.len(), 65536);
    assert!(!view.is_empty());
    let place = view.phys_addr() - peer.window().unwrap().address;
    assert!(place + 65536 <= peer.window().unwrap().len);
    let at = 3 << 20;
    let bytes: Vec<_> = view.iter().collect();
    assert_same(&bytes, &data[at..at + 65536], "the view");
    let words: Vec<_> = view.words().flat_map(u64::to_ne_bytes).collect();
    assert_same(&words, &data[at..at + 65536], "its words");
    let before = fs.stats().requests;
    poke(&path, at as u64, b"HOSTPOKE");
    let mut found = [0; 8];
    assert_eq!(view.copy_to(0, &mut found), 8);
    assert_eq!(&found, b"HOSTPOKE");
    assert_eq!(view.store(4096, b"GUESTPOK"), 8);
    assert_eq!(&peer.get("file")[at + 4096..at + 4104], b"GUESTPOK");
    assert_eq!(fs.stats().requests, before);
    assert_eq!(view.copy_to(65530, &mut found), 6, "to the end of the view");
    assert_eq!(view.store(65536, b"x"), 0);
    assert_eq!(view.copy_to(usize::MAX, &mut found), 0);
    shared_memory_views(&view, &peer, at);
    assert_eq!(fs.stats().requests, before);
    drop((view, file));
    peer.finish(fs);
}

/// The same bytes as the view that all DAX file systems give.
fn shared_memory_views(mapped: &MapMut, peer: &Peer, at: usize) {
    let view = mapped.writable_view().unwrap();
    assert_eq!((view.len(), view.phys().map(|phys| phys.0)), (mapped.len(), Some(mapped.phys_addr())));
    assert_eq!(view.as_ptr(), mapped.as_ptr().as_ptr().cast_const());
    view.write(8192, b"VIEWPOKE").unwrap();
    assert_eq!(&peer.get("file")[at + 8192..at + 8200], b"VIEWPOKE");
    let word = mapped.view().unwrap().load_u64(8192).unwrap();
    assert_eq!(word.to_le_bytes(), *b"VIEWPOKE");
    view.write(65530, b"past the end").unwrap_err();
}

fn views_end_where_they_must(peer: Peer) {
    let size = (2 << 20) + 4096 + 777;
    let data = content(1, size);
    peer.put("file", &data);
    peer.put("small", b"no whole page");
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    for (offset, len, wanted) in [
        (0, 100, 100),
        (0, 16 << 20, 2 << 20),
        ((2 << 20) - 10, 100, 10),
        (2 << 20, 1 << 20, 4096),
        ((2 << 20) + 4095, 100, 1),
    ] {
        let view = file.map(offset, len).unwrap();
        assert_eq!(view.len(), wanted, "{len} bytes at {offset:#x}");
        let mut found = vec![0; wanted];
        view.copy_to(0, &mut found);
        assert_same(&found, &data[offset as usize..offset as usize + wanted], offset);
    }
    for offset in [(2 << 20) + 4096, size as u64, 1 << 40, u64::MAX] {
        assert_eq!(file.map(offset, 1).unwrap_err().errno(), Errno::ENXIO, "{offset:#x}");
    }
    let small = fs.open("small", READ).unwrap();
    assert_eq!(small.map(0, 1).unwrap_err().errno(), Errno::ENXIO);
    drop((file, small));
    fs.unmount().unwrap();
    drop(fs);

    // On a host that maps the last, partial page, a view goes to the end of the file.
    let fs = peer.mount_with(peer.config().tail(TailMapping::PartialPage)).unwrap();
    let file = fs.open("file", READ).unwrap();
    let view = file.map(2 << 20, 1 << 20).unwrap();
    assert_eq!(view.len(), 4096 + 777);
    let mut found = vec![0; 4096 + 777];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[2 << 20..], "the tail");
    drop((view, file));
    peer.finish(fs);
}

fn a_view_of_a_file_for_reading_cannot_be_written(peer: Peer) {
    let data = content(1, 2 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    // What such a file has is a view that has no stores.
    let view = file.map(0, 4096).unwrap();
    assert_eq!(file.map_mut(0, 4096).unwrap_err().errno(), Errno::EBADF);
    assert_same(&peer.get("file"), &data, "unchanged");
    drop((view, file));
    peer.finish(fs);
}

fn a_file_read_first_can_be_written_later(peer: Peer) {
    let mut data = content(1, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let reader = fs.open("file", READ).unwrap();
    let view = reader.map(0, 4096).unwrap();
    let writer = fs.open("file", BOTH).unwrap();
    // The first range is in view, for reading only; the second is free to be changed.
    for at in [100, (2 << 20) + 100] {
        writer.write_all_at(b"upgraded", at as u64).unwrap();
        data[at..at + 8].copy_from_slice(b"upgraded");
        assert_same(&peer.get("file"), &data, at);
    }
    let mut found = [0; 8];
    view.copy_to(100, &mut found);
    assert_eq!(&found, b"upgraded", "the old view still shows the file");
    drop(view);
    writer.write_all_at(b"once more", 100).unwrap();
    data[100..109].copy_from_slice(b"once more");
    assert_same(&peer.get("file"), &data, "after the view is gone");
    assert_same(&fs.read("file").unwrap(), &data, "by the driver");
    drop((reader, writer));
    peer.finish(fs);
}

fn two_files_at_the_same_offset(peer: Peer) {
    let (one, two) = (content(1, 4 << 20), content(2, 4 << 20));
    peer.put("one", &one);
    peer.put("two", &two);
    let fs = peer.mount();
    let (a, b) = (fs.open("one", BOTH).unwrap(), fs.open("two", BOTH).unwrap());
    let mut found = vec![0; 1 << 20];
    for at in (0..4).map(|index| index << 20) {
        a.read_exact_at(&mut found, at).unwrap();
        assert_same(&found, &one[at as usize..][..1 << 20], "one");
        b.read_exact_at(&mut found, at).unwrap();
        assert_same(&found, &two[at as usize..][..1 << 20], "two");
    }
    a.write_all_at(&two, 0).unwrap();
    assert_same(&peer.get("one"), &two, "written");
    assert_same(&peer.get("two"), &two, "untouched");
    drop((a, b));
    peer.finish(fs);
}

fn a_view_holds_off_truncation(peer: Peer) {
    use std::time::Duration;
    let data = content(1, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().window_timeout(Duration::ZERO)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map(3 << 20, 4096).unwrap();
    let error = file.set_len(1 << 20).unwrap_err();
    assert_eq!(error.errno(), Errno::EBUSY, "a view's bytes cannot be cut from under it");
    assert_eq!(peer.get("file").len(), 4 << 20);
    let mut found = [0; 16];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[3 << 20..][..16], "still in view");
    drop(view);
    drop(file);
    fs.unmount().unwrap();
    drop(fs);

    // With patience it waits for the view.
    let fs = peer.mount_with(peer.config().window_timeout(HANGS)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map(3 << 20, 4096).unwrap();
    std::thread::scope(|scope| {
        let cut = scope.spawn(|| file.set_len(1 << 20));
        while fs.stats().window_waits == 0 {
            std::thread::yield_now();
        }
        drop(view);
        cut.join().unwrap().expect("the view went in time");
    });
    assert_same(&peer.get("file"), &data[..1 << 20], "cut");
    drop(file);
    peer.finish(fs);
}

fn a_window_that_can_only_be_copied(peer: Peer) {
    let peer = peer.with_access(WindowAccess::CopiesOnly);
    let data = content(1, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "copies");
    file.write_all_at(b"copied in", 1 << 20).unwrap();
    assert_eq!(&peer.get("file")[1 << 20..][..9], b"copied in");
    assert!(fs.stats().dax_read_bytes > 0 && fs.stats().dax_write_bytes > 0);
    assert_eq!(file.map(0, 1).unwrap_err().errno(), Errno::EOPNOTSUPP);
    drop(file);
    peer.finish(fs);
}

fn a_large_file_through_a_large_view(peer: Peer) {
    let data = content(1, 16 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    let mut views = Vec::new();
    for at in (0..data.len()).step_by(2 << 20) {
        views.push(file.map(at as u64, 2 << 20).unwrap());
    }
    let mut found = Vec::new();
    for view in &views {
        found.extend(view.iter());
    }
    assert_same(&found, &data, "eight views");
    drop((views, file));
    peer.finish(fs);
}

#[test]
fn an_empty_file_is_never_mapped() {
    // A stock QEMU would enlarge it.
    let peer = Peer::new(Kind::Strict);
    peer.put("empty", b"");
    let fs = peer.mount();
    let file = fs.open("empty", BOTH).unwrap();
    assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 0);
    file.map(0, 4096).unwrap_err();
    file.write_all_at(b"not empty", 0).unwrap();
    assert_eq!(peer.get("empty"), b"not empty");
    assert_eq!(peer.strict().ledger().count(op::SETUPMAPPING), 0);
    drop(file);
    peer.finish(fs);
}
