//! What the server counts for the driver goes back to zero, and stays small meanwhile.

use std::time::{Duration, Instant};

use fuse_proto::ops;
use virtio_fs::{Error, OpenOptions, VirtioFs};

use crate::rig::HANGS;
use crate::rig::content::content;
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

type ReadDir = virtio_fs::ReadDir<spin::Mutex<()>>;

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
    let fs = peer.mount_with(peer.config().max_inodes(32).max_entries(64)).unwrap();
    for plus in [false, true] {
        assert_eq!(walk(&fs, plus), 500);
        // FORGETs are under way for a moment.
        let deadline = Instant::now() + HANGS;
        loop {
            let (nodes, handles) = peer.strict().ledger().held();
            if nodes <= 80 && handles == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{nodes} inodes are held, the limit is 32; {handles} handles");
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
    let fs = peer.mount_with(peer.config().max_inodes(4).max_entries(4)).unwrap();
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
    let fs = peer.mount_with(peer.config().max_inodes(1).max_entries(1)).unwrap();
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
    let deadline = Instant::now() + HANGS;
    while peer.strict().ledger().held().0 > 64 {
        assert!(Instant::now() < deadline, "{:?} nodes and handles of one folder", peer.strict().ledger().held());
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
    let fs = peer.mount_with(peer.config().max_inodes(16).max_entries(16)).unwrap();
    walk(&fs, true);
    let deadline = Instant::now() + HANGS;
    while open() > 40 {
        assert!(Instant::now() < deadline, "{} descriptors for at most 16 inodes", open());
        std::thread::yield_now();
    }
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(open(), 0);
    peer.end();
}

/// A request that makes the server count something, and what it does to a file system with `file` and `folder` in it: an
/// error, and a listing that is still open.
type Counted = (u32, fn(&VirtioFs) -> (Error, Option<ReadDir>));

fn failed<T>(result: Result<T, Error>) -> (Error, Option<ReadDir>) {
    (result.err().expect("its request is kept"), None)
}

const READ: OpenOptions = OpenOptions::new().read(true);

const COUNTED: [Counted; 10] = [
    (op::LOOKUP, |fs| failed(fs.attr("folder"))),
    (op::CREATE, |fs| failed(fs.open("new", OpenOptions::new().write(true).create(true)))),
    (op::MKDIR, |fs| failed(fs.create_dir("new", 0o755))),
    (op::MKNOD, |fs| failed(fs.root().unwrap().create_node("new", 0o100_644, 0))),
    (op::SYMLINK, |fs| failed(fs.symlink("new", "target"))),
    (op::LINK, |fs| failed(fs.hard_link("file", "new"))),
    (op::OPEN, |fs| failed(fs.open("file", READ))),
    (op::OPENDIR, |fs| failed(fs.read_dir("folder"))),
    (op::READDIRPLUS, |fs| {
        let mut listing = fs.read_dir("folder").unwrap().with_attributes();
        (listing.next().unwrap().unwrap_err(), Some(listing))
    }),
    (op::TMPFILE, |fs| failed(fs.root().unwrap().create_unnamed(READ.write(true)))),
];

/// A device that keeps a request after its caller has given up.
fn given_up((opcode, operation): Counted) -> (Peer, VirtioFs, Option<ReadDir>) {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", b"contents");
    std::fs::create_dir(peer.path("folder")).unwrap();
    for name in 0..20 {
        peer.put(format!("folder/{name}"), b"contents");
    }
    // What is held can be counted: little else is.
    let config = peer.config().dax(false).request_timeout(Duration::from_millis(200)).max_timeouts(10).max_inodes(1);
    let fs = peer.mount_with(config).unwrap();
    let mut kept = false;
    peer.strict().watch(move |request| {
        if request.opcode() == opcode && !kept {
            kept = true;
            return Act::Hold;
        }
        Act::Serve
    });
    let (error, listing) = operation(&fs);
    assert!(matches!(error, Error::TimedOut { .. }), "{opcode}: {error:?}");
    assert_eq!(peer.strict().held(), 1, "{opcode}");
    (peer, fs, listing)
}

#[test]
fn what_a_late_reply_gives_is_given_back() {
    for (opcode, operation) in COUNTED {
        let (peer, fs, listing) = given_up((opcode, operation));
        let (nodes, handles) = peer.strict().ledger().held();
        peer.strict().release(0);
        let now = peer.strict().ledger().held();
        assert!(now.0 > nodes || now.1 > handles || matches!(opcode, op::LINK | op::TMPFILE), "{opcode}: {now:?}");
        let deadline = Instant::now() + HANGS;
        while fs.stats().late_replies == 0 {
            assert!(Instant::now() < deadline, "{opcode}: a late reply that nobody takes");
            fs.poll();
        }
        // The next requests find everything as it was.
        assert_eq!(fs.read("file").unwrap(), b"contents", "{opcode}");
        assert_eq!(fs.read_dir("folder").unwrap().with_attributes().count(), 20, "{opcode}");
        drop(listing);
        // All look-ups and handles are checked when it ends.
        peer.finish(fs);
    }
}

#[test]
fn what_comes_late_during_the_unmount_is_given_back() {
    for counted in COUNTED {
        let (peer, fs, listing) = given_up(counted);
        // While the unmount waits for it, not before or after.
        peer.clock().instead_of_skipping(peer.strict().releaser(0));
        fs.unmount().unwrap();
        assert_eq!((fs.stats().late_replies, peer.strict().ledger().count(op::DESTROY)), (1, 1));
        drop((fs, listing));
        peer.end();
    }
}

#[test]
fn late_replies_keep_no_slot_and_no_buffer_from_others() {
    let peer = Peer::new(Kind::Strict).with_options(|options| {
        options.queue_size = 8;
        options.request_queues = 1;
    });
    tree(&peer, 1, 40);
    let config = peer.config().dax(false).data_buffers(2);
    let fs = peer.mount_with(config).unwrap();
    let folder = fs.lookup("folder-0").unwrap().node_id();
    peer.strict().watch(|request| if request.opcode() == op::LOOKUP { Act::Hold } else { Act::Serve });
    for round in 0..5 {
        let names: Vec<_> = (0..7).map(|file| format!("file-{}", round * 7 + file)).collect();
        for name in &names {
            drop(fs.submit(ops::Lookup { parent: folder, name: name.as_bytes() }).unwrap());
        }
        let deadline = Instant::now() + HANGS;
        while peer.strict().held() < names.len() {
            assert!(Instant::now() < deadline, "{} are held", peer.strict().held());
            std::thread::yield_now();
        }
        for _ in &names {
            peer.strict().release(0);
        }
    }
    // Nobody has polled; still there is room for these.
    peer.strict().behave();
    assert_eq!(fs.read("folder-0/file-39").unwrap(), content(1, 10));
    assert!(fs.stats().late_replies >= 28, "{:?}", fs.stats());
    peer.finish(fs);
}

#[test]
fn a_file_opened_late_is_released_before_it_is_forgotten() {
    let (peer, fs, _) = given_up((op::OPEN, |fs| failed(fs.open("file", READ))));
    let node = fs.lookup("file").unwrap().node_id().into();
    let forgets = || {
        let ledger = peer.strict().ledger();
        ledger.count(op::FORGET) + ledger.count(op::BATCH_FORGET)
    };
    let before = forgets();
    fs.remove_file("file").unwrap();
    // What is forgotten after it is no longer held, which it still is: the server may yet open it.
    fs.write("other", b"").unwrap();
    fs.remove_file("other").unwrap();
    let deadline = Instant::now() + HANGS;
    while forgets() == before {
        assert!(Instant::now() < deadline, "nothing is forgotten");
        std::thread::yield_now();
    }
    assert!(peer.strict().ledger().holds(node));
    peer.strict().release(0);
    while peer.strict().ledger().held() != (0, 0) {
        assert!(Instant::now() < deadline, "{:?}", peer.strict().ledger().held());
        fs.poll();
    }
    peer.finish(fs);
}
