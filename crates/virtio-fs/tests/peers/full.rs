//! A disk that is full: an error to who writes, nothing lost, and the file system goes on.
//!
//! A store into the window for which the host finds no room is a bus error of this process, which ends all tests.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use fs_dax::{Errno as FaultErrno, Wanted};
use fuse_proto::{Errno, FallocateMode};
use virtio_fs::{Error, HoleStores, OpenOptions, VirtioFs};

use crate::asynchronous::run;
use crate::faults::tables;
use crate::rig::HANGS;
use crate::rig::content::{assert_same, content};
use crate::rig::disk::SmallDisk;
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    a_full_disk_is_an_error_and_nothing_more,
    stores_into_holes_are_refused_by_a_full_disk,
    sparse_files_are_written_and_become_dense,
    blocks_past_the_end_are_no_room,
}

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const MAKE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);
const SPACE: usize = 8 << 20;

fn enospc<T>(result: Result<T, Error>) {
    assert_eq!(result.err().map(|error| error.errno()), Some(Errno::ENOSPC));
}

/// Writes to `name` until nothing more goes; returns how much went.
fn fill(fs: &VirtioFs, name: &str, data: &[u8]) -> usize {
    let file = fs.open(name, MAKE).unwrap();
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..data.len().min(done + 300_000)], done as u64) {
            Ok(count) => done += count,
            Err(error) => {
                assert_eq!(error.errno(), Errno::ENOSPC);
                enospc(file.write_at(&data[done..done + 4096], done as u64));
                break;
            }
        }
    }
    assert_eq!(fs.statfs().unwrap().bfree, 0);
    done
}

fn a_full_disk_is_an_error_and_nothing_more(peer: Peer) {
    let Some(disk) = SmallDisk::new(SPACE as u64) else { return peer.end() };
    let peer = peer.with_folder(disk.path());
    let old = content(1, 3 << 20);
    peer.put("old", &old);
    let fs = peer.mount();
    let file = fs.open("old", BOTH).unwrap();
    let mut found = vec![0; old.len()];
    file.read_exact_at(&mut found, 0).unwrap();

    let data = content(2, SPACE);
    let done = fill(&fs, "new", &data);
    assert!((SPACE - (3 << 20) - (1 << 20)..=SPACE - (3 << 20)).contains(&done), "{done:#x}");
    assert_same(&fs.read("new").unwrap(), &data[..done], "what went");
    assert_same(&peer.get("new"), &data[..done], "what went, on the host");

    // All that makes a file longer is refused, and leaves no trace.
    enospc(file.write_at(&data, 3 << 20));
    enospc(file.write_at(&data[..8192], (3 << 20) + 4096));
    enospc(file.allocate(FallocateMode::empty(), 0, 4 << 20));
    enospc(fs.open("old", OpenOptions::new().append(true)).unwrap().write_at(b"x", 0));
    assert_eq!(file.attr().unwrap().size, 3 << 20);
    assert_same(&peer.get("old"), &old, "refused, not half done");

    // What is there can be written, through the window, and be made durable.
    let before = fs.stats().dax_write_bytes;
    file.write_all_at(b"no more room is needed", 1 << 20).unwrap();
    assert!(fs.stats().dax_write_bytes > before, "{:?}", fs.stats());
    file.sync_all().unwrap();
    assert_eq!(&peer.get("old")[1 << 20..][..22], b"no more room is needed");

    // Room that becomes free is used.
    fs.remove_file("new").unwrap();
    let deadline = std::time::Instant::now() + HANGS;
    while fs.statfs().unwrap().bfree < 256 {
        // The inode is forgotten on a queue of its own.
        assert!(std::time::Instant::now() < deadline, "the room of a file that is gone: {:?}", fs.statfs());
        std::thread::yield_now();
    }
    file.write_all_at(&data[..1 << 20], 3 << 20).unwrap();
    assert_same(&peer.get("old")[3 << 20..], &data[..1 << 20], "on the host");
    drop(file);
    peer.finish(fs);
}

fn stores_into_holes_are_refused_by_a_full_disk(peer: Peer) {
    let Some(disk) = SmallDisk::new(SPACE as u64) else { return peer.end() };
    let peer = peer.with_folder(disk.path());
    let fs = peer.mount();
    let tables = tables(&fs);
    // A file that is one hole, and one that is mapped when a hole is punched into it.
    let dense = content(1, 3 << 20);
    peer.put("punched", &dense);
    peer.put("hole", b"");
    let punched = fs.open("punched", BOTH).unwrap();
    let hole = fs.open("hole", BOTH).unwrap();
    hole.set_len(2 << 20).unwrap();
    punched.write_all_at(&dense[..10], 0).unwrap();
    punched.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, 1 << 20, 64 << 10).unwrap();
    let data = content(2, SPACE);
    fill(&fs, "new", &data);

    for (name, file, offset) in [("a file that is a hole", &hole, 1 << 20), ("a punched hole", &punched, 1 << 20)] {
        enospc(file.write_at(&data[..5000], offset));
        enospc(file.map_mut(offset, 4096));
        for wanted in [Wanted::Base, Wanted::Largest] {
            let errno = tables.touch(file, offset, true, wanted).unwrap_err();
            assert_eq!(errno, FaultErrno::new(libc::ENOSPC).unwrap(), "{name}, {wanted:?}");
        }
    }
    // Beside the hole there is room.
    punched.write_all_at(b"dense", 2 << 20).unwrap();
    tables.touch(&punched, 2 << 20, true, Wanted::Base).unwrap();
    punched.map_mut(2 << 20, 4096).unwrap().store(5, b" here");
    assert_eq!(&peer.get("punched")[2 << 20..][..10], b"dense here");
    assert!(peer.get("punched")[1 << 20..][..64 << 10].iter().all(|&byte| byte == 0), "the hole is one");

    drop((punched, hole));
    peer.finish(fs);
}

fn sparse_files_are_written_and_become_dense(peer: Peer) {
    let fs = peer.mount();
    let tables = tables(&fs);
    let data = content(3, 4 << 20);
    let file = fs.open("file", MAKE).unwrap();
    file.set_len(data.len() as u64).unwrap();
    file.write_all_at(&data[..1 << 20], 0).unwrap();
    let stats = fs.stats();
    assert_eq!(stats.dax_write_bytes, 0, "{stats:?}");
    assert!(stats.bypass.holes > 0, "{stats:?}");
    // A page and a view that can be stored to are no holes any more.
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(peer.path("file")).unwrap());
    tables.touch(&file, 2 << 20, true, Wanted::Base).unwrap();
    assert!((2056..2064).contains(&blocks()), "{} blocks: one page more than 1 MiB", blocks());
    file.map_mut(3 << 20, 8192).unwrap().store(0, b"stored");
    assert!((2072..2080).contains(&blocks()), "{} blocks: two more", blocks());
    file.write_all_at(&data, 0).unwrap();
    fs.lookup("file").unwrap().refresh_attr().unwrap();
    file.write_all_at(&data[..1 << 20], 2 << 20).unwrap();
    assert_eq!(fs.stats().dax_write_bytes, 1 << 20, "a file without holes goes through the window");
    assert_same(&peer.get("file")[2 << 20..][..1 << 20], &data[..1 << 20], "on the host");
    drop(file);
    fs.unmount().unwrap();
    drop(fs);

    // Who trusts the host goes through the window at once.
    let fs = peer.mount_with(peer.config().holes(HoleStores::Trust)).unwrap();
    let file = fs.open("sparse", MAKE).unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_all_at(&data[..5000], 1 << 20).unwrap();
    assert_eq!(fs.stats().dax_write_bytes, 5000);
    drop(file);
    peer.finish(fs);
}

/// What a full disk answers, on hosts where there is none: always run.
#[test]
fn a_refusal_in_the_middle_of_a_write_says_how_much_went() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let data = content(4, 1 << 20);
    let limit = 300_000;
    peer.strict().watch(move |request| {
        let at = request.bytes.get(48..56).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        if request.opcode() == op::WRITE && at >= limit { Act::Refuse(libc::ENOSPC) } else { Act::Serve }
    });
    let file = fs.open("file", MAKE).unwrap();
    let done = file.write_at(&data, 0).unwrap();
    assert!(done >= limit as usize && done < data.len(), "{done}");
    enospc(file.write_at(&data[done..], done as u64));
    enospc(file.write_all_at(&data[done..], done as u64));
    assert_eq!(file.len().unwrap(), done as u64);
    assert_same(&peer.get("file"), &data[..done], "on the host");
    peer.strict().behave();
    file.write_all_at(&data[done..], done as u64).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert_same(&peer.get("file"), &data, "in the end");
    peer.finish(fs);
}

fn blocks_past_the_end_are_no_room(peer: Peer) {
    const SIZE: u64 = 2 << 20;
    let Some(disk) = SmallDisk::new(SPACE as u64) else { return peer.end() };
    let peer = peer.with_folder(disk.path());
    let file = std::fs::File::create(peer.folder().join("holes")).unwrap();
    file.set_len(SIZE).unwrap();
    // SAFETY: the descriptor is open.
    let done = unsafe {
        libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, SIZE as libc::off_t, SIZE as libc::off_t)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    assert!(file.metadata().unwrap().blocks() * 512 >= SIZE, "as many blocks as a file without holes");
    let fs = peer.mount();
    fill(&fs, "new", &content(2, SPACE));
    let tables = tables(&fs);
    let holes = fs.open("holes", BOTH).unwrap();
    // Had they gone through the window, the host would have died of them.
    enospc(holes.write_at(b"x", 1 << 20));
    enospc(run(&fs, holes.write_async(b"x", 1 << 20)));
    assert_eq!(tables.touch(&holes, 4096, true, Wanted::Base), Err(FaultErrno::ENOSPC));
    enospc(holes.map_mut(8192, 4096));
    assert_same(&peer.get("holes"), &vec![0; SIZE as usize], "nothing of it was done");
    drop(holes);
    peer.finish(fs);
}

#[test]
fn a_file_without_holes_is_looked_at_once() {
    let peer = Peer::new(Kind::Strict);
    let mut data = content(3, 2 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let looks = || peer.strict().ledger().count(op::LSEEK);
    for page in 0..100 {
        file.write_all_at(&[page; 100], u64::from(page) * 4096).unwrap();
        data[usize::from(page) * 4096..][..100].fill(page);
    }
    file.write_all_at(b"it grows", 2 << 20).unwrap();
    data.extend_from_slice(b"it grows");
    file.write_all_at(b"in what is new", (2 << 20) - 7).unwrap();
    data.truncate((2 << 20) - 7);
    data.extend_from_slice(b"in what is new\0"[..14].as_ref());
    file.write_all_at(b"x", 0).unwrap();
    data[0] = b'x';
    assert_eq!(looks(), 1);
    assert_eq!(fs.stats().bypass.holes, 0, "{:?}", fs.stats());
    assert_same(&peer.get("file")[..data.len()], &data, "on the host");
    drop(file);
    peer.finish(fs);
}

/// A host that cannot set room aside (ext4 without extents): what goes by requests is written, what would be a store says how.
#[test]
fn a_host_without_fallocate_takes_what_is_written() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount();
    let tables = tables(&fs);
    let hole = fs.open("hole", MAKE).unwrap();
    hole.set_len(2 << 20).unwrap();
    for errno in [libc::EOPNOTSUPP, libc::ENOSYS] {
        peer.strict()
            .watch(move |request| if request.opcode() == op::FALLOCATE { Act::Refuse(errno) } else { Act::Serve });
        let error = hole.map_mut(1 << 20, 4096).unwrap_err();
        assert_eq!(error.errno(), Errno::EOPNOTSUPP);
        assert!(error.to_string().contains("HoleStores"), "{error}");
        assert_eq!(tables.touch(&hole, 1 << 20, true, Wanted::Base), Err(FaultErrno::EOPNOTSUPP));
    }
    hole.write_all_at(&vec![1; 2 << 20], 0).unwrap();
    hole.node().refresh_attr().unwrap();
    hole.map_mut(1 << 20, 4096).expect("there is room now").store(0, b"stored");
    tables.touch(&hole, 0, true, Wanted::Base).expect("and for programs");
    assert_eq!(&peer.get("hole")[1 << 20..][..6], b"stored");
    drop(hole);
    fs.set_mappings(None);
    peer.finish(fs);
}
