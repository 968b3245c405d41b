//! What the device says without being asked: the driver acts upon it, also upon what makes no sense.

use std::time::{Duration, Instant};

use fuse_proto::Errno;
use virtio_fs::{MountError, OpenOptions, VirtioFs};

use crate::rig::HANGS;
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};

const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const DELETE: i32 = 6;
const INC_EPOCH: i32 = 8;
const PRUNE: i32 = 9;
const ROOT: u64 = 1;
const BUFFER: u32 = 512;

/// A device with a queue for notifications and a server with timeouts of an hour: what is stale stays
/// so until the device speaks.
fn peer() -> Peer {
    Peer::new(Kind::Strict).with_options(|options| {
        options.notifications = Some(BUFFER);
        let hour = Duration::from_secs(3600);
        (options.server.entry_timeout, options.server.attr_timeout) = (hour, hour);
    })
}

fn message(code: i32, body: &[u8]) -> Vec<u8> {
    [&(16 + body.len() as u32).to_le_bytes()[..], &code.to_le_bytes(), &[0; 8], body].concat()
}

fn stale_entry(parent: u64, name: &str) -> Vec<u8> {
    let body = [&parent.to_le_bytes()[..], &(name.len() as u32).to_le_bytes(), &[0; 4], name.as_bytes(), b"\0"];
    message(INVAL_ENTRY, &body.concat())
}

fn stale_inode(node: u64) -> Vec<u8> {
    message(INVAL_INODE, &[node.to_le_bytes(), [0; 8], [0; 8]].concat())
}

fn say(peer: &Peer, message: &[u8]) {
    assert!(peer.strict().notify(message, None), "no buffer waits");
}

fn node(fs: &VirtioFs, name: &str) -> u64 {
    fs.lookup(name).unwrap().node_id().into()
}

#[test]
fn names_that_are_stale_are_looked_up_again() {
    let peer = peer();
    peer.put("file", b"old");
    let fs = peer.mount();
    let old = fs.attr("file").unwrap().ino;
    assert_eq!(fs.attr("missing").unwrap_err().errno(), Errno::ENOENT);
    std::fs::rename(peer.path("file"), peer.path("kept")).unwrap();
    peer.put("file", b"new");
    assert_eq!(fs.attr("file").unwrap().ino, old, "nobody said anything");
    say(&peer, &stale_entry(ROOT, "file"));
    assert_ne!(fs.attr("file").unwrap().ino, old);
    assert_eq!(fs.read("file").unwrap(), b"new");

    // All names at once.
    std::fs::remove_file(peer.path("file")).unwrap();
    fs.attr("file").expect("nobody said anything");
    say(&peer, &message(INC_EPOCH, &[]));
    assert_eq!(fs.attr("file").unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(fs.stats().notifications, 2);
    peer.finish(fs);
}

#[test]
fn attributes_and_sizes_that_are_stale_are_asked_for_again() {
    let peer = peer();
    let data = content(1, 6 << 20);
    let path = peer.put("file", &data[..4 << 20]);
    let fs = peer.mount();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    let mut found = vec![0; 6 << 20];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), 4 << 20);
    let number = node(&fs, "file");

    std::fs::write(&path, &data).unwrap();
    assert_eq!(file.read_at(&mut found, 0).unwrap(), 4 << 20, "nobody said anything");
    say(&peer, &stale_inode(number));
    assert_eq!(file.read_at(&mut found, 0).unwrap(), 6 << 20);
    assert_same(&found, &data, "as long as the host made it");

    // Shorter: what is mapped past the end goes before anybody touches it.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((1 << 20) + 10).unwrap();
    say(&peer, &stale_inode(number));
    assert_eq!(file.read_at(&mut found, 0).unwrap(), (1 << 20) + 10);
    assert!(peer.strict().ledger().mappings.values().all(|mapping| mapping.file_offset < 2 << 20));
    assert_eq!(file.len().unwrap(), (1 << 20) + 10);
    drop(file);
    peer.finish(fs);
}

#[test]
fn what_is_deleted_or_pruned_is_forgotten() {
    let peer = peer();
    peer.put("deleted", b"1");
    peer.put("pruned", b"2");
    peer.put("open", b"3");
    let fs = peer.mount();
    let [deleted, pruned, open] = ["deleted", "pruned", "open"].map(|name| node(&fs, name));
    let file = fs.open("open", OpenOptions::new().read(true)).unwrap();
    std::fs::remove_file(peer.path("deleted")).unwrap();
    let body = [&ROOT.to_le_bytes()[..], &deleted.to_le_bytes(), &7u32.to_le_bytes(), &[0; 4], b"deleted\0"].concat();
    say(&peer, &message(DELETE, &body));
    let body = [&2u32.to_le_bytes()[..], &[0; 12], &pruned.to_le_bytes(), &open.to_le_bytes()].concat();
    say(&peer, &message(PRUNE, &body));
    let deadline = Instant::now() + HANGS;
    while peer.strict().ledger().holds(deleted) || peer.strict().ledger().holds(pruned) {
        assert!(Instant::now() < deadline, "{:?}", fs.stats());
        fs.poll();
    }
    assert!(peer.strict().ledger().holds(open), "what is in use is not let go");
    assert_eq!(fs.attr("deleted").unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(fs.read("pruned").unwrap(), b"2");
    drop(file);
    peer.finish(fs);
}

#[test]
fn buffers_wait_again_for_as_long_as_the_device_talks() {
    let peer = peer();
    peer.put("file", b"contents");
    let fs = peer.mount();
    let number = node(&fs, "file");
    let (mut said, mut full) = (0, false);
    for _ in 0..20 {
        while peer.strict().notify(&stale_inode(number), None) {
            said += 1;
        }
        full = true;
        let lookups = peer.strict().ledger().count(op::GETATTR);
        assert_eq!(fs.attr("file").unwrap().size, 8);
        assert_eq!(peer.strict().ledger().count(op::GETATTR), lookups + 1, "asked once, however often it was said");
    }
    assert!(full && said >= 20 * 16, "{said}");
    assert_eq!(fs.stats().notifications, said);
    peer.finish(fs);
}

#[test]
fn notifications_that_make_no_sense_are_passed_over() {
    let peer = peer();
    peer.put("file", b"contents");
    let fs = peer.mount();
    let number = node(&fs, "file");
    let good = stale_inode(number);
    let altered = |at: usize, bytes: &[u8]| {
        let mut message = good.clone();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        message
    };
    let nonsense = [
        good[..15].to_vec(),
        good[..30].to_vec(),
        altered(0, &u32::MAX.to_le_bytes()),
        altered(0, &0u32.to_le_bytes()),
        altered(4, &77i32.to_le_bytes()),
        altered(4, &i32::MIN.to_le_bytes()),
        altered(4, &INVAL_ENTRY.to_le_bytes()),
        altered(4, &PRUNE.to_le_bytes()),
        altered(8, &2u64.to_le_bytes()),
        altered(16, &u64::MAX.to_le_bytes()),
        stale_entry(12345, "file"),
        stale_entry(number, "below a file"),
        stale_entry(ROOT, ""),
        stale_entry(ROOT, "../.."),
        message(INVAL_ENTRY, &[&ROOT.to_le_bytes()[..], &u32::MAX.to_le_bytes(), &[0; 4], b"file\0"].concat()),
        message(PRUNE, &[&u32::MAX.to_le_bytes()[..], &[0; 12]].concat()),
        message(PRUNE, &[&1u32.to_le_bytes()[..], &[0; 12], &ROOT.to_le_bytes()].concat()),
        message(
            DELETE,
            &[&ROOT.to_le_bytes()[..], &ROOT.to_le_bytes(), &4u32.to_le_bytes(), &[0; 4], b"file\0"].concat(),
        ),
        vec![0xff; BUFFER as usize],
        vec![0; BUFFER as usize],
    ];
    let count = nonsense.len() as u64;
    for (said, message) in (1..).zip(&nonsense) {
        say(&peer, message);
        fs.poll();
        assert_eq!(fs.stats().notifications, said);
        assert_eq!(fs.read("file").unwrap(), b"contents");
    }
    // A buffer that comes back empty, and sense again.
    assert!(peer.strict().notify(&[], Some(0)));
    std::fs::write(peer.path("file"), b"longer contents").unwrap();
    say(&peer, &good);
    assert_eq!(fs.read("file").unwrap(), b"longer contents");
    assert_eq!(fs.stats().notifications, count + 2);
    peer.finish(fs);
}

#[test]
fn a_queue_that_the_device_breaks_is_not_used_any_more() {
    let peer = peer();
    peer.put("file", b"contents");
    let fs = peer.mount();
    let number = node(&fs, "file");
    assert!(peer.strict().notify(&stale_inode(number), Some(BUFFER + 1)));
    assert_eq!(fs.read("file").unwrap(), b"contents");
    assert_eq!(fs.stats().notifications, 0);
    // It sends nothing, everything else works.
    say(&peer, &stale_inode(number));
    fs.poll();
    assert_eq!(fs.stats().notifications, 0);
    fs.write("file", b"new").unwrap();
    assert_eq!(peer.get("file"), b"new");
    peer.finish(fs);
}

#[test]
fn buffers_of_a_size_that_makes_no_sense_are_refused() {
    for size in [0, 15, 63, (1 << 20) + 1, u32::MAX] {
        let peer = Peer::new(Kind::Strict).with_options(|options| options.notifications = Some(size));
        let error = peer.mount_with(peer.config()).unwrap_err();
        assert!(matches!(error, MountError::NotifyBuffer { size: found } if found == size), "{error:?}");
        peer.end();
    }
}
