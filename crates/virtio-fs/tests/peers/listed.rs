//! What listings with attributes bring, and nobody asks for, costs the driver nothing and stays no longer than the listing.

use std::time::Instant;

use virtio_fs::{Errno, OpenOptions, VirtioFs};

use crate::rig::HANGS;
use crate::rig::content::content;
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

const FILES: usize = 1000;

/// A folder of files, and a mount of it that holds nothing but root and folder.
fn folder(files: usize) -> Peer {
    let peer = Peer::new(Kind::Strict);
    std::fs::create_dir(peer.path("folder")).unwrap();
    for file in 0..files {
        peer.put(format!("folder/file-{file:03}"), &content(1, 10));
    }
    peer
}

/// Waits until the server counts look-ups of no more than so many inodes.
fn until_held(peer: &Peer, fs: &VirtioFs, most: usize) {
    let deadline = Instant::now() + HANGS;
    loop {
        let (nodes, _) = peer.strict().ledger().held();
        if nodes <= most {
            break;
        }
        assert!(Instant::now() < deadline, "{nodes} inodes are held: {:?}", fs.stats());
        std::thread::yield_now();
    }
}

fn count(peer: &Peer, opcode: u32) -> u64 {
    peer.strict().ledger().count(opcode)
}

#[test]
fn what_nobody_asks_for_is_given_back_in_batches() {
    let peer = folder(FILES);
    let fs = peer.mount();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert_eq!(listing.by_ref().count(), FILES);
    // The last reply stays with the listing. Root and folder are held.
    until_held(&peer, &fs, 2 + FILES / 2);
    drop(listing);
    until_held(&peer, &fs, 2);
    let forgets = count(&peer, op::FORGET) + count(&peer, op::BATCH_FORGET);
    assert!(forgets <= 4, "{forgets} requests to forget {FILES} inodes");
    assert_eq!(fs.stats().forgets, FILES as u64);
    peer.finish(fs);
}

#[test]
fn a_listing_that_is_left_gives_back_what_it_has() {
    let peer = folder(100);
    let fs = peer.mount();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert!(listing.next().is_some());
    assert!(peer.strict().ledger().held().0 > 100);
    drop(listing);
    until_held(&peer, &fs, 2);
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert!(listing.next().is_some());
    fs.unmount().unwrap();
    drop((listing, fs));
    // All look-ups are forgotten before the session ends.
    peer.end();
}

#[test]
fn a_name_that_is_asked_for_in_time_is_not_looked_up_again() {
    let peer = folder(100);
    let fs = peer.mount();
    let mut seen = 0;
    for entry in fs.read_dir("folder").unwrap().with_attributes() {
        let entry = entry.unwrap();
        let found = fs.attr([b"folder/", &entry.name[..]].concat()).unwrap();
        assert_eq!((Some(found.ino), Some(found.size)), entry.attr.map(|attr| (attr.ino, attr.size)).unzip());
        seen += 1;
    }
    assert_eq!((seen, count(&peer, op::LOOKUP)), (100, 1), "the folder alone is looked up");
    // Those that were asked for are kept.
    assert!(peer.strict().ledger().held().0 > 100);
    peer.finish(fs);
}

#[test]
fn names_may_be_asked_for_after_the_last_of_them() {
    let peer = folder(100);
    let fs = peer.mount();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    let names: Vec<_> = listing.by_ref().map(|entry| entry.unwrap().name).collect();
    assert!(listing.next().is_none());
    // In any order.
    for name in names.iter().rev() {
        fs.attr([b"folder/", &name[..]].concat()).unwrap();
    }
    assert_eq!((names.len(), count(&peer, op::LOOKUP)), (100, 1), "the folder alone is looked up");
    assert_eq!(fs.attr("folder/none").unwrap_err().errno(), Errno::ENOENT);
    drop(listing);
    peer.finish(fs);
}

#[test]
fn a_listing_does_not_bring_back_a_name_that_is_gone() {
    let peer = folder(4);
    let fs = peer.mount();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert!(listing.next().is_some());
    fs.rename("folder/file-000", "folder/new").unwrap();
    assert_eq!(fs.attr("folder/file-000").unwrap_err().errno(), Errno::ENOENT);
    fs.remove_file("folder/file-001").unwrap();
    assert_eq!(fs.attr("folder/file-001").unwrap_err().errno(), Errno::ENOENT);
    // Its space is free at once: two files are left in the listing, and the one that was renamed.
    until_held(&peer, &fs, 2 + 3);
    fs.rename("folder/new", "folder/file-002").unwrap();
    assert_eq!(
        fs.attr("folder/file-002").unwrap().ino,
        std::fs::metadata(peer.path("folder/file-002")).map(ino).unwrap()
    );
    until_held(&peer, &fs, 2 + 2);
    drop(listing);
    peer.finish(fs);
}

fn ino(meta: std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&meta)
}

#[test]
fn a_listing_does_not_bring_back_attributes_that_are_old() {
    let peer = folder(2);
    std::fs::hard_link(peer.path("folder/file-000"), peer.path("link")).unwrap();
    peer.put("other", b"");
    let fs = peer.mount_with(peer.config().max_inodes(1)).unwrap();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert!(listing.next().is_some());
    // By another name, and let go afterwards.
    let file = fs.open("link", OpenOptions::new().write(true)).unwrap();
    file.write_all_at(&content(2, 5000), 0).unwrap();
    drop(file);
    for _ in 0..20 {
        fs.attr("other").unwrap();
    }
    assert_eq!(fs.attr("folder/file-000").unwrap().size, 5000);
    drop(listing);
    peer.finish(fs);
}

#[test]
fn an_inode_that_is_known_learns_of_its_size_by_a_listing() {
    let peer = folder(2);
    let fs = peer.mount();
    let node = fs.lookup("folder/file-000").unwrap();
    peer.put("folder/file-000", &content(3, 3));
    drop(fs.read_dir("folder").unwrap().with_attributes().collect::<Vec<_>>());
    assert_eq!(node.size(), 3);
    drop(node);
    peer.finish(fs);
}

#[test]
fn a_reply_under_way_does_not_bring_back_what_was_changed_meanwhile() {
    let peer = folder(2);
    let fs = peer.mount();
    let file = fs.open("folder/file-000", OpenOptions::new().write(true)).unwrap();
    let node = fs.lookup("folder/file-000").unwrap();
    peer.strict().misbehave(|request| if request.opcode() == op::READDIRPLUS { Act::Hold } else { Act::Serve });
    let listing = std::thread::scope(|scope| {
        let listing = scope.spawn(|| {
            let mut listing = fs.read_dir("folder").unwrap().with_attributes();
            assert!(listing.next().is_some());
            listing
        });
        let deadline = Instant::now() + HANGS;
        while peer.strict().held() == 0 {
            assert!(Instant::now() < deadline, "no listing is under way");
            std::thread::yield_now();
        }
        file.set_len(3).unwrap();
        fs.remove_file("folder/file-001").unwrap();
        // The reply says what was so before.
        for file in ["folder/file-000", "folder/file-001"] {
            peer.put(file, &content(1, 10));
        }
        peer.strict().behave();
        peer.strict().release(0);
        listing.join().unwrap()
    });
    assert_eq!(node.size(), 3, "the size that was made here");
    let lookups = count(&peer, op::LOOKUP);
    fs.attr("folder/file-001").unwrap();
    assert_eq!(count(&peer, op::LOOKUP), lookups + 1, "a name that was removed here is looked up");
    assert_eq!(file.attr().unwrap().size, 10, "the server is asked what is so now");
    drop((file, node, listing));
    peer.finish(fs);
}

#[test]
fn a_listing_corrects_the_names_that_are_known() {
    let peer = folder(2);
    let fs = peer.mount();
    let before = fs.attr("folder/file-000").unwrap().ino;
    std::fs::rename(peer.path("folder/file-001"), peer.path("folder/file-000")).unwrap();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    assert!(listing.next().is_some());
    let now = fs.attr("folder/file-000").unwrap().ino;
    assert_ne!(now, before);
    assert_eq!(now, std::fs::metadata(peer.path("folder/file-000")).map(ino).unwrap());
    drop(listing);
    peer.finish(fs);
}

#[test]
fn the_space_of_a_file_that_is_removed_is_free_while_a_listing_goes_on() {
    let peer = folder(FILES);
    let fs = peer.mount();
    let mut listing = fs.read_dir("folder").unwrap().with_attributes();
    let first = listing.next().unwrap().unwrap().name;
    // Until the second reply has come: the look-ups of the first are owed.
    while count(&peer, op::READDIRPLUS) < 2 {
        listing.next().unwrap().unwrap();
    }
    fs.remove_file([b"folder/", &first[..]].concat()).unwrap();
    until_held(&peer, &fs, 2 + FILES / 2);
    drop(listing);
    peer.finish(fs);
}
