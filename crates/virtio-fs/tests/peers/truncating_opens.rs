//! Opens that cut a file, where the server has its say in how: they go the way of all cuts, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuse_proto::Errno;
use virtio_fs::OpenOptions;

use crate::rig::content::content;
use crate::rig::ledger::{op, u32_at};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

const CUT: OpenOptions = OpenOptions::new().write(true).truncate(true);
/// Where a message's body begins, and where a reply's does.
const REQUEST: usize = 40;
const REPLY: usize = 16;

/// A name appears between the look-up that does not find it and the CREATE: what has it now is mapped.
#[test]
fn a_file_that_appears_before_create_is_frozen_before_it_is_cut() {
    let peer = Peer::new(Kind::Strict);
    let data = content(5, 10_000);
    let path = peer.put("a", &data);
    // Whoever would have to wait for the view gives up at once.
    let fs = peer.mount_with(peer.config().window_timeout(Duration::ZERO)).unwrap();
    let file = fs.open("a", OpenOptions::new().read(true)).unwrap();
    let view = file.map(0, 4096).unwrap();
    // Another name of the file, as if it had been renamed just then.
    std::fs::hard_link(&path, peer.path("b")).unwrap();
    let cuts_itself = Arc::new(AtomicBool::new(false));
    let seen = cuts_itself.clone();
    peer.strict().misbehave(move |request| match request.opcode() {
        op::LOOKUP if request.bytes[REQUEST..].starts_with(b"b\0") => Act::Refuse(libc::ENOENT),
        op::CREATE => {
            let flags = u32_at(&request.bytes, REQUEST);
            seen.fetch_or(flags & libc::O_TRUNC as u32 != 0, Ordering::Relaxed);
            Act::Serve
        }
        _ => Act::Serve,
    });
    let error = fs.open("b", CUT.create(true)).unwrap_err();
    assert_eq!(error.errno(), Errno::EBUSY, "{error:?}");
    assert!(!cuts_itself.load(Ordering::Relaxed), "CREATE carried O_TRUNC");
    assert_eq!(std::fs::read(&path).unwrap(), data, "cut under a live view");
    drop(view);
    drop(fs.open("b", CUT.create(true)).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    peer.strict().behave();
    drop(file);
    peer.finish(fs);
}

/// A server that cuts on OPEN and needs no OPEN has not cut anything when it answers ENOSYS.
#[test]
fn a_server_without_open_cuts_by_setattr() {
    const ATOMIC_O_TRUNC: u8 = 1 << 3;
    const NO_OPEN_SUPPORT: u8 = 1 << (17 - 16);
    let peer = Peer::new(Kind::Strict);
    let path = peer.put("file", &content(6, 10_000));
    peer.strict().misbehave(|request| match request.opcode() {
        op::INIT => Act::Alter(Box::new(|answer| {
            answer.bytes[REPLY + 12] |= ATOMIC_O_TRUNC;
            answer.bytes[REPLY + 14] |= NO_OPEN_SUPPORT;
        })),
        op::OPEN => Act::Refuse(libc::ENOSYS),
        _ => Act::Serve,
    });
    let fs = peer.mount();
    for round in 0..2 {
        std::fs::write(&path, content(round, 5000)).unwrap();
        let file = fs.open("file", CUT).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "round {round}");
    }
    peer.strict().behave();
    peer.finish(fs);
}

/// O_TRUNC by its number is the same as by its name: a live view is in its way, and nothing mapped is past the end after it.
#[test]
fn a_flag_that_cuts_goes_the_way_of_all_cuts() {
    const TRUNC: u32 = libc::O_TRUNC as u32;
    for atomic in [false, true] {
        let peer = Peer::new(Kind::Strict);
        let data = content(7, 10_000);
        let path = peer.put("file", &data);
        peer.strict().watch(move |request| match request.opcode() {
            op::INIT if atomic => Act::Alter(Box::new(|answer| answer.bytes[REPLY + 12] |= 1 << 3)),
            _ => Act::Serve,
        });
        let fs = peer.mount_with(peer.config().window_timeout(Duration::ZERO)).unwrap();
        let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
        let view = file.map(0, 4096).unwrap();
        let by_number = OpenOptions::new().write(true).custom_flags(TRUNC);
        assert_eq!(fs.open("file", by_number).unwrap_err().errno(), Errno::EBUSY, "{atomic}");
        assert_eq!(std::fs::read(&path).unwrap(), data, "cut under a live view");
        // Whatever is open for reading stays so, by whatever number.
        let refused = OpenOptions::new().read(true).custom_flags(TRUNC | libc::O_RDWR as u32);
        assert_eq!(fs.open("file", refused).unwrap_err().errno(), Errno::EINVAL);
        drop(view);
        drop(fs.open("file", by_number).unwrap());
        assert_eq!((std::fs::metadata(&path).unwrap().len(), file.len().unwrap()), (0, 0));
        assert_eq!(file.map(0, 1).unwrap_err().errno(), Errno::ENXIO);
        let appending = fs.open("file", OpenOptions::new().write(true).custom_flags(libc::O_APPEND as u32)).unwrap();
        appending.write_all_at(b"one", 0).unwrap();
        appending.write_all_at(b"two", 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        let new = OpenOptions::new().write(true).custom_flags((libc::O_CREAT | libc::O_EXCL) as u32);
        drop(fs.open("new", new).unwrap());
        assert_eq!(fs.open("new", new).unwrap_err().errno(), Errno::EEXIST);
        drop((appending, file));
        peer.finish(fs);
    }
}
