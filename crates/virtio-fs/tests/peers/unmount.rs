//! Unmounting while things are alive.

use std::time::Duration;

use fs_dax::Wanted;
use fuse_proto::{Errno, NodeId, ops};
use virtio_fs::{Error, OpenOptions};

use crate::faults::{load, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    with_files_and_directories_open,
    with_a_view_alive,
    twice,
    what_was_written_is_there,
    clones_are_the_same_file_system,
    with_a_page_pinned,
    with_a_page_pinned_among_many,
    by_force_with_a_view_alive,
    by_force_with_nothing_in_use,
}

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

fn with_files_and_directories_open(peer: Peer) {
    std::fs::create_dir(peer.path("folder")).unwrap();
    peer.put("folder/file", &content(1, 3 << 20));
    let fs = peer.mount();
    let file = fs.open("folder/file", BOTH).unwrap();
    let mut found = [0; 10];
    file.read_exact_at(&mut found, 1 << 20).unwrap();
    let node = fs.lookup("folder").unwrap();
    let mut listing = fs.read_dir("folder").unwrap();
    fs.unmount().unwrap();
    let unmounted = |error: Error| assert!(matches!(error, Error::Unmounted), "{error:?}");
    unmounted(file.read_at(&mut found, 0).unwrap_err());
    unmounted(file.write_at(b"x", 0).unwrap_err());
    unmounted(file.map(0, 1).unwrap_err());
    unmounted(file.set_len(0).unwrap_err());
    unmounted(node.attr().unwrap_err());
    unmounted(node.lookup("file").unwrap_err());
    unmounted(listing.next().expect("an error, not the end").unwrap_err());
    assert!(listing.next().is_none());
    unmounted(fs.read("folder/file").unwrap_err());
    unmounted(fs.root().unwrap_err());
    unmounted(fs.statfs().unwrap_err());
    unmounted(fs.unmount().unwrap_err());
    unmounted(file.close().unwrap_err());
    drop((node, listing, fs));
    peer.end();
}

#[test]
fn answers_that_nobody_looks_at_delay_nothing() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let root = || ops::Getattr { node: NodeId::ROOT, fh: None };
    let unread: Vec<_> = (0..4).map(|_| fs.submit(root()).unwrap()).collect();
    fs.unmount().unwrap();
    assert_eq!(peer.strict().ledger().count(op::DESTROY), 1, "the unmount waited until it had no time left");
    drop((unread, fs));
    peer.end();
}

fn with_a_view_alive(peer: Peer) {
    let data = content(1, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map(0, 4096).unwrap();
    let other = file.map(2 << 20, 4096).unwrap();
    let error = fs.unmount().unwrap_err();
    assert!(matches!(error, Error::Busy { maps: 2 }), "{error:?}");
    drop(other);
    assert!(matches!(fs.unmount().unwrap_err(), Error::Busy { maps: 1 }));
    let mut found = [0; 4096];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[..4096], "nothing has happened");
    assert_same(&fs.read("file").unwrap(), &data, "nothing has happened");
    drop(view);
    drop(file);
    peer.finish(fs);
}

fn twice(peer: Peer) {
    let fs = peer.mount();
    fs.unmount().unwrap();
    assert_eq!(fs.unmount().unwrap_err().errno(), Errno::ENODEV);
    drop(fs);
    peer.end();
}

fn what_was_written_is_there(peer: Peer) {
    let data = content(1, 5 << 20);
    let fs = peer.mount();
    fs.write("file", &data).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    file.write_all_at(b"through the window", 1 << 20).unwrap();
    fs.unmount().unwrap();
    let mut wanted = data;
    wanted[1 << 20..][..18].copy_from_slice(b"through the window");
    assert_same(&peer.get("file"), &wanted, "on the host");
    drop((file, fs));
    peer.end();
}

fn clones_are_the_same_file_system(peer: Peer) {
    peer.put("file", b"contents");
    let fs = peer.mount();
    let clone = fs.clone();
    drop(fs);
    assert_eq!(clone.read("file").unwrap(), b"contents");
    let last = clone.clone();
    clone.unmount().unwrap();
    assert!(matches!(last.read("file").unwrap_err(), Error::Unmounted));
    drop((clone, last));
    peer.end();
}

#[test]
fn with_a_request_in_flight() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"contents");
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().watch(|request| if request.opcode() == op::READ { Act::Hold } else { Act::Serve });
    let device = peer.strict();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut found = [0; 8];
            file.read_at(&mut found, 0).map(|count| (count, found))
        });
        while device.held() == 0 {
            std::thread::yield_now();
        }
        let unmount = scope.spawn(|| fs.unmount());
        while fs.statfs().is_ok() {
            std::thread::yield_now();
        }
        device.release(0);
        unmount.join().unwrap().expect("what is in flight is waited for");
        match reader.join().unwrap() {
            Ok((count, found)) => assert_eq!(&found[..count], b"contents"),
            Err(error) => assert!(matches!(error, Error::Unmounted), "{error:?}"),
        }
    });
    drop((file, fs));
    peer.end();
}

#[test]
fn with_a_request_that_is_never_answered() {
    let mut peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", b"contents");
    let config = peer.config().dax(false).request_timeout(Duration::from_millis(100));
    let fs = peer.mount_with(config).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().misbehave(|request| if request.opcode() == op::READ { Act::Hold } else { Act::Serve });
    let error = file.read_at(&mut [0; 8], 0).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    // The device is reset at the end, which takes the request's memory back from it.
    peer.leaks();
    let _ = fs.unmount();
    drop((file, fs));
    peer.end();
}

#[test]
fn whatever_the_server_says_to_the_end_it_has_ended() {
    for errno in [libc::ENOSYS, libc::EIO] {
        let peer = Peer::new(Kind::Strict);
        peer.put("file", b"contents");
        let fs = peer.mount();
        assert_eq!(fs.read("file").unwrap(), b"contents");
        peer.strict().misbehave(
            move |request| {
                if request.opcode() == op::DESTROY { Act::Refuse(errno) } else { Act::Serve }
            },
        );
        let resets = peer.strict().device().resets();
        fs.unmount().expect("the end");
        assert!(matches!(fs.read("file"), Err(Error::Unmounted)));
        assert!(peer.strict().device().resets() > resets);
        drop(fs);
        peer.end();
    }
}

fn with_a_page_pinned(peer: Peer) {
    let data = content(1, 6 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    tables.touch(&file, 0, false, Wanted::Base).unwrap();
    let page = tables.touch(&file, 4 << 20, true, Wanted::Base).unwrap();
    tables.pinned.lock().unwrap().push((file.key(), page.range()));
    let before = fs.stats();
    for _ in 0..2 {
        assert_eq!(fs.unmount().unwrap_err().errno(), Errno::EBUSY);
        assert_same(&load(&window, &page, 4 << 20, 4096), &data[4 << 20..][..4096], "what is pinned is there");
        assert_eq!(fs.stats().requests, before.requests, "nothing is sent before it is certain that nothing is pinned");
    }
    tables.touch(&file, 2 << 20, true, Wanted::Base).expect("faults are answered");
    assert_same(&fs.read("file").unwrap(), &data, "reads are");
    file.write_all_at(b"x", 0).unwrap();
    file.map(0, 1).expect("views are given");
    tables.pinned.lock().unwrap().clear();
    drop(file);
    peer.finish(fs);
}

fn with_a_page_pinned_among_many(peer: Peer) {
    // More ranges than one removal has: none of them goes before all pins are known.
    const RANGES: u64 = 260;
    let peer = peer.with_window(Some(RANGES << 21));
    let path = peer.put("file", b"");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(RANGES << 21).unwrap();
    let fs = peer.mount_with(peer.config().read_ahead(false)).unwrap();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    for range in 0..RANGES {
        tables.touch(&file, range << 21, false, Wanted::Base).unwrap();
    }
    let page = tables.touch(&file, (RANGES - 1) << 21, false, Wanted::Base).unwrap();
    tables.pinned.lock().unwrap().push((file.key(), page.range()));
    let before = fs.stats();
    assert_eq!(fs.unmount().unwrap_err().errno(), Errno::EBUSY);
    assert_eq!(fs.stats().requests, before.requests, "nothing is removed");
    tables.pinned.lock().unwrap().clear();
    drop(file);
    peer.finish(fs);
}

fn by_force_with_a_view_alive(peer: Peer) {
    let data = content(2, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    tables.touch(&file, 2 << 20, false, Wanted::Base).unwrap();
    let view = file.map(0, 4096).unwrap();
    let error = fs.force_unmount().unwrap_err();
    assert!(matches!(error, Error::Busy { maps: 1 }), "{error:?}");
    assert!(tables.entries.lock().unwrap().is_empty(), "pages go");
    assert!(matches!(file.read_at(&mut [0; 10], 0), Err(Error::Unmounted)));
    assert!(matches!(fs.read("file"), Err(Error::Unmounted)));
    assert!(matches!(fs.unmount(), Err(Error::Unmounted)));
    assert!(matches!(fs.force_unmount(), Err(Error::Unmounted)));
    drop((file, fs));
    let mut found = [0; 4096];
    view.copy_to(0, &mut found);
    assert_same(&found, &data[..4096], "a view keeps its memory");
    // With the last handle the session ends.
    drop(view);
    peer.end();
}

fn by_force_with_nothing_in_use(peer: Peer) {
    peer.put("file", &content(3, 3 << 20));
    let fs = peer.mount();
    fs.read("file").unwrap();
    let file = fs.open("file", BOTH).unwrap();
    fs.force_unmount().unwrap();
    assert!(matches!(file.read_at(&mut [0; 10], 0), Err(Error::Unmounted)));
    drop((file, fs));
    peer.end();
}
