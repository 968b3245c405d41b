//! What the server counts for the driver goes back to zero, and stays small meanwhile.

use virtio_fs::{Config, OpenOptions};

use crate::rig::content::content;
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};

/// Every test with our own device checks at its end that all look-ups are forgotten and all handles released. These look
/// at it in between.
fn tree(peer: &Peer, folders: usize, files: usize) {
    for folder in 0..folders {
        std::fs::create_dir(peer.path(format!("folder-{folder}"))).unwrap();
        for file in 0..files {
            peer.put(format!("folder-{folder}/file-{file}"), &content(1, 10));
        }
    }
}

fn walk(fs: &virtio_fs::VirtioFs, plus: bool) -> usize {
    let mut seen = 0;
    for folder in fs.read_dir("/").unwrap() {
        let folder = folder.unwrap().name;
        let mut listing = fs.read_dir(&folder).unwrap();
        if plus {
            listing = listing.with_attributes();
        }
        for entry in listing {
            let path = [&folder[..], b"/", &entry.unwrap().name].concat();
            fs.attr(&path).unwrap();
            seen += 1;
        }
    }
    seen
}

#[test]
fn inodes_are_kept_within_the_limit() {
    let peer = Peer::new(Kind::Strict);
    tree(&peer, 10, 50);
    let fs = peer.mount_with(Config { max_inodes: 32, max_entries: 64, ..peer.config() }).unwrap();
    for plus in [false, true] {
        assert_eq!(walk(&fs, plus), 500);
        // FORGETs are under way for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let (nodes, handles) = peer.strict().ledger().held();
            if nodes <= 80 && handles == 0 {
                break;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{nodes} inodes are held, the limit is 32; {handles} handles"
            );
            std::thread::yield_now();
        }
    }
    assert!(fs.stats().forgets >= 900, "{:?}", fs.stats());
    peer.finish(fs);
}

#[test]
fn forgets_come_in_batches() {
    let peer = Peer::new(Kind::Strict);
    tree(&peer, 4, 100);
    let fs = peer.mount();
    walk(&fs, true);
    let (nodes, _) = peer.strict().ledger().held();
    assert!(nodes >= 400);
    fs.unmount().unwrap();
    let ledger = peer.strict().ledger();
    let requests = ledger.count(op::FORGET) + ledger.count(op::BATCH_FORGET);
    drop(ledger);
    assert!(requests <= 40, "{requests} requests to forget {nodes} inodes");
    drop(fs);
    peer.end();
}

#[test]
fn what_the_caller_holds_is_not_forgotten() {
    let peer = Peer::new(Kind::Strict);
    tree(&peer, 4, 50);
    let fs = peer.mount_with(Config { max_inodes: 4, max_entries: 4, ..peer.config() }).unwrap();
    let nodes: Vec<_> = (0..50).map(|file| fs.lookup(format!("folder-0/file-{file}")).unwrap()).collect();
    let file = fs.open("folder-1/file-7", OpenOptions::new().read(true)).unwrap();
    walk(&fs, true);
    for node in &nodes {
        assert_eq!(node.refresh_attr().unwrap().size, 10);
    }
    assert_eq!(file.read_at(&mut [0; 20], 0).unwrap(), 10);
    drop((nodes, file));
    peer.finish(fs);
}

#[test]
fn an_inode_that_was_forgotten_is_looked_up_again() {
    let peer = Peer::new(Kind::Strict);
    tree(&peer, 1, 50);
    let fs = peer.mount_with(Config { max_inodes: 1, max_entries: 1, ..peer.config() }).unwrap();
    for round in 0..3 {
        for file in 0..50 {
            assert_eq!(fs.read(format!("folder-0/file-{file}")).unwrap(), content(1, 10), "round {round}");
        }
    }
    peer.finish(fs);
}

#[test]
fn files_that_are_removed_are_forgotten() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    for index in 0..200 {
        let name = format!("file-{index}");
        fs.write(&name, b"short-lived").unwrap();
        fs.rename(&name, "same").unwrap();
    }
    fs.remove_file("same").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while peer.strict().ledger().held().0 > 64 {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?} nodes and handles of one folder",
            peer.strict().ledger().held()
        );
        fs.poll();
        std::thread::yield_now();
    }
    peer.finish(fs);
}

#[test]
fn krun_closes_what_was_forgotten() {
    // libkrun holds a descriptor for every inode that was looked up.
    let peer = Peer::new(Kind::Krun);
    tree(&peer, 4, 50);
    let open = || {
        let folder = peer.folder().to_owned();
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.starts_with(&folder))
            .count()
    };
    let fs = peer.mount_with(Config { max_inodes: 16, max_entries: 16, ..peer.config() }).unwrap();
    walk(&fs, true);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while open() > 40 {
        assert!(std::time::Instant::now() < deadline, "{} descriptors for at most 16 inodes", open());
        std::thread::yield_now();
    }
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(open(), 0);
    peer.end();
}
