//! What follows a store, by whatever way it goes: durability that was asked for, errors, times, set-id bits, locks.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fs_dax::{FileKey, FileRange, Mappings, UnmapCause, Wanted};
use fuse_proto::{Errno, FallocateMode};
use virtio_fs::{Credentials, LayoutWatch, LockRange, OpenOptions};

use crate::asynchronous::run;
use crate::faults::{BOTH, store, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::{op, u32_at, u64_at};
use crate::rig::lock;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

type File = virtio_fs::File<spin::Mutex<()>>;

on_both! {
    times_show_every_store,
    set_id_bits_go_with_a_change,
    what_states_no_size_is_read_to_its_end,
    what_states_too_much_is_read_to_its_end,
    pages_filled_by_reading_go_with_a_change,
}

const PAGE: usize = 4096;
/// In the numbers of x86 Linux.
const DSYNC: u32 = 0o10000;
const SYNC: u32 = 0o4_010_000;
const SETLK: u32 = 32;

/// The requests of some kinds that come from now on.
fn listen(peer: &Peer, opcodes: &'static [u32]) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let list = heard.clone();
    peer.strict().watch(move |request| {
        if opcodes.contains(&request.opcode()) {
            lock(&list).push(request.bytes.clone());
        }
        if request.opcode() == SETLK { Act::Invent(Vec::new()) } else { Act::Serve }
    });
    heard
}

#[test]
fn a_synchronous_write_is_durable_when_it_returns() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(1, 2 * PAGE));
    let fs = peer.mount();
    for (flags, datasync) in [(DSYNC, 1), (SYNC, 0)] {
        let file = fs.open("file", BOTH.custom_flags(flags)).unwrap();
        let heard = listen(&peer, &[op::WRITE, op::FSYNC]);
        file.write_all_at(b"through the window", 100).unwrap();
        let requests = lock(&heard).clone();
        assert_eq!(requests.len(), 1, "{flags:o}");
        assert_eq!((u32_at(&requests[0], 4), u32_at(&requests[0], 48)), (op::FSYNC, datasync), "{flags:o}");
        // The server makes a WRITE durable itself.
        file.write_all_at(b"longer", 2 * PAGE as u64).unwrap();
        let last = lock(&heard).last().cloned().unwrap();
        assert_eq!((u32_at(&last, 4), u32_at(&last, 72) & flags), (op::WRITE, flags));
    }
    // A server that knows no FSYNC has made nothing durable: what went through the window goes by WRITE, too.
    peer.strict().watch(|request| if request.opcode() == op::FSYNC { Act::Refuse(libc::ENOSYS) } else { Act::Serve });
    let file = fs.open("file", BOTH.custom_flags(DSYNC)).unwrap();
    let writes = peer.strict().ledger().count(op::WRITE);
    file.write_all_at(b"without", 0).unwrap();
    file.write_all_at(b"any", 0).unwrap();
    let ledger = peer.strict().ledger();
    assert_eq!((ledger.count(op::WRITE) - writes, ledger.count(op::FSYNC)), (2, 3));
    drop(ledger);
    drop(file);
    peer.finish(fs);
}

#[test]
fn what_makes_a_file_longer_goes_in_order() {
    let peer = Peer::new(Kind::Strict);
    let fs = peer.mount_with(peer.config().data_buffer_size(PAGE)).unwrap();
    for full_from in [0, 2] {
        let name = format!("full-from-{full_from}");
        peer.put(&name, b"");
        let file = fs.open(&name, BOTH).unwrap();
        let from = (full_from * PAGE) as u64;
        peer.strict().watch(move |request| {
            let refused = request.opcode() == op::WRITE && u64_at(&request.bytes, 48) == from;
            if refused { Act::Refuse(libc::ENOSPC) } else { Act::Serve }
        });
        let written = file.write_at(&content(2, 4 * PAGE), 0);
        match full_from {
            0 => assert_eq!(written.unwrap_err().errno(), Errno::ENOSPC),
            pages => assert_eq!(written.unwrap(), pages * PAGE),
        }
        assert_eq!(peer.get(&name).len(), full_from * PAGE, "no hole is left in front of anything");
    }
    peer.finish(fs);
}

/// As of the host's own pread: what was read before the bytes that cannot be is not lost, and the next read has the error.
#[test]
fn a_read_ends_before_what_cannot_be_read() {
    let peer = Peer::new(Kind::Strict);
    let bytes = content(4, 6 * PAGE);
    peer.put("file", &bytes);
    let fs = peer.mount_with(peer.config().data_buffer_size(PAGE).dax(false)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    for bad in [0, 1, 3, 5] {
        let from = (bad * PAGE) as u64;
        peer.strict().watch(move |request| {
            let refused = request.opcode() == op::READ && u64_at(&request.bytes, 48) == from;
            if refused { Act::Refuse(libc::EIO) } else { Act::Serve }
        });
        let mut buffer = vec![0; bytes.len()];
        let read = file.read_at(&mut buffer, 0);
        let polled = run(&fs, file.read_async(&mut buffer, 0));
        if bad == 0 {
            assert_eq!(read.unwrap_err().errno(), Errno::EIO);
            assert_eq!(polled.unwrap_err().errno(), Errno::EIO);
        } else {
            assert_eq!((read.unwrap(), polled.unwrap()), (bad * PAGE, bad * PAGE));
            assert_eq!(buffer[..bad * PAGE], bytes[..bad * PAGE]);
            assert_eq!(file.read_at(&mut buffer, from).unwrap_err().errno(), Errno::EIO);
            assert_eq!(file.read_exact_at(&mut buffer, 0).unwrap_err().errno(), Errno::EIO);
            assert_eq!(fs.read("file").unwrap_err().errno(), Errno::EIO);
        }
    }
    peer.strict().watch(|_| Act::Serve);
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_failed_sync_is_returned_once_by_each_open_file() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(3, PAGE));
    let fs = peer.mount();
    let tables = tables(&fs);
    let (one, two) = (fs.open("file", BOTH).unwrap(), fs.open("file", BOTH).unwrap());
    tables.touch(&one, 0, true, Wanted::Base).unwrap();
    let mut failures = 1;
    peer.strict().watch(move |request| {
        let fails = request.opcode() == op::FSYNC && std::mem::take(&mut failures) == 1;
        if fails { Act::Refuse(libc::EIO) } else { Act::Serve }
    });
    assert_eq!(one.sync_all().unwrap_err().errno(), Errno::EIO);
    assert_eq!(one.dirty_pages(), 1, "the page is not durable");
    let three = fs.open("file", BOTH).unwrap();
    one.sync_all().unwrap();
    assert_eq!(two.sync_all().unwrap_err().errno(), Errno::EIO, "it was open when the stores were lost");
    two.sync_data().unwrap();
    three.sync_all().unwrap();
    drop((one, two, three));
    fs.set_mappings(None);
    peer.finish(fs);
}

#[test]
fn a_sync_waits_for_a_slow_one_and_shares_the_next() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    peer.put("file", &content(4, PAGE));
    let fs = peer.mount_with(peer.config().window_timeout(Duration::from_millis(1))).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let mut first = true;
    peer.strict().watch(move |request| {
        let keeps = request.opcode() == op::FSYNC && std::mem::take(&mut first);
        if keeps { Act::Hold } else { Act::Serve }
    });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| file.sync_all());
        while peer.strict().held() == 0 {
            std::thread::yield_now();
        }
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| file.sync_all())).collect();
        // Much longer than anybody waits for a range of the window.
        peer.clock().advance(Duration::from_secs(5));
        peer.strict().release(0);
        slow.join().unwrap().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap().unwrap());
    });
    let fsyncs = peer.strict().ledger().count(op::FSYNC);
    assert!((2..=5).contains(&fsyncs), "{fsyncs}");
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_window_is_no_cache_of_the_guest() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(5, PAGE));
    let fs = peer.mount();
    peer.strict().watch(|request| match request.opcode() {
        // FOPEN_DIRECT_IO.
        op::OPEN => Act::Alter(Box::new(|answer| answer.bytes[24] |= 1)),
        _ => Act::Serve,
    });
    let file = fs.open("file", BOTH).unwrap();
    assert!(file.map(0, PAGE).is_ok());
    file.write_all_at(b"through it", 0).unwrap();
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"through it");
    let ledger = peer.strict().ledger();
    assert_eq!((ledger.count(op::READ), ledger.count(op::WRITE)), (0, 0));
    drop(ledger);
    drop(file);
    peer.finish(fs);
}

#[test]
fn record_locks_go_with_their_file() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"locked");
    let fs = peer.mount();
    let heard = listen(&peer, &[SETLK, op::FLUSH, op::RELEASE]);
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    file.try_lock(LockRange::SHARED).unwrap();
    drop(file);
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    file.close().unwrap();
    peer.finish(fs);
    let heard = lock(&heard);
    let kinds: Vec<_> = heard.iter().map(|request| u32_at(request, 4)).collect();
    assert_eq!(kinds, [SETLK, op::FLUSH, op::RELEASE, op::FLUSH, op::RELEASE]);
    let owner = u64_at(&heard[0], 48);
    assert_ne!(owner, 0);
    assert_eq!([u64_at(&heard[1], 56), u64_at(&heard[2], 56)], [owner; 2]);
    assert_eq!(u64_at(&heard[3], 56), u64_at(&heard[4], 56));
    assert_ne!(u64_at(&heard[4], 56), owner, "every open file is an owner of its own");
}

/// Page tables that count how often they are made read-only, and look whether faults that are under way notice.
struct Counting {
    file: Arc<File>,
    before: Mutex<LayoutWatch>,
    protections: Mutex<Vec<(usize, bool)>>,
}

impl Mappings for Counting {
    fn unmap(&self, _: FileKey, _: FileRange, _: UnmapCause) {}

    fn write_protect(&self, _: FileKey, range: FileRange) {
        self.write_protect_all(self.file.key(), &[range]);
    }

    fn write_protect_all(&self, _: FileKey, ranges: &[FileRange]) {
        let current = self.file.unchanged_since(*lock(&self.before));
        lock(&self.protections).push((ranges.len(), current));
    }

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), fs_dax::Errno> {
        Ok(())
    }
}

#[test]
fn a_sync_interrupts_the_other_processors_once() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(6, 64 * PAGE));
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = Arc::new(fs.open("file", BOTH).unwrap());
    for page in (0..64).step_by(4) {
        tables.touch(&file, page * PAGE as u64, true, Wanted::Base).unwrap();
    }
    let before = Mutex::new(file.watch());
    let counting = Arc::new(Counting { file: file.clone(), before, protections: Mutex::default() });
    fs.set_mappings(Some(counting.clone()));
    file.sync_all().unwrap();
    assert_eq!(*lock(&counting.protections), [(16, false)], "a fault that was decided before starts again");
    fs.set_mappings(None);
    drop((counting, file));
    peer.finish(fs);
}

fn times_show_every_store(peer: Peer) {
    let path = peer.put("file", &content(7, 2 * PAGE));
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let age = || std::fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
    let mtime = || std::fs::metadata(&path).unwrap().mtime();
    file.write_all_at(b"first", 0).unwrap();
    for round in 0..3 {
        age();
        // The page is dirty on the host already, which takes no notice of further stores.
        file.write_all_at(b"again", 10).unwrap();
        match round {
            0 => assert_ne!(file.attr().unwrap().mtime.secs, 1_000_000, "attributes show what the file's own user did"),
            1 => file.sync_all().unwrap(),
            _ => {
                let view = file.map_mut(0, PAGE).unwrap();
                age();
                view.store(0, b"third");
            }
        }
        if round < 2 {
            assert_ne!(mtime(), 1_000_000, "round {round}");
        }
    }
    drop(file);
    assert_ne!(mtime(), 1_000_000, "at the latest when it is closed");
    // Who sets a time gets it.
    let file = fs.open("file", BOTH).unwrap();
    file.write_all_at(b"again", 10).unwrap();
    let at = virtio_fs::SetTime::At { secs: 77, nanos: 0 };
    file.set_attr(&virtio_fs::SetAttr { mtime: Some(at), ..Default::default() }).unwrap();
    file.close().unwrap();
    assert_eq!(mtime(), 77);
    peer.finish(fs);
}

fn pages_filled_by_reading_go_with_a_change(peer: Peer) {
    let path = peer.put("file", &content(8, 100));
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    let changes = || tables.causes.lock().unwrap().iter().filter(|cause| **cause == UnmapCause::Change).count();
    // The host cannot map the page: the embedder fills one.
    let fill = || {
        let watch = file.watch();
        assert_eq!(tables.touch(&file, 0, false, Wanted::Base), Err(fs_dax::Errno::ENXIO));
        watch
    };
    file.write_all_at(b"a", 0).unwrap();
    assert_eq!(changes(), 0, "nobody has filled a page");
    let before_it_was_installed = fill();
    file.write_all_at(b"b", 0).unwrap();
    assert_eq!(changes(), 1);
    assert!(!file.unchanged_since(before_it_was_installed));
    fill();
    assert_eq!(run(&fs, file.write_async(b"c", 99)).unwrap(), 1);
    assert_eq!(changes(), 2);
    fill();
    let elsewhere = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    elsewhere.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(77)).unwrap();
    file.node().refresh_attr().unwrap();
    assert_eq!(changes(), 3, "the host says that it has changed");
    fill();
    file.set_len(50).unwrap();
    assert!(tables.causes.lock().unwrap().last().unwrap().takes_filled_pages());
    fill();
    file.write_all_at(&content(9, 2 * PAGE), 50).unwrap();
    tables.touch(&file, 0, false, Wanted::Base).expect("a page of the file's own now");
    assert!(changes() >= 4);
    drop(file);
    peer.finish(fs);
}

#[test]
fn what_the_host_could_not_write_is_stored_again() {
    const RANGE: usize = 2 << 20;
    let peer = Peer::new(Kind::Strict);
    let mut data = content(9, RANGE + 8 * PAGE);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    for page in [3, 7] {
        let at = page * PAGE;
        store(&memory, &tables.touch(&file, at as u64, true, Wanted::Base).unwrap(), at as u64, b"mapped");
        data[at..at + 6].copy_from_slice(b"mapped");
    }
    file.write_all_at(b"written", RANGE as u64).unwrap();
    data[RANGE..RANGE + 7].copy_from_slice(b"written");
    let mut failures = 1;
    peer.strict().watch(move |request| match request.opcode() {
        op::FSYNC if failures > 0 => {
            failures -= 1;
            Act::Refuse(libc::EIO)
        }
        _ => Act::Serve,
    });
    assert_eq!(file.sync_all().unwrap_err().errno(), Errno::EIO);
    assert_eq!((file.dirty_pages(), fs.stats().touched_pages), (2, 0));
    // The host takes all of it for clean now: an FSYNC alone would write nothing.
    file.sync_all().unwrap();
    let touched = fs.stats().touched_pages;
    assert_eq!((file.dirty_pages(), touched), (0, 2 + 512 + 8), "the pages, and the ranges that hold stores");
    file.sync_all().unwrap();
    assert_eq!(fs.stats().touched_pages, touched, "once");
    assert_same(&peer.get("file"), &data, "it is what was there");
    drop(file);
    peer.finish(fs);
}

/// Something that a user does to a file.
type Change<'a> = &'a dyn Fn(&str);

fn set_id_bits_go_with_a_change(peer: Peer) {
    let fs = peer.mount();
    let user = fs.as_user(Credentials { uid: 1000, gid: 1000, pid: 1 });
    let make = |name: &str, mode| {
        let path = peer.put(name, &content(8, PAGE));
        chown(&path, Some(1000), Some(1000)).expect("tests of owners run as root");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    let changes: [(&str, Change<'_>); 8] = [
        ("future", &|name| {
            let file = user.open(name, BOTH).unwrap();
            assert_eq!(run(&fs, file.write_async(b"x", 0)).unwrap(), 1);
        }),
        ("future at the end", &|name| {
            let file = user.open(name, BOTH).unwrap();
            assert_eq!(run(&fs, file.write_async(b"x", PAGE as u64)).unwrap(), 1);
        }),
        ("window", &|name| user.open(name, BOTH).unwrap().write_all_at(b"x", 0).unwrap()),
        ("write", &|name| user.open(name, BOTH).unwrap().write_all_at(b"x", PAGE as u64).unwrap()),
        ("cut", &|name| user.open(name, BOTH).unwrap().set_len(10).unwrap()),
        ("open", &|name| drop(user.open(name, BOTH.truncate(true)).unwrap())),
        ("view", &|name| drop(user.open(name, BOTH).unwrap().map_mut(0, 1).unwrap())),
        ("punch", &|name| {
            let mode = FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE;
            // Not every host can.
            let _ = user.open(name, BOTH).unwrap().allocate(mode, 0, PAGE as u64);
        }),
    ];
    if std::fs::metadata(peer.folder()).unwrap().uid() != 0 {
        eprintln!("skipped: only root makes files that belong to others");
        return peer.finish(fs);
    }
    for (name, change) in changes {
        let path = make(name, 0o6775);
        change(name);
        assert_eq!(mode(&path), 0o775, "{name}");
        // Without the right to run it for the group the bit means something else.
        let name = format!("{name}-lock");
        let path = make(&name, 0o6765);
        change(&name);
        assert_eq!(mode(&path), 0o2765, "{name}");
    }
    // Loads take nothing away, and neither do root's stores.
    let path = make("kept", 0o6775);
    user.open("kept", BOTH).unwrap().read_exact_at(&mut [0; 10], 0).unwrap();
    fs.open("kept", BOTH).unwrap().write_all_at(b"x", 0).unwrap();
    assert_eq!(mode(&path), 0o6775);
    drop(user);
    peer.finish(fs);
}

#[test]
fn the_server_takes_set_id_bits_that_nobody_here_knows_of() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.server.killpriv_v2 = true);
    let fs = peer.mount();
    let user = fs.as_user(Credentials { uid: 1000, gid: 1000, pid: 1 });
    if std::fs::metadata(peer.folder()).unwrap().uid() != 0 {
        eprintln!("skipped: only root makes files that belong to others");
        return peer.finish(fs);
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    for name in ["write", "cut", "open", "future", "root"] {
        let path = peer.put(name, &content(8, PAGE));
        chown(&path, Some(1000), Some(1000)).unwrap();
        let (file, of_root) = (user.open(name, BOTH).unwrap(), fs.open(name, BOTH).unwrap());
        // Set on the host, after the attributes were fetched.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6775)).unwrap();
        match name {
            "write" => file.write_all_at(b"x", PAGE as u64).unwrap(),
            "cut" => file.set_len(10).unwrap(),
            "open" => drop(user.open(name, BOTH.truncate(true)).unwrap()),
            "future" => assert_eq!(run(&fs, file.write_async(b"x", PAGE as u64)).unwrap(), 1),
            _ => of_root.write_all_at(b"x", PAGE as u64).unwrap(),
        }
        assert_eq!(mode(&path), if name == "root" { 0o6775 } else { 0o775 }, "{name}");
    }
    drop(user);
    peer.finish(fs);
}

fn what_states_no_size_is_read_to_its_end(peer: Peer) {
    let peer = peer.with_folder(Path::new("/proc/sys/kernel"));
    let fs = peer.mount();
    let file = fs.open("ostype", OpenOptions::new().read(true)).unwrap();
    let mut bytes = [0; 100];
    let count = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes[..count], b"Linux\n");
    assert_eq!(file.read_at(&mut bytes, count as u64).unwrap(), 0);
    drop(file);
    peer.finish(fs);
}

/// Files of sysfs say that they are a page long, whatever they hold.
fn what_states_too_much_is_read_to_its_end(peer: Peer) {
    const FOLDER: &str = "/sys/kernel";
    const NAME: &str = "uevent_seqnum";
    let Ok(wanted) = std::fs::read(Path::new(FOLDER).join(NAME)) else {
        eprintln!("skipped: there is no {FOLDER}/{NAME}");
        return peer.end();
    };
    let peer = peer.with_folder(Path::new(FOLDER));
    let fs = peer.mount();
    let file = fs.open(NAME, OpenOptions::new().read(true)).unwrap();
    assert!(file.len().unwrap() > wanted.len() as u64);
    let mut bytes = [0; 100];
    let count = file.read_at(&mut bytes, 0).unwrap();
    assert!(
        bytes[..count].ends_with(b"\n") && bytes[..count - 1].iter().all(u8::is_ascii_digit),
        "{:?}",
        &bytes[..count]
    );
    assert_eq!(file.read_at(&mut bytes, count as u64).unwrap(), 0);
    assert!(fs.read(NAME).unwrap().ends_with(b"\n"));
    drop(file);
    peer.finish(fs);
}
