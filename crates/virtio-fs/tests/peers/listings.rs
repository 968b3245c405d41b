//! Listings of directories as hosts really have them: offsets that collide, entries that cannot be stat'ed, errors in the
//! middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fuse_proto::Errno;

use crate::rig::dirent::dirent;
use crate::rig::ledger::{op, u32_at};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

/// The offset that a READDIR asks to go on from (`fuse_read_in`, its low half).
fn offset(bytes: &[u8]) -> u32 {
    u32_at(bytes, 48)
}

#[test]
fn names_with_one_offset_are_all_listed() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    peer.strict().misbehave(|request| {
        match (request.opcode(), request.opcode() == op::READDIR && offset(&request.bytes) == 0) {
            (op::READDIR, true) => Act::Invent(
                [dirent(5, 10, b"a"), dirent(6, 10, b"b"), dirent(7, 11, b"c"), dirent(8, 4, b"d")].concat(),
            ),
            (op::READDIR, false) => Act::Invent(Vec::new()),
            _ => Act::Serve,
        }
    });
    let found: Vec<_> = fs.read_dir("/").unwrap().map(|entry| entry.unwrap().name).collect();
    assert_eq!(found, [b"a", b"b", b"c", b"d"]);
    peer.strict().behave();
    peer.finish(fs);
}

#[test]
fn an_error_is_the_last_of_a_listing() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    peer.strict().misbehave(|request| match request.opcode() {
        op::READDIR if offset(&request.bytes) == 0 => {
            Act::Invent([dirent(5, 1, b"first"), dirent(6, 2, b"sl/ash"), dirent(7, 3, b"third")].concat())
        }
        op::READDIR => Act::Refuse(libc::EIO),
        _ => Act::Serve,
    });
    let mut listing = fs.read_dir("/").unwrap();
    assert_eq!(listing.next().unwrap().unwrap().name, b"first");
    assert!(listing.next().unwrap().is_err());
    assert!(listing.next().is_none());
    drop(listing);
    peer.strict().behave();
    peer.finish(fs);
}

#[test]
fn names_are_listed_where_attributes_cannot_be_had() {
    for errno in [libc::ENOTCONN, libc::ENOENT, libc::EACCES] {
        let peer = Peer::new(Kind::Strict);
        for name in ["one", "two", "three"] {
            peer.put(name, b"");
        }
        let fs = peer.mount();
        peer.strict().misbehave(move |request| match request.opcode() {
            op::READDIRPLUS => Act::Refuse(errno),
            _ => Act::Serve,
        });
        let mut found: Vec<_> = fs.read_dir("/").unwrap().with_attributes().map(|entry| entry.unwrap().name).collect();
        found.sort();
        assert_eq!(found, [&b"one"[..], b"three", b"two"]);
        peer.finish(fs);
    }
}

#[test]
fn a_listing_of_dots_without_end_is_an_error() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    peer.strict().misbehave(move |request| match request.opcode() {
        op::READDIR => Act::Invent(dirent(1, counter.fetch_add(1, Ordering::Relaxed) + 1, b".")),
        _ => Act::Serve,
    });
    let mut listing = fs.read_dir("/").unwrap();
    assert_eq!(listing.next().unwrap().unwrap_err().errno(), Errno::EIO);
    assert!(listing.next().is_none());
    assert!(calls.load(Ordering::Relaxed) < 100);
    drop(listing);
    peer.strict().behave();
    peer.finish(fs);
}
