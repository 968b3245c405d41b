//! Files without a name live as long as somebody holds them, and no longer: the host gets their space back.

use std::path::Path;
use std::time::Instant;

use virtio_fs::{OpenOptions, VirtioFs};

use crate::rig::HANGS;
use crate::rig::content::{assert_same, content};
use crate::rig::disk::SmallDisk;
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    a_removed_file_is_given_up_with_the_last_handle,
    a_removed_file_is_given_up_with_the_last_view,
    a_replaced_file_is_given_up,
    a_removed_folder_is_given_up_with_its_listing,
    a_file_with_another_name_is_kept,
    the_room_on_a_small_disk_comes_back,
}

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

/// What this process, in which the servers are, still has of files below `folder` that have no name: open or mapped.
fn remains(folder: &Path) -> Vec<String> {
    let deleted = |line: &str| line.contains(folder.to_str().expect("UTF-8")) && line.ends_with("(deleted)");
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    open.chain(maps.lines().map(String::from)).filter(|line| deleted(line)).collect()
}

/// Waits until nothing is left of files without a name. Nobody polls, nobody unmounts.
#[track_caller]
fn nothing_remains(peer: &Peer) {
    let deadline = Instant::now() + HANGS;
    loop {
        let found = remains(peer.folder());
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
        std::thread::yield_now();
    }
}

fn a_removed_file_is_given_up_with_the_last_handle(peer: Peer) {
    let data = content(1, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let node = fs.lookup("file").unwrap();
    let (file, other) = (fs.open("file", BOTH).unwrap(), fs.open("file", BOTH).unwrap());
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    fs.remove_file("file").unwrap();
    assert!(!remains(peer.folder()).is_empty());
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "without a name");
    drop(file);
    other.read_exact_at(&mut found, 0).unwrap();
    drop(other);
    assert_eq!(node.refresh_attr().unwrap().nlink, 0);
    drop(node);
    nothing_remains(&peer);
    peer.finish(fs);
}

fn a_removed_file_is_given_up_with_the_last_view(peer: Peer) {
    let data = content(2, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let views = [file.map(0, 4096).unwrap(), file.map(2 << 20, 4096).unwrap()];
    drop(file);
    fs.remove_file("file").unwrap();
    assert_eq!(fs.stats().window_waits, 0, "nobody waits for a view");
    for (view, at) in views.into_iter().zip([0, 2 << 20]) {
        let mut found = [0; 4096];
        view.copy_to(0, &mut found);
        assert_same(&found, &data[at..at + 4096], "in view");
    }
    nothing_remains(&peer);
    assert_eq!(fs.stats().window_waits, 0);
    peer.finish(fs);
}

fn a_replaced_file_is_given_up(peer: Peer) {
    peer.put("old", &content(3, 3 << 20));
    peer.put("new", b"new");
    let fs = peer.mount();
    let file = fs.open("old", BOTH).unwrap();
    let view = file.map(0, 1).unwrap();
    fs.rename("new", "old").unwrap();
    drop((file, view));
    nothing_remains(&peer);
    assert_eq!(fs.read("old").unwrap(), b"new");
    peer.finish(fs);
}

fn a_removed_folder_is_given_up_with_its_listing(peer: Peer) {
    std::fs::create_dir(peer.path("folder")).unwrap();
    let fs = peer.mount();
    let listing = fs.read_dir("folder").unwrap();
    fs.remove_dir("folder").unwrap();
    assert!(!remains(peer.folder()).is_empty());
    drop(listing);
    nothing_remains(&peer);
    peer.finish(fs);
}

fn a_file_with_another_name_is_kept(peer: Peer) {
    let data = content(5, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    fs.hard_link("file", "other").unwrap();
    let file = fs.open("file", BOTH).unwrap();
    fs.remove_file("file").unwrap();
    let before = fs.stats().forgets;
    drop(file);
    assert_same(&fs.read("other").unwrap(), &data, "by its other name");
    assert_eq!(fs.stats().forgets, before, "what has a name stays known");
    peer.finish(fs);
}

fn fill(fs: &VirtioFs, name: &str) {
    let data = content(6, 1 << 20);
    let file = fs.open(name, BOTH.create(true)).unwrap();
    let mut at = 0;
    while let Ok(count @ 1..) = file.write_at(&data, at) {
        at += count as u64;
    }
    file.read_exact_at(&mut [0; 4096], 1 << 20).unwrap();
    assert_eq!(fs.statfs().unwrap().bfree, 0);
}

fn the_room_on_a_small_disk_comes_back(peer: Peer) {
    let Some(disk) = SmallDisk::new(8 << 20) else { return peer.end() };
    let peer = peer.with_folder(disk.path());
    let fs = peer.mount();
    for _ in 0..3 {
        fill(&fs, "file");
        let file = fs.open("file", BOTH).unwrap();
        let view = file.map(0, 1).unwrap();
        fs.remove_file("file").unwrap();
        assert_eq!(fs.statfs().unwrap().bfree, 0, "it is still in use");
        drop((view, file));
        let deadline = Instant::now() + HANGS;
        while fs.statfs().unwrap().bfree < 2000 {
            assert!(Instant::now() < deadline, "{:?}", fs.statfs());
            std::thread::yield_now();
        }
    }
    peer.finish(fs);
}

#[test]
fn a_server_that_knows_files_by_name_only() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(7, 3 << 20));
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let view = file.map(0, 1).unwrap();
    peer.strict().watch(|request| if request.opcode() == op::GETATTR { Act::Refuse(libc::ENOENT) } else { Act::Serve });
    fs.remove_file("file").unwrap();
    drop((file, view));
    nothing_remains(&peer);
    assert_eq!(peer.strict().ledger().held(), (0, 0));
    assert!(peer.strict().ledger().mappings.is_empty());
    peer.strict().behave();
    peer.finish(fs);
}
