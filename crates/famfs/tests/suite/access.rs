//! Reading, writing, mapping: only a file's own bytes, and only while it is what it was.

use famfs::layout::Format;
use famfs::{Claims, Coherence, Error, File, Mount, MountOptions, NewFile, NodeId, PathFlaw, Room};
use fs_dax::{
    Area, DeviceIndex, DeviceOffset, Errno, Fault, FaultAccess, FaultOutcome, FileRange, PageSize, PageSizes,
    SharedMemory, Sharing, SyncMode, VirtAddr, Wanted,
};

use crate::fixture::{Lock, MIB, OTHER, OWNER, SYSTEM, TestMount, claims, client, file, formatted, master};
use crate::following::Pages;
use crate::hosts::Host;

const LEN: u64 = 64 * MIB;
const VIRT: u64 = 0x7f00_0000_0000;

fn opened(mount: &TestMount, path: &[u8]) -> File<Host, Lock> {
    mount.open_file(mount.lookup(path).unwrap()).unwrap()
}

fn fault(at: u64, len: u64, access: FaultAccess) -> Fault {
    Fault {
        area: Area::new(VirtAddr(VIRT), len, 0).unwrap(),
        at: VirtAddr(VIRT + at),
        access,
        sharing: Sharing::Shared,
        sync: SyncMode::None,
        wanted: Wanted::Largest,
    }
}

#[test]
fn reads_and_writes_end_with_the_file() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"f", &file(5000)).unwrap();
    let f = opened(&mount, b"f");
    let (tail_at, _) = (f.resolve(4999, 1).unwrap().offset.0 + 1, ());
    assert_eq!(f.write_at(4990, &[7; 100]), Ok(10));
    assert_eq!(f.write_at(5000, &[7; 100]), Ok(0));
    assert_eq!(f.write_at(u64::MAX, &[7; 100]), Ok(0));
    let mut buffer = [1; 100];
    assert_eq!(f.read_at(4995, &mut buffer), Ok(5));
    assert_eq!(buffer[..6], [7, 7, 7, 7, 7, 1]);
    assert_eq!(f.read_at(5000, &mut buffer), Ok(0));
    assert_eq!(f.read_at(u64::MAX - 3, &mut buffer), Ok(0));
    f.publish(FileRange::ALL).unwrap();
    assert_eq!(host.medium().bytes(tail_at, 100), [0; 100], "the extent's tail");
    assert_eq!((f.size(), mount.stat(mount.lookup(b"f").unwrap()).unwrap().size), (5000, 5000));
}

#[test]
fn data_reach_other_hosts_when_published_and_seen_when_refreshed() {
    let host = formatted(Format::V48, LEN);
    let (mount, there) = (master(&host), client(&host.other()));
    mount.create(b"f", &file(3 * MIB)).unwrap();
    there.follow(u64::MAX, &()).unwrap();
    let (writer, reader) = (opened(&mount, b"f"), opened(&there, b"f"));
    let seen = || {
        let mut bytes = [0; 3];
        reader.read_at(2 * MIB - 1, &mut bytes).unwrap();
        bytes
    };
    let range = FileRange::new(2 * MIB - 1, 3).unwrap();
    assert_eq!(seen(), [0; 3]);
    writer.write_at(2 * MIB - 1, b"abc").unwrap();
    reader.refresh(range).unwrap();
    assert_eq!(seen(), [0; 3], "not published yet");
    writer.publish(range).unwrap();
    assert_eq!(seen(), [0; 3], "not refreshed yet");
    reader.refresh(range).unwrap();
    assert_eq!(seen(), *b"abc");
}

#[test]
fn with_coherent_hardware_no_line_is_touched() {
    let host = formatted(Format::V48, LEN);
    let options = MountOptions { system: Some(SYSTEM), coherence: Coherence::Hardware, ..MountOptions::default() };
    let mount: TestMount = Mount::open(host.clone(), [], &options, &claims()).unwrap();
    mount.create(b"f", &file(MIB)).unwrap();
    let f = opened(&mount, b"f");
    f.write_at(0, b"cached").unwrap();
    f.publish(FileRange::ALL).unwrap();
    let at = f.resolve(0, 1).unwrap().offset.0;
    // The fake's caches are not coherent: what nobody writes back stays in them.
    assert_eq!(host.medium().bytes(at, 6), [0; 6]);
    assert!(f.publish(FileRange::new(0, u64::MAX).unwrap()).is_ok());
}

#[test]
fn faults_are_answered_with_the_files_own_pages() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"small", &file(5000)).unwrap();
    mount.create(b"large", &file(4 * MIB)).unwrap();
    let (small, large) = (opened(&mount, b"small"), opened(&mount, b"large"));
    let FaultOutcome::Map(page) = large.fault(&fault(3 * MIB, 4 * MIB, FaultAccess::Write), false, PageSizes::SMALL_4K)
    else {
        panic!()
    };
    assert_eq!((page.page.size, page.writable), (PageSize::Huge, true));
    assert_eq!(page.page.phys.0, 0x10_0000_0000 + large.resolve(2 * MIB, 1).unwrap().offset.0);
    // Where the program may store nobody waits for its first store; a private mapping is never written through.
    let read = fault(3 * MIB, 4 * MIB, FaultAccess::Read);
    let private = Fault { sharing: Sharing::Private, ..read };
    for (read, may_store, writable) in [(read, true, true), (read, false, false), (private, true, false)] {
        let FaultOutcome::Map(page) = large.fault(&read, may_store, PageSizes::SMALL_4K) else { panic!() };
        assert_eq!(page.writable, writable);
    }
    // The last page of a file is shown as a whole, and nothing after it.
    let FaultOutcome::Map(page) = small.fault(&fault(4999, 4 * MIB, FaultAccess::Read), false, PageSizes::SMALL_4K)
    else {
        panic!()
    };
    assert_eq!(page.page.size, PageSize::Base);
    let past = small.fault(&fault(8192, 4 * MIB, FaultAccess::Read), false, PageSizes::SMALL_4K);
    assert!(matches!(past, FaultOutcome::BusError(Errno::ERANGE)), "{past:?}");
    // Where all of the mapping is shown, each page is one of the file's own.
    for at in (0..4 * MIB).step_by(4096) {
        let asked = Fault { wanted: Wanted::Base, ..fault(at, 4 * MIB, FaultAccess::Read) };
        let FaultOutcome::Map(page) = large.fault(&asked, false, PageSizes::SMALL_4K) else { panic!() };
        assert_eq!(page.page.phys.0 - 0x10_0000_0000, large.resolve(at, 1).unwrap().offset.0);
    }
}

#[test]
fn pages_are_counted_when_they_are_installed_and_are_current_until_memory_fails() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"f", &file(3 * MIB)).unwrap();
    let f = opened(&mount, b"f");
    let asked = |at, wanted| {
        let asked = Fault { wanted, ..fault(at, 3 * MIB, FaultAccess::Read) };
        let FaultOutcome::Map(page) = f.fault(&asked, true, PageSizes::SMALL_4K) else { panic!() };
        page
    };
    for (at, wanted) in [(0, Wanted::Largest), (5000, Wanted::Base), (2 * MIB, Wanted::Largest)] {
        let page = asked(at, wanted);
        assert!(page.guard.is_current());
        page.guard.installed(&page.page);
    }
    let late = asked(0, Wanted::Largest);
    let counts = mount.faults();
    assert_eq!((counts.faults(), counts.pages_of(2 * MIB), counts.pages_of(4096), counts.fallbacks()), (4, 1, 2, 1));
    mount.notify_failure(DeviceIndex(0), 0, 1, &());
    assert!(!late.guard.is_current(), "what changed after the look-up shows");
}

#[test]
fn what_may_not_be_stored_to_is_refused_by_name() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"ro", &NewFile { read_only: true, ..file(MIB) }).unwrap();
    mount.create(b"rw", &file(MIB)).unwrap();
    let store = fault(0, MIB, FaultAccess::Write);
    let check = |file: File<Host, Lock>, error: Error, errno: Errno| {
        assert_eq!(file.write_at(0, &[1]), Err(error));
        assert_eq!(error.errno(), errno);
        let outcome = file.fault(&store, false, PageSizes::SMALL_4K);
        assert!(matches!(outcome, FaultOutcome::BusError(found) if found == errno), "{outcome:?}");
        assert_eq!(file.read_at(0, &mut [0]), Ok(1));
    };
    check(opened(&mount, b"ro"), Error::FileReadOnly, Errno::EACCES);
    for path in [b".meta/.log".as_slice(), b".meta/.superblock"] {
        check(opened(&mount, path), Error::FileReadOnly, Errno::EACCES);
    }
    let load = fault(0, MIB, FaultAccess::Read);
    let there = client(&host.other().read_only());
    let rw = opened(&there, b"rw");
    let FaultOutcome::Map(page) = rw.fault(&load, true, PageSizes::SMALL_4K) else { panic!() };
    assert!(!page.writable, "memory that is read-only");
    check(opened(&there, b"rw"), Error::ReadOnly, Errno::EROFS);
    assert_eq!(there.mkdir(b"d", &OWNER), Err(Error::ReadOnly));
    let options = MountOptions { read_only: true, system: Some(SYSTEM), ..MountOptions::default() };
    let asked: TestMount = Mount::open(host.other(), [], &options, &claims()).unwrap();
    check(opened(&asked, b"rw"), Error::ReadOnly, Errno::EROFS);
}

#[test]
fn bad_names_and_sizes_change_nothing() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.mkdir(b"d", &OWNER).unwrap();
    mount.create(b"d/f", &file(MIB)).unwrap();
    let before = host.medium().clone();
    let long = [b'n'; 80];
    for (path, flaw, errno) in [
        (long.as_slice(), PathFlaw::Unterminated, Errno::ENAMETOOLONG),
        (b"", PathFlaw::Empty, Errno::EINVAL),
        (b"/d/g", PathFlaw::Absolute, Errno::EINVAL),
        (b"d/../g", PathFlaw::DotDot, Errno::EINVAL),
        (b"d//g", PathFlaw::Component, Errno::EINVAL),
        (b".meta", PathFlaw::Reserved, Errno::EPERM),
        (b".meta/x", PathFlaw::Reserved, Errno::EPERM),
        (b"e/g", PathFlaw::Parent, Errno::ENOENT),
        (b"d/f/g", PathFlaw::Parent, Errno::ENOENT),
        (b"d/f", PathFlaw::Exists, Errno::EEXIST),
        (b"d", PathFlaw::Exists, Errno::EEXIST),
    ] {
        for made in [mount.create(path, &file(MIB)), mount.mkdir(path, &OWNER)] {
            assert_eq!(made, Err(Error::Path(flaw)));
            assert_eq!(made.unwrap_err().errno(), errno);
        }
    }
    assert_eq!(mount.create(b"g", &file(0)).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(mount.create(b"g", &file(61 * MIB)), Err(Error::NoRoom { size: 61 * MIB }));
    assert_eq!(Error::NoRoom { size: 1 }.errno(), Errno::ENOSPC);
    assert_eq!(mount.create(b"g", &file(u64::MAX)), Err(Error::NoRoom { size: u64::MAX }));
    for operation in ["unlink", "rename", "link", "truncate", "chmod"] {
        assert_eq!(mount.refuse(operation).unwrap_err().errno(), Errno::EPERM);
    }
    assert_eq!(*host.medium(), before);
    assert!(mount.create(&long[1..], &file(MIB)).is_ok());
}

#[test]
fn directories_are_read_by_a_cursor_that_stays_valid() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.mkdir(b"d", &OWNER).unwrap();
    mount.create(b"d/one", &file(MIB)).unwrap();
    mount.mkdir(b"d/two", &OWNER).unwrap();
    let dir = mount.lookup(b"d").unwrap();
    let first = mount.read_dir(dir, 0).unwrap().unwrap();
    assert_eq!((first.name(), first.is_dir), (b"one".as_slice(), false));
    mount.mkdir(b"d/three", &OWNER).unwrap();
    let second = mount.read_dir(dir, first.next).unwrap().unwrap();
    let third = mount.read_dir(dir, second.next).unwrap().unwrap();
    assert_eq!((second.name(), third.name(), third.is_dir), (b"two".as_slice(), b"three".as_slice(), true));
    assert_eq!(mount.read_dir(dir, third.next), Ok(None));
    assert_eq!(mount.read_dir(first.id, 0), Err(Error::NotADirectory));
    assert_eq!(mount.lookup_in(dir, b"one"), Ok(first.id));
    assert_eq!(mount.lookup_in(dir, &[b'o'; 80]), Err(Error::NotFound));
    assert_eq!((mount.parent(first.id), mount.parent(NodeId::ROOT)), (Ok(dir), Ok(NodeId::ROOT)));
    let fs = mount.stat_fs().unwrap();
    assert_eq!((fs.blocks, fs.free_blocks), (32, 32 - 2 - 1));
}

#[test]
fn a_region_smaller_than_the_device_refuses_what_is_beyond_it() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"here", &file(4 * MIB)).unwrap();
    mount.create(b"beyond", &file(4 * MIB)).unwrap();
    let there = client(&host.other().cut(10 * MIB));
    assert!(there.lookup(b"here").is_ok());
    assert_eq!(there.lookup(b"beyond"), Err(Error::NotFound));
    let (count, last) = there.refused();
    assert_eq!((count, last.unwrap().flaw.name()), (1, "map_past_device"));
}

#[test]
fn a_lost_range_fails_exactly_the_files_that_have_it() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    for name in ["a", "b", "c"] {
        mount.create(name.as_bytes(), &file(2 * MIB)).unwrap();
    }
    let [a, b, c] = [b"a", b"b", b"c"].map(|path| opened(&mount, path));
    let pages = Pages::default();
    let at = b.resolve(0, 1).unwrap().offset.0;
    let device = DeviceIndex(0);
    assert_eq!(mount.notify_failure(device, at - 1, 0, &pages), 0);
    assert_eq!(mount.notify_failure(DeviceIndex(1), 0, u64::MAX, &pages), 0);
    assert_eq!(mount.notify_failure(device, at, 1, &pages), 1);
    assert_eq!(pages.0.borrow().iter().map(|(key, _)| *key).collect::<Vec<_>>(), [b.key()]);
    assert_eq!(b.read_at(0, &mut [0]).unwrap_err().errno(), Errno::EIO);
    let outcome = b.fault(&fault(0, MIB, FaultAccess::Read), false, PageSizes::SMALL_4K);
    assert!(matches!(outcome, FaultOutcome::BusError(Errno::EIO)));
    assert!(a.read_at(0, &mut [0]).is_ok() && c.read_at(0, &mut [0]).is_ok());
    assert!(mount.mkdir(b"d", &OWNER).is_ok() && mount.follow(1, &pages).is_ok());
    // The log: nothing is added or followed any more, what is there stays readable.
    assert_eq!(mount.notify_failure(device, 3 * MIB, 64, &pages), 1, "the log's own file");
    assert_eq!(mount.mkdir(b"e", &OWNER).unwrap_err().errno(), Errno::EIO);
    assert_eq!(mount.follow(1, &pages).unwrap_err().errno(), Errno::EIO);
    assert!(a.read_at(0, &mut [0]).is_ok());
    assert_eq!(mount.notify_failure(device, 0, u64::MAX, &pages), 3, "a, c and the superblock's file");
}

#[test]
fn a_file_whose_size_changed_has_failed_for_good() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.create(b"f", &file(MIB)).unwrap();
    let f = opened(&mount, b"f");
    assert!(f.check_size(MIB).is_ok());
    assert_eq!(f.check_size(MIB + 1).unwrap_err().errno(), Errno::ENXIO);
    assert_eq!(f.check_size(MIB).unwrap_err().errno(), Errno::ENXIO);
    assert_eq!(f.read_at(0, &mut [0]).unwrap_err().errno(), Errno::ENXIO);
}

#[test]
fn memory_belongs_to_one_mount_whatever_its_name() {
    let host = formatted(Format::V48, LEN);
    let claims = Claims::new();
    let open = |host: &Host| TestMount::open(host.clone(), [], &MountOptions::default(), &claims);
    let first = open(&host).unwrap();
    first.stat(NodeId::ROOT).unwrap();
    // Another object over the same memory, and one over a part of it.
    for same in [host.other(), host.other().cut(20 * MIB)] {
        let busy = open(&same).unwrap_err();
        assert_eq!(busy.errno(), Errno::EBUSY, "{busy}");
    }
    // Memory that begins inside the first mount's, and memory that ends there.
    let phys = host.phys(DeviceOffset(0), 8).unwrap().0;
    for place in [phys + 2 * MIB, phys - 2 * MIB] {
        let overlapping = Host::on(host.medium().clone(), LEN, place);
        assert_eq!(open(&overlapping).unwrap_err().errno(), Errno::EBUSY, "{place:#x}");
    }
    let elsewhere = Host::on(host.medium().clone(), LEN, 0x20_0000_0000);
    let second = open(&elsewhere).unwrap();
    // Files of two mounts have different keys.
    let log = |mount: &TestMount| mount.open_file(NodeId::LOG).unwrap();
    assert_ne!(log(&first).key(), log(&second).key());
    // An open file keeps the memory.
    let open_file = log(&first);
    drop(first);
    assert_eq!(open(&host).unwrap_err().errno(), Errno::EBUSY);
    drop(open_file);
    assert!(open(&host).is_ok());
}

#[test]
fn files_on_another_device_are_refused_unless_it_is_brought() {
    use famfs::layout::{DeviceRecord, FileRecord, Path, Piece, RawMap, Record, Uuid};
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let mut extents = [Piece::default(); 16];
    extents[0] = Piece { device: 3, offset: 0, len: 2 * MIB };
    let records = [
        Record::AddDevice(DeviceRecord { size: 4 * MIB, uuid: Uuid([5; 16]), index: 3 }),
        Record::File(FileRecord {
            size: MIB,
            flags: 2,
            uid: 0,
            gid: 0,
            mode: 0o644,
            path: Path::new(b"far").unwrap().field(),
            map: RawMap::Simple { count: 1, extents },
        }),
    ];
    for (index, record) in (0..).zip(&records) {
        let bytes = record.encode(Format::V48, index).unwrap();
        host.medium().store(mount.superblock().entry_offset(index), &bytes);
    }
    host.medium().store(2 * MIB + 32, &[2_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
    let without = client(&host.other());
    assert_eq!(without.refused().1.unwrap().flaw.name(), "map_device");
    let second = Host::new(4 * MIB, 0x40_0000_0000);
    second.medium().store(0, b"over there");
    let options = MountOptions { system: Some(OTHER), ..MountOptions::default() };
    let with: TestMount = Mount::open(host.other(), [(DeviceIndex(3), second)], &options, &claims()).unwrap();
    let mut bytes = [0; 10];
    opened(&with, b"far").read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"over there");
    let tree = famfs::check(&host.other(), |_| [LEN, 0, 0, 4 * MIB], &mut |_| {}).unwrap().tree;
    assert_eq!(Room::new(&tree, LEN).free(), LEN - 4 * MIB);
}
