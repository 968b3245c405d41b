//! Files: whatever the driver does, the host sees, and the other way round.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use fuse_proto::{Errno, FallocateMode};
use virtio_fs::{Config, DaxMode, OpenOptions, SetAttr, SetTime, Sparse, TailMapping};

use crate::rig::content::{assert_same, content, poke};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};

on_both! {
    contents_of_every_size_are_read,
    contents_of_every_size_are_written,
    without_a_window_too,
    with_whole_tails_too,
    pieces_at_odd_places,
    holes_read_as_zeros_and_are_found,
    writes_inside_across_and_past_the_end,
    appending,
    cutting_and_stretching,
    truncation_at_open,
    punching_zeroing_and_allocating,
    copying_on_the_host,
    attributes,
    durability,
    extended_attributes,
    files_without_a_name,
    reading_and_writing_with_a_position,
    what_a_file_is_not_open_for_is_refused,
    large_files_by_small_requests,
    an_unlinked_file_lives_while_it_is_open,
    space_on_the_host,
}

const SIZES: [usize; 10] =
    [0, 1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (4 << 20) + 4096, (5 << 20) + 123];

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const MAKE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);

fn read_every_size(peer: &Peer, config: Config) -> virtio_fs::Stats {
    for (seed, size) in SIZES.into_iter().enumerate() {
        peer.put(format!("size-{size}"), &content(seed as u64, size));
    }
    let fs = peer.mount_with(config).unwrap();
    for (seed, size) in SIZES.into_iter().enumerate() {
        let wanted = content(seed as u64, size);
        let name = format!("size-{size}");
        assert_same(&fs.read(&name).unwrap(), &wanted, &name);
        let file = fs.open(&name, READ).unwrap();
        assert_eq!(file.len().unwrap(), size as u64);
        assert_eq!(file.is_empty().unwrap(), size == 0);
        let mut beyond = [0; 16];
        assert_eq!(file.read_at(&mut beyond, size as u64).unwrap(), 0);
        assert_eq!(file.read_at(&mut beyond, u64::MAX - 3).unwrap(), 0);
        if size > 7 {
            assert_eq!(file.read_at(&mut beyond, size as u64 - 7).unwrap(), 7);
            assert_same(&beyond[..7], &wanted[size - 7..], &name);
            file.read_exact_at(&mut beyond, size as u64 - 7).expect_err("the file ends before");
        }
    }
    let stats = fs.stats();
    fs.unmount().unwrap();
    stats
}

fn contents_of_every_size_are_read(peer: Peer) {
    let stats = read_every_size(&peer, peer.config());
    assert!(stats.dax_read_bytes > 0 && stats.bypass.tail > 0, "{stats:?}");
    peer.end();
}

fn without_a_window_too(peer: Peer) {
    let peer = peer.with_window(None);
    let stats = read_every_size(&peer, peer.config());
    assert_eq!(stats.dax_read_bytes, 0);
    peer.end();
}

fn with_whole_tails_too(peer: Peer) {
    let stats = read_every_size(&peer, peer.config().tail(TailMapping::PartialPage));
    assert_eq!((stats.bypass.tail, stats.request_read_bytes), (0, 0), "{stats:?}");
    peer.end();
}

fn contents_of_every_size_are_written(peer: Peer) {
    let fs = peer.mount();
    for (seed, size) in SIZES.into_iter().enumerate() {
        let wanted = content(seed as u64 + 100, size);
        let name = format!("size-{size}");
        fs.write(&name, &wanted).unwrap();
        assert_same(&peer.get(&name), &wanted, &name);
        // Once more, now that the file is there and as long.
        let wanted = content(seed as u64 + 200, size);
        let file = fs.open(&name, BOTH).unwrap();
        file.write_all_at(&wanted, 0).unwrap();
        assert_same(&peer.get(&name), &wanted, &name);
        file.close().unwrap();
        assert_same(&fs.read(&name).unwrap(), &wanted, &name);
    }
    let stats = fs.stats();
    assert!(stats.dax_write_bytes > 0 && stats.bypass.extending > 0, "{stats:?}");
    peer.finish(fs);
}

fn pieces_at_odd_places(peer: Peer) {
    let size = (5 << 20) + 123;
    let mut wanted = content(1, size);
    let path = peer.put("file", &wanted);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let pieces =
        [(0, 1), (1, 4095), (4095, 2), (4097, 8191), ((2 << 20) - 3, 7), (1 << 20, 3 << 20), (size - 200, 200)];
    for (index, (at, len)) in pieces.into_iter().enumerate() {
        let mut found = vec![0; len];
        file.read_exact_at(&mut found, at as u64).unwrap();
        assert_same(&found, &wanted[at..at + len], at);
        let new = content(50 + index as u64, len);
        file.write_all_at(&new, at as u64).unwrap();
        wanted[at..at + len].copy_from_slice(&new);
        assert_same(&std::fs::read(&path).unwrap(), &wanted, at);
    }
    drop(file);
    peer.finish(fs);
}

fn holes_read_as_zeros_and_are_found(peer: Peer) {
    let size = 16 << 20;
    let mut wanted = vec![0; size];
    let file = std::fs::File::create(peer.path("sparse")).unwrap();
    file.set_len(size as u64).unwrap();
    for at in [0, 6 << 20, size - 4096] {
        let data = content(at as u64, 4096);
        file.write_all_at(&data, at as u64).unwrap();
        wanted[at..at + 4096].copy_from_slice(&data);
    }
    let fs = peer.mount();
    assert_same(&fs.read("sparse").unwrap(), &wanted, "holes");
    let sparse = fs.open("sparse", READ).unwrap();
    let (data, hole) = (Sparse::Data, Sparse::Hole);
    let host = |offset: i64, whence| {
        use std::os::fd::AsRawFd;
        // SAFETY: a system call on an open file that takes and gives numbers.
        unsafe { libc::lseek(file.as_raw_fd(), offset, whence) }
    };
    for offset in [0_i64, 4096, 1 << 20, 6 << 20, (6 << 20) + 1, (16 << 20) - 1] {
        for (whence, what) in [(libc::SEEK_DATA, data), (libc::SEEK_HOLE, hole)] {
            let found = sparse.seek_sparse(offset as u64, what).unwrap();
            assert_eq!(found as i64, host(offset, whence), "from {offset:#x}, {what:?}");
        }
    }
    assert_eq!(sparse.seek_sparse(size as u64, data).unwrap_err().errno(), Errno::ENXIO);
    drop(sparse);
    peer.finish(fs);
}

fn writes_inside_across_and_past_the_end(peer: Peer) {
    let start = 4096 + 100;
    let mut wanted = content(1, start);
    peer.put("file", &wanted);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    for (index, (at, len)) in
        [(10, 20), (start - 50, 10_000), (20_000, 1), (20_001, 4 << 20), (3 << 20, 4 << 20), (9 << 20, 10)]
            .into_iter()
            .enumerate()
    {
        let data = content(10 + index as u64, len);
        assert_eq!(file.write_at(&data, at as u64).unwrap(), len);
        wanted.resize(wanted.len().max(at + len), 0);
        wanted[at..at + len].copy_from_slice(&data);
        assert_eq!(file.len().unwrap(), wanted.len() as u64);
        assert_same(&peer.get("file"), &wanted, format_args!("on the host, after {len} at {at}"));
        assert_same(&fs.read("file").unwrap(), &wanted, format_args!("by the driver, after {len} at {at}"));
    }
    assert_eq!(file.write_at(&[], 1 << 40).unwrap(), 0);
    assert_eq!(file.len().unwrap(), wanted.len() as u64, "a write of nothing stretches nothing");
    assert_eq!(file.write_at(b"x", u64::MAX).unwrap_err().errno(), Errno::EFBIG);
    drop(file);
    peer.finish(fs);
}

fn appending(peer: Peer) {
    peer.put("log", b"first\n");
    let fs = peer.mount();
    let log = fs.open("log", OpenOptions::new().append(true)).unwrap();
    let other = fs.open("log", OpenOptions::new().append(true).read(true)).unwrap();
    log.write_all_at(b"second\n", 0).unwrap();
    other.write_all_at(b"third\n", 3).unwrap();
    log.write_all_at(b"fourth\n", 1 << 30).unwrap();
    assert_eq!(peer.get("log"), b"first\nsecond\nthird\nfourth\n");
    assert_eq!(fs.read("log").unwrap(), peer.get("log"));
    assert_eq!(log.len().unwrap(), 26);
    drop((log, other));
    peer.finish(fs);
}

fn cutting_and_stretching(peer: Peer) {
    let mut wanted = content(1, 6 << 20);
    peer.put("file", &wanted);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    assert_same(&fs.read("file").unwrap(), &wanted, "before");
    for size in [(5 << 20) + 1, 4097, 8 << 20, 2 << 20, 100, 0, 1 << 20] {
        file.set_len(size as u64).unwrap();
        wanted.resize(size, 0);
        assert_same(&peer.get("file"), &wanted, size);
        assert_eq!(file.len().unwrap(), size as u64);
        assert_same(&fs.read("file").unwrap(), &wanted, size);
    }
    drop(file);
    peer.finish(fs);
}

fn truncation_at_open(peer: Peer) {
    peer.put("file", &content(1, 3 << 20));
    let fs = peer.mount();
    let reader = fs.open("file", READ).unwrap();
    let mut start = [0; 4096];
    reader.read_exact_at(&mut start, 1 << 20).unwrap();
    let writer = fs.open("file", OpenOptions::new().write(true).truncate(true)).unwrap();
    assert_eq!(peer.get("file").len(), 0);
    assert_eq!(reader.len().unwrap(), 0);
    assert_eq!(reader.read_at(&mut start, 0).unwrap(), 0, "nothing of the old mapping is read");
    writer.write_all_at(b"new", 0).unwrap();
    assert_eq!(reader.read_at(&mut start, 0).unwrap(), 3);
    assert_eq!(&start[..3], b"new");
    drop((reader, writer));
    peer.finish(fs);
}

fn punching_zeroing_and_allocating(peer: Peer) {
    let mut wanted = content(1, 4 << 20);
    peer.put("file", &wanted);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    assert_same(&fs.read("file").unwrap(), &wanted, "before");
    let punch = FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE;
    file.allocate(punch, 1 << 20, 1 << 20).unwrap();
    wanted[1 << 20..2 << 20].fill(0);
    assert_same(&peer.get("file"), &wanted, "a hole, on the host");
    assert_same(&fs.read("file").unwrap(), &wanted, "a hole, by the driver");
    match file.allocate(FallocateMode::ZERO_RANGE, 100, 5000) {
        Ok(()) => wanted[100..5100].fill(0),
        Err(error) => assert_eq!(error.errno(), Errno::EOPNOTSUPP, "the host's file system cannot"),
    }
    file.allocate(FallocateMode::empty(), 0, 5 << 20).unwrap();
    wanted.resize(5 << 20, 0);
    assert_eq!(file.len().unwrap(), 5 << 20);
    assert_same(&peer.get("file"), &wanted, "allocated, on the host");
    assert_same(&fs.read("file").unwrap(), &wanted, "allocated, by the driver");
    file.allocate(FallocateMode::KEEP_SIZE, 5 << 20, 1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 5 << 20, "the size is kept");
    drop(file);
    peer.finish(fs);
}

fn copying_on_the_host(peer: Peer) {
    let data = content(1, 3 << 20);
    peer.put("from", &data);
    let fs = peer.mount();
    let (from, to) = (fs.open("from", READ).unwrap(), fs.open("to", MAKE).unwrap());
    match from.copy_range(1000, &to, 500, 2 << 20) {
        Ok(count) => {
            let count = count as usize;
            assert!(count > 0);
            let mut wanted = vec![0; 500];
            wanted.extend(&data[1000..1000 + count]);
            assert_same(&peer.get("to"), &wanted, "copied");
            assert_same(&fs.read("to").unwrap(), &wanted, "copied, by the driver");
        }
        // fuse-backend-rs does not know COPY_FILE_RANGE.
        Err(error) => assert_eq!((error.errno(), peer.kind), (Errno::EOPNOTSUPP, Kind::Strict)),
    }
    drop((from, to));
    peer.finish(fs);
}

fn attributes(peer: Peer) {
    peer.put("file", &content(1, 12345));
    let fs = peer.mount();
    let host = || std::fs::metadata(peer.path("file")).unwrap();
    let same = || {
        let (attr, meta) = (fs.attr("file").unwrap(), host());
        assert_eq!((attr.ino, attr.size, attr.blocks), (meta.ino(), meta.len(), meta.blocks()));
        assert_eq!((attr.mode, attr.nlink), (meta.mode(), meta.nlink() as u32));
        assert_eq!((attr.uid, attr.gid), (meta.uid(), meta.gid()));
        assert_eq!((attr.mtime.secs, attr.mtime.nanos), (meta.mtime(), meta.mtime_nsec() as u32));
        assert_eq!((attr.atime.secs, attr.atime.nanos), (meta.atime(), meta.atime_nsec() as u32));
    };
    same();
    let node = fs.lookup("file").unwrap();
    node.set_attr(&SetAttr { mode: Some(0o640), ..SetAttr::default() }).unwrap();
    assert_eq!(host().mode() & 0o7777, 0o640);
    same();
    let time = |secs| Some(SetTime::At { secs, nanos: 987_654_321 });
    node.set_attr(&SetAttr { atime: time(1_000_000_000), mtime: time(1_100_000_000), ..SetAttr::default() }).unwrap();
    assert_eq!((host().atime(), host().mtime()), (1_000_000_000, 1_100_000_000));
    assert_eq!(host().mtime_nsec(), 987_654_321);
    same();
    node.set_attr(&SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() }).unwrap();
    assert!(host().mtime() > 1_700_000_000);
    same();
    node.set_attr(&SetAttr { size: Some(100), ..SetAttr::default() }).unwrap();
    assert_eq!(host().len(), 100);
    same();
    drop(node);
    peer.finish(fs);
}

fn durability(peer: Peer) {
    let fs = peer.mount();
    let file = fs.open("file", MAKE).unwrap();
    file.write_all_at(&content(1, 3 << 20), 0).unwrap();
    file.write_all_at(&content(2, 1 << 20), 1 << 20).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    fs.root().unwrap().sync_dir().unwrap();
    match fs.sync() {
        Ok(()) => {}
        Err(error) => assert_eq!(error.errno(), Errno::EOPNOTSUPP),
    }
    if let Some(strict) = peer.if_strict() {
        assert_eq!(strict.ledger().count(op::FSYNC), 2);
    }
    file.close().unwrap();
    peer.finish(fs);
}

fn extended_attributes(peer: Peer) {
    peer.put("file", b"");
    let fs = peer.mount();
    let node = fs.lookup("file").unwrap();
    let flags = Default::default();
    match node.set_xattr("user.colour", b"green", flags) {
        Ok(()) => {}
        // A host's file system may have none.
        Err(error) => {
            assert_eq!(error.errno(), Errno::EOPNOTSUPP);
            drop(node);
            return peer.finish(fs);
        }
    }
    let long = content(1, 1000);
    node.set_xattr("user.long", &long, flags).unwrap();
    node.set_xattr("user.empty", b"", flags).unwrap();
    assert_eq!(node.xattr("user.colour").unwrap(), b"green");
    assert_eq!(node.xattr("user.long").unwrap(), long);
    assert_eq!(node.xattr("user.empty").unwrap(), b"");
    let mut names = node.xattr_names().unwrap();
    names.retain(|name| name.starts_with(b"user.") && !name.starts_with(b"user.virtiofs"));
    names.sort();
    assert_eq!(names, [&b"user.colour"[..], b"user.empty", b"user.long"]);
    node.remove_xattr("user.colour").unwrap();
    assert_eq!(node.xattr("user.colour").unwrap_err().errno(), Errno::ENODATA);
    assert_eq!(node.remove_xattr("user.colour").unwrap_err().errno(), Errno::ENODATA);
    drop(node);
    peer.finish(fs);
}

fn files_without_a_name(peer: Peer) {
    let fs = peer.mount();
    match fs.root().unwrap().create_unnamed(BOTH) {
        Ok(file) => {
            file.write_all_at(b"nameless", 0).unwrap();
            let mut found = [0; 8];
            file.read_exact_at(&mut found, 0).unwrap();
            assert_eq!(&found, b"nameless");
        }
        Err(error) => assert_eq!(error.errno(), Errno::EOPNOTSUPP, "neither server knows TMPFILE"),
    }
    assert_eq!(std::fs::read_dir(peer.folder()).unwrap().count(), 0);
    peer.finish(fs);
}

fn reading_and_writing_with_a_position(peer: Peer) {
    use embedded_io::{Read, Seek, SeekFrom, Write};
    let fs = peer.mount();
    let mut file = fs.open("file", MAKE).unwrap();
    file.write_all(b"The quick brown fox").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let mut word = [0; 5];
    file.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"quick");
    file.seek(SeekFrom::End(-3)).unwrap();
    file.write_all(b"dog runs").unwrap();
    file.flush().unwrap();
    file.seek(SeekFrom::Current(-4)).unwrap();
    assert_eq!(file.read(&mut word).unwrap(), 4);
    assert_eq!(&word[..4], b"runs");
    file.seek(SeekFrom::Current(-1000)).unwrap_err();
    assert_eq!(peer.get("file"), b"The quick brown dog runs");
    drop(file);
    peer.finish(fs);
}

fn what_a_file_is_not_open_for_is_refused(peer: Peer) {
    peer.put("file", b"contents");
    let fs = peer.mount();
    let (reader, writer) = (fs.open("file", READ).unwrap(), fs.open("file", WRITE).unwrap());
    assert_eq!(reader.write_at(b"x", 0).unwrap_err().errno(), Errno::EBADF);
    assert_eq!(reader.set_len(0).unwrap_err().errno(), Errno::EBADF);
    assert_eq!(writer.read_at(&mut [0], 0).unwrap_err().errno(), Errno::EBADF);
    assert_eq!(fs.open("file", OpenOptions::new()).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(fs.open("file", READ.truncate(true)).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(fs.open("new", READ.create(true)).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(peer.get("file"), b"contents");
    drop((reader, writer));
    peer.finish(fs);
}

fn large_files_by_small_requests(peer: Peer) {
    let peer = peer.with_window(None);
    let data = content(1, (1 << 20) + 77);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().data_buffer_size(4096).data_buffers(1)).unwrap();
    assert_same(&fs.read("file").unwrap(), &data, "4096 bytes at a time");
    fs.write("copy", &data).unwrap();
    assert_same(&peer.get("copy"), &data, "4096 bytes at a time");
    peer.finish(fs);
}

fn an_unlinked_file_lives_while_it_is_open(peer: Peer) {
    let data = content(1, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    fs.remove_file("file").unwrap();
    assert!(!peer.path("file").exists());
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "unlinked");
    file.write_all_at(b"still there", 2 << 20).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
    assert_eq!(fs.open("file", READ).unwrap_err().errno(), Errno::ENOENT);
    drop(file);
    peer.finish(fs);
}

fn space_on_the_host(peer: Peer) {
    let fs = peer.mount();
    let found = fs.statfs().unwrap();
    // SAFETY: a structure of integers.
    let mut wanted: libc::statvfs = unsafe { std::mem::zeroed() };
    let path = std::ffi::CString::new(peer.folder().to_str().unwrap()).unwrap();
    // SAFETY: a path that ends in NUL and a structure to fill.
    assert_eq!(unsafe { libc::statvfs(path.as_ptr(), &raw mut wanted) }, 0);
    assert_eq!((found.blocks, u64::from(found.namelen)), (wanted.f_blocks, wanted.f_namemax));
    peer.finish(fs);
}

#[test]
fn a_file_that_grows_on_the_host_is_seen_to_grow() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.server.attr_timeout = Duration::ZERO);
    let mut data = content(1, 5000);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    assert_eq!(file.len().unwrap(), 5000);
    data.extend(content(2, 3 << 20));
    peer.put("more", &data[5000..]);
    poke(&peer.path("file"), 5000, &data[5000..]);
    assert_eq!(file.len().unwrap(), data.len() as u64);
    let mut found = vec![0; data.len() + 100];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), data.len());
    assert_same(&found[..data.len()], &data, "grown");
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_file_that_shrinks_on_the_host_gives_no_stale_bytes() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.server.attr_timeout = Duration::ZERO);
    let data = content(1, 5 << 20);
    let path = peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
    assert_eq!(file.read_at(&mut found, 0).unwrap(), 1 << 20, "and no fault at what is gone");
    assert_eq!(file.read_at(&mut found, 3 << 20).unwrap(), 0);
    drop(file);
    peer.finish(fs);
}

#[test]
fn files_go_through_the_window_by_mode() {
    let data = content(1, 3 << 20);
    for (mode, file_size, dax) in [
        (DaxMode::Never, Some(0), false),
        (DaxMode::Always, None, true),
        (DaxMode::Inode, None, false),
        (DaxMode::Inode, Some(0), true),
        (DaxMode::Inode, Some(4 << 20), false),
    ] {
        let peer = Peer::new(Kind::Strict).with_options(|options| options.server.dax_file_size = file_size);
        peer.put("file", &data);
        let fs = peer.mount_with(peer.config().dax_mode(mode)).unwrap();
        assert_same(&fs.read("file").unwrap(), &data, format_args!("{mode:?}, {file_size:?}"));
        let stats = fs.stats();
        assert_eq!(stats.dax_read_bytes > 0, dax, "{mode:?}, {file_size:?}: {stats:?}");
        assert_eq!(stats.bypass.mode > 0, !dax, "{mode:?}, {file_size:?}: {stats:?}");
        peer.finish(fs);
    }
}
