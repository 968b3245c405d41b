//! What a guest may do to harm the daemon, the host or itself, and what comes of it.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use vhost_user_guest::guest::{DESCRIPTORS, NEXT, WRITE as WRITABLE, buffer};
use vhost_user_guest::{Descriptor, outside};

use crate::guest::{Guest, removal, setup};
use crate::{CREATE, OPEN, PAGE, REMOVEMAPPING, SETATTR, SETUPMAPPING, WRITE, session, set_up, setattr_size};

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const SETXATTR: u32 = 21;
const READDIR: u32 = 28;
const FALLOCATE: u32 = 43;
const LSEEK: u32 = 46;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

fn mknod(name: &str, mode: u32, rdev: u32) -> Vec<u8> {
    [&words(&[mode, rdev, 0, 0])[..], name.as_bytes(), b"\0"].concat()
}

fn chmod(mode: u32) -> Vec<u8> {
    let mut body = vec![0; 88];
    body[0..4].copy_from_slice(&1u32.to_ne_bytes());
    body[68..72].copy_from_slice(&mode.to_ne_bytes());
    body
}

/// Waits for something, but not for ever.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether every thread of a process sleeps: nobody is busy with nothing.
fn is_idle(pid: u32) -> bool {
    let state = |path: &std::path::Path| {
        let text = fs::read_to_string(path.join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    tasks.flatten().all(|task| state(&task.path()))
}

#[test]
fn links_and_special_files_of_a_guest_are_never_opened() {
    let mut guest = session(&[]);
    outside::make(guest.folder.path()).expect("files");
    let secret = guest.folder.path().join("secret");
    let link = [b"link\0".as_slice(), secret.as_os_str().as_encoded_bytes(), b"\0"].concat();
    assert_eq!(guest.request(SYMLINK, 1, &link).error, 0);
    assert_eq!(guest.request(SYMLINK, 1, b"magic\0/proc/self/fd/0\0").error, 0);
    assert_eq!(guest.request(SYMLINK, 1, b"up\0..\0").error, 0);
    assert_eq!(guest.request(MKNOD, 1, &mknod("fifo", libc::S_IFIFO | 0o666, 0)).error, 0);
    assert_eq!(guest.request(MKNOD, 1, &mknod("socket", libc::S_IFSOCK | 0o666, 0)).error, 0);
    let before = outside::snapshot(guest.folder.path()).expect("readable");
    for name in ["link", "magic", "up", "fifo", "socket"] {
        let (node, _) = guest.lookup(name);
        for flags in [libc::O_RDONLY, libc::O_RDWR, libc::O_WRONLY | libc::O_TRUNC, libc::O_RDWR | libc::O_NOFOLLOW] {
            // A FIFO that is opened waits for somebody: it would not be answered.
            let reply = guest.request(OPEN, node, &words(&[flags.cast_unsigned(), 0]));
            assert_eq!(reply.error, -libc::EBADF, "{name}");
            let create = [&words(&[flags.cast_unsigned(), 0o644, 0, 0])[..], name.as_bytes(), b"\0"].concat();
            assert!(guest.request(CREATE, 1, &create).error < 0, "{name}");
        }
        assert_eq!(set_up(&mut guest, node, 0, PAGE, 0), -libc::ENODEV, "{name}");
        assert!(guest.request(SETATTR, node, &setattr_size(0)).error < 0, "{name}");
        assert!(guest.request(LOOKUP, node, b"secret\0").error < 0, "nothing is below {name}");
        assert!(guest.request(MKNOD, node, &mknod("new", libc::S_IFREG | 0o644, 0)).error < 0, "{name}");
    }
    assert_eq!(outside::snapshot(guest.folder.path()).expect("readable"), before);
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn rights_that_files_lend_and_device_nodes_are_for_whoever_allows_them() {
    let is_root = is_root();
    for allowed in [false, true] {
        let arguments: &[&str] = if allowed { &["--allow-setuid", "--allow-devices", "--xattr"] } else { &["--xattr"] };
        let mut guest = session(arguments);
        guest.file("file", 10, 0o644);
        let (node, _) = guest.lookup("file");
        let expected = if allowed { 0 } else { -libc::EPERM };
        for mode in [0o4755, 0o2755] {
            assert_eq!(guest.request(SETATTR, node, &chmod(libc::S_IFREG | mode)).error, expected, "{mode:o}");
            // The type that the guest claims does not matter.
            assert_eq!(guest.request(SETATTR, node, &chmod(libc::S_IFDIR | mode)).error, expected, "{mode:o}");
            let name = format!("made-{mode:o}");
            let made = guest.request(MKNOD, 1, &mknod(&name, libc::S_IFREG | mode, 0));
            assert_eq!(made.error, expected);
            let flags = libc::O_RDWR.cast_unsigned();
            let create = [&words(&[flags, mode, 0, 0])[..], format!("opened-{mode:o}\0").as_bytes()].concat();
            assert_eq!(guest.request(CREATE, 1, &create).error, expected);
        }
        let mode = guest.share().join("file").metadata().expect("it exists").permissions().mode();
        assert_eq!(mode & 0o6000 != 0, allowed);
        assert_eq!(guest.request(SETATTR, node, &chmod(0o711)).error, 0);
        let device = guest.request(MKNOD, 1, &mknod("device", libc::S_IFCHR | 0o666, 0x103));
        if is_root || !allowed {
            assert_eq!(device.error, expected);
        }
        if allowed && is_root {
            assert!(guest.share().join("device").metadata().expect("it exists").file_type().is_char_device());
            let (device, _) = guest.lookup("device");
            assert_eq!(guest.request(OPEN, device, &words(&[2, 0])).error, -libc::EBADF, "even so it is not opened");
        }
        let value = [0u8; 20];
        let attribute = [&words(&[20, 0])[..], b"security.capability\0", &value].concat();
        let set = guest.request(SETXATTR, node, &attribute).error;
        assert_eq!(set == -libc::EPERM, !allowed || !is_root, "{set}");
        let (share, folder) = (guest.share().join("folder"), 0o2755);
        fs::create_dir(&share).expect("a folder");
        let (node, _) = guest.lookup("folder");
        assert_eq!(
            guest.request(SETATTR, node, &chmod(libc::S_IFDIR | folder)).error,
            0,
            "folders hand their group down"
        );
    }
}

#[test]
fn offsets_that_no_file_has_are_errors() {
    let mut guest = session(&[]);
    guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    let handle = guest.request(OPEN, node, &words(&[2, 0])).u64(0);
    for offset in [1 << 63, u64::MAX, u64::MAX - 4095, i64::MAX as u64, (1 << 63) - 4096] {
        let transfer = [&longs(&[handle, offset])[..], &words(&[8192, 0]), &longs(&[0, 0])].concat();
        assert_eq!(guest.request(READ, node, &transfer).error, -libc::EINVAL, "{offset:#x}");
        assert!(guest.request(READDIR, 1, &transfer).error < 0, "{offset:#x}");
        let mut transfer = transfer;
        transfer.extend_from_slice(&[1; 8192]);
        assert_eq!(guest.request(WRITE, node, &transfer).error, -libc::EINVAL, "{offset:#x}");
        let allocate = [&longs(&[handle, offset, 1 << 40])[..], &words(&[0, 0])].concat();
        assert!(guest.request(FALLOCATE, node, &allocate).error < 0, "{offset:#x}");
        let seek = [&longs(&[handle, offset])[..], &words(&[3, 0])].concat();
        assert!(guest.request(LSEEK, node, &seek).error < 0, "{offset:#x}");
        assert!(guest.request(SETATTR, node, &setattr_size(offset)).error < 0 || offset < 1 << 63, "{offset:#x}");
    }
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_host_that_cannot_allocate_says_so_itself() {
    let mut guest = session(&[]);
    let path = guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    let handle = guest.request(OPEN, node, &words(&[2, 0])).u64(0);
    let copy = path.with_file_name("copy");
    fs::write(&copy, [b'x'; 8192]).expect("a file");
    let copy = fs::OpenOptions::new().write(true).open(copy).expect("a file");
    // Of these some file systems know none, some a few: whatever they say, the guest hears.
    for mode in [0, 0x08, 0x10, 0x20, 0x40, 0x3, 0x1000] {
        let allocate = [&longs(&[handle, 4096, 4096])[..], &words(&[mode, 0])].concat();
        let answer = guest.request(FALLOCATE, node, &allocate).error;
        let host = rustix::fs::fallocate(&copy, FallocateFlags::from_bits_retain(mode), 4096, 4096);
        assert_eq!(answer, host.map_or_else(|error| -error.raw_os_error(), |()| 0), "mode {mode:#x}");
    }
}

#[test]
fn headers_that_lie_about_their_length_are_refused() {
    let mut guest = session(&[]);
    guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    for len in [0u32, 39, 40, 47, 49, 4096, u32::MAX] {
        let mut request = guest.encode(GETATTR, node, &[0; 8]);
        request[0..4].copy_from_slice(&len.to_ne_bytes());
        let (_, reply) = guest.raw(1, &[request], 4096).remove(0);
        assert_eq!(reply[4..8], (-libc::EINVAL).to_ne_bytes(), "{len}");
        let mut request = guest.encode(REMOVEMAPPING, node, &removal(&[(0, PAGE)]));
        request[0..4].copy_from_slice(&len.to_ne_bytes());
        let (_, reply) = guest.raw(1, &[request], 4096).remove(0);
        assert_eq!(reply[4..8], (-libc::EINVAL).to_ne_bytes(), "{len}");
    }
    let more = (2u32).to_ne_bytes();
    let claims_more = guest.request(REMOVEMAPPING, node, &[&more[..], &removal(&[(0, PAGE)])[4..]].concat());
    assert_eq!(claims_more.error, -libc::EINVAL, "two ranges, and one is there");
}

/// Requests of one queue still work.
fn works(guest: &mut Guest, queue: usize) {
    let statfs = guest.together(queue, &[(STATFS, 1, Vec::new())]);
    assert_eq!(statfs[0].error, 0);
}

#[test]
fn an_index_too_far_ahead_leaves_a_queue_dead_and_others_alive() {
    let mut guest = Guest::with_queues(4, &["--num-request-queues", "3"]);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    for ahead in [257, 1000, 40_000] {
        works(&mut guest, 1);
        guest.jump(1, ahead).expect("a jump");
        works(&mut guest, 2);
        until("the daemon is busy with nothing", || is_idle(guest.daemon.pid()));
        let begin = guest.log().len();
        for _ in 0..100 {
            guest.kick(1).expect("a kick");
            works(&mut guest, 3);
        }
        assert!(guest.log().len() - begin < 1000, "it says so once: {}", guest.log());
        // Set up anew, it lives again.
        guest.reset().expect("a reset");
        guest.run().expect("a start");
        assert_eq!(guest.init().error, 0);
    }
    works(&mut guest, 1);
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_queue_that_is_disabled_with_requests_pending_is_left_alone() {
    use vhost::vhost_user::VhostUserFrontend as _;
    let mut guest = Guest::with_queues(3, &["--num-request-queues", "2"]);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    guest.frontend.set_vring_enable(1, false).expect("SET_VRING_ENABLE");
    let request = guest.encode(STATFS, 1, &[]);
    guest.place(1, 0, &request, 4096).expect("a request");
    guest.offer(1, &[0]).expect("offered");
    works(&mut guest, 2);
    until("the daemon is busy with nothing", || is_idle(guest.daemon.pid()));
    assert_eq!(guest.collect(1).expect("a ring"), []);
    guest.frontend.set_vring_enable(1, true).expect("SET_VRING_ENABLE");
    guest.kick(1).expect("a kick");
    assert_eq!(guest.wait(1, 1).expect("it comes back").len(), 1);
}

#[test]
fn chains_that_lie_come_back_with_nothing_and_harm_no_other() {
    let mut guest = Guest::with_queues(3, &["--num-request-queues", "2"]);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    let request = guest.encode(STATFS, 1, &[]);
    let (at, reply) = (buffer(1, 0), buffer(1, 0) + 0x8000);
    let d = |address, len, flags, next| Descriptor { address, len, flags, next };
    let chains: [&[Descriptor]; 9] = [
        // A loop.
        &[d(at, 40, NEXT, 0)],
        &[d(at, 40, NEXT, 1), d(reply, 4096, NEXT | WRITABLE, 1)],
        // Outside the memory, and across its end.
        &[d(1 << 40, 40, NEXT, 1), d(reply, 4096, WRITABLE, 0)],
        &[d(at, 40, NEXT, 1), d(u64::MAX - 8, 4096, WRITABLE, 0)],
        &[d(at, u32::MAX, NEXT, 1), d(reply, 4096, WRITABLE, 0)],
        // To where there is no descriptor.
        &[d(at, 40, NEXT, 9999)],
        // The reply first.
        &[d(reply, 4096, NEXT | WRITABLE, 1), d(at, 40, 0, 0)],
        // Nothing at all, and a table that is none.
        &[d(at, 0, 0, 0)],
        &[d(at, 17, 4, 0)],
    ];
    for (index, chain) in chains.iter().enumerate() {
        guest.place(1, 0, &request, 4096).expect("a request");
        for (number, descriptor) in chain.iter().enumerate() {
            guest.describe(1, number as u16, *descriptor).expect("a descriptor");
        }
        guest.offer(1, &[0]).expect("offered");
        let back = guest.wait(1, 1).expect("it comes back");
        assert!(back[0].1 <= 4096 && back[0].0 == 0, "chain {index}: {back:?}");
        works(&mut guest, 2);
        works(&mut guest, 1);
    }
    until("the daemon is busy with nothing", || is_idle(guest.daemon.pid()));
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_slow_request_stops_neither_others_nor_the_front_end() {
    use vhost::vhost_user::VhostUserFrontend as _;
    let mut guest = session(&["--fault", "fsync:delay-3600000"]);
    let request = guest.encode(FSYNC, 1, &[0; 16]);
    guest.place(1, 60, &request, 4096).expect("a request");
    guest.offer(1, &[(60 * DESCRIPTORS) as u16]).expect("offered");
    // In the same queue, and messages about that queue.
    works(&mut guest, 1);
    guest.frontend.set_vring_enable(1, false).expect("SET_VRING_ENABLE");
    guest.frontend.set_vring_enable(1, true).expect("SET_VRING_ENABLE");
    works(&mut guest, 1);
    guest.reset().expect("a reset in the middle of it");
    guest.run().expect("a start");
    assert_eq!(guest.init().error, 0);
    works(&mut guest, 1);
}

#[test]
fn what_a_stopped_device_owes_comes_when_it_goes_on_and_never_after_a_reset() {
    use vhost::VhostBackend as _;
    let mut guest = session(&["--fault", "statfs:delay-300"]);
    for resets in [false, true] {
        let request = guest.encode(STATFS, 1, &[]);
        guest.place(1, 3, &request, 4096).expect("a request");
        guest.offer(1, &[(3 * DESCRIPTORS) as u16]).expect("offered");
        // It has been taken if the device stops behind it.
        until("it is not taken", || {
            std::thread::sleep(Duration::from_millis(50));
            let base = guest.frontend.get_vring_base(1).expect("GET_VRING_BASE") as u16;
            if base != guest.sent(1) {
                guest.go_on(1, base).expect("it goes on");
            }
            base == guest.sent(1)
        });
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(guest.collect(1).expect("a ring"), [], "the device is stopped");
        if resets {
            guest.reset().expect("a reset");
            guest.run().expect("a start");
            assert_eq!(guest.init().error, 0);
            assert_eq!(guest.collect(1).expect("a ring"), [], "nobody asked for it");
            works(&mut guest, 1);
        } else {
            let base = guest.sent(1);
            guest.go_on(1, base).expect("it goes on");
            let back = guest.wait(1, 1).expect("it comes back");
            assert_eq!(back[0].0 as usize, 3 * DESCRIPTORS);
        }
    }
}

#[test]
fn files_that_are_run_and_not_written_are_left_to_read() {
    for (arguments, expected) in [(&[][..], -libc::EACCES), (&["--map-all"][..], 0)] {
        let mut guest = session(arguments);
        guest.file("programme", 8192, 0o744);
        guest.file("data", 8192, 0o666);
        let (programme, flags) = guest.lookup("programme");
        assert_eq!(set_up(&mut guest, programme, 0, 8192, 0), expected);
        assert_eq!(flags & 2, 0, "others read and do not write it");
        let (data, _) = guest.lookup("data");
        assert_eq!(set_up(&mut guest, data, 0, 8192, 0x20_0000), 0);
        guest.file("open", 8192, 0o777);
        assert_eq!(guest.lookup("open").1 & 2 != 0, expected == 0, "what is not mapped is not announced");
    }
}

/// Paths of the files that a process has open.
fn open_files(pid: u32, name: &str) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    let paths = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let regular = |path: &std::path::Path| path.file_name().is_some_and(|last| last == name);
    paths.filter(|path| regular(path)).count()
}

fn is_open_for_writing(pid: u32, name: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    descriptors.flatten().any(|entry| {
        let path = fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy())).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0");
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap_or(0);
        path.file_name().is_some_and(|last| last == name) && flags & libc::O_ACCMODE != libc::O_RDONLY
    })
}

#[test]
fn a_file_is_open_for_writing_only_while_it_is_mapped_or_the_guest_has_it_open_so() {
    let mut guest = session(&[]);
    let pid = guest.daemon.pid();
    guest.file("mine", 8192, 0o600);
    guest.file("data", 8192, 0o666);
    let before = guest.share().join("data").metadata().expect("it exists");
    guest.uid = 12345;
    let (mine, _) = guest.lookup("mine");
    assert_eq!(set_up(&mut guest, mine, 0, PAGE, 0), -libc::EACCES);
    assert!(!is_open_for_writing(pid, "mine"), "nobody who may write it has asked");
    let (data, _) = guest.lookup("data");
    assert_eq!(set_up(&mut guest, data, 0, 8192, 0), 0);
    assert!(is_open_for_writing(pid, "data"));
    let nodes = open_files(pid, "data");
    assert_eq!(guest.request(REMOVEMAPPING, data, &removal(&[(0, 4096)])).error, 0);
    assert!(is_open_for_writing(pid, "data"), "a part is mapped");
    assert_eq!(guest.request(REMOVEMAPPING, data, &removal(&[(4096, 4096)])).error, 0);
    assert!(!is_open_for_writing(pid, "data"));
    assert_eq!(open_files(pid, "data"), nodes - 1);
    let handle = guest.request(OPEN, data, &words(&[2, 0])).u64(0);
    assert!(is_open_for_writing(pid, "data"));
    let release = [&longs(&[handle])[..], &words(&[2, 0]), &longs(&[0])].concat();
    assert_eq!(guest.request(RELEASE, data, &release).error, 0);
    assert!(!is_open_for_writing(pid, "data"));
    let after = guest.share().join("data").metadata().expect("it exists");
    assert_eq!(
        (before.len(), before.mtime_nsec(), before.ctime_nsec()),
        (after.len(), after.mtime_nsec(), after.ctime_nsec())
    );
}

#[test]
fn the_host_keeps_what_it_appends_to_a_file_that_is_mapped_meanwhile() {
    use std::io::Write as _;
    let mut guest = session(&[]);
    let path = guest.file("log", 4096 + 1, 0o666);
    let (node, _) = guest.lookup("log");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let appender = scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("a file");
            let mut written = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && written < 1 << 20 {
                file.write_all(b"0123456789abcde").expect("room");
                written += 15;
            }
            written
        });
        for _ in 0..300 {
            // Whether it works or not depends on the size that the file has just then.
            let error = set_up(&mut guest, node, 0, 4096, 0);
            assert!(matches!(error, 0), "{error}");
            set_up(&mut guest, node, 0, 0x20_0000, 0x20_0000);
            assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, u64::MAX)])).error, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        appender.join().expect("it appends")
    });
    let contents = fs::read(path).expect("a file");
    assert_eq!(contents.len(), 4097 + written);
    assert!(contents[4097..].chunks(15).all(|piece| piece == &b"0123456789abcde"[..piece.len()]), "NULs or losses");
}

#[test]
fn a_mapping_is_cut_before_its_file_shrinks_under_whatever_name_and_way() {
    let trunc = (libc::O_RDWR | libc::O_TRUNC).cast_unsigned();
    for way in 0..5 {
        let mut guest = session(&[]);
        let path = guest.file("file", 16384, 0o666);
        fs::hard_link(&path, guest.share().join("second")).expect("a link");
        let (node, _) = guest.lookup("file");
        assert_eq!(set_up(&mut guest, node, 0, 16384, 0), 0);
        let forget = guest.encode(2, node, &1u64.to_ne_bytes());
        guest.raw(0, &[forget], 0);
        let (again, _) = guest.lookup("second");
        guest.asked();
        guest.qemu().watched = Some(path.clone());
        let error = match way {
            0 => guest.request(SETATTR, again, &setattr_size(4096)).error,
            1 => guest.request(OPEN, again, &words(&[trunc, 0])).error,
            2 => guest.request(OPEN, again, &words(&[libc::O_TRUNC.cast_unsigned(), 0])).error,
            3 => guest.request(CREATE, 1, &[&words(&[trunc, 0o644, 0, 0])[..], b"second\0"].concat()).error,
            _ => {
                let handle = guest.request(OPEN, again, &words(&[2, 0])).u64(0);
                guest.request(FALLOCATE, again, &[&longs(&[handle, 0, 4096])[..], &words(&[8, 0])].concat()).error
            }
        };
        if error == -libc::EOPNOTSUPP {
            continue;
        }
        assert_eq!(error, 0, "way {way}");
        guest.qemu().check_ends();
        let asked = guest.asked();
        let barrier = vhost_user_guest::Asked::Barrier(Some(16384));
        assert!(asked.contains(&barrier), "way {way}: the guest sees the removal before the file shrinks: {asked:?}");
        assert!(path.metadata().expect("it exists").len() < 16384, "way {way}");
    }
}

#[test]
fn mappings_and_truncations_that_race_leave_nothing_past_the_end() {
    let mut guest = session(&[]);
    guest.file("file", 1 << 20, 0o666);
    let (node, _) = guest.lookup("file");
    for round in 0..200u64 {
        let mut requests = Vec::new();
        for number in 0..16u64 {
            let size = if number % 2 == 0 { 4096 * ((round * 7 + number) % 9) + round % 2 * 100 } else { 1 << 20 };
            requests.push((SETATTR, node, setattr_size(size)));
            let offset = number * 0x10_000;
            requests.push((SETUPMAPPING, node, setup(offset % 0x8000, 0x8000, offset)));
        }
        guest.together(1, &requests);
        guest.qemu().check_ends();
        // The first mapping of a file races, too.
        assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, u64::MAX)])).error, 0);
        assert_eq!(guest.request(SETATTR, node, &setattr_size(1 << 20)).error, 0);
        let (maps, cuts) = ((SETUPMAPPING, node, setup(0, 1 << 20, 0)), (SETATTR, node, setattr_size(0)));
        guest.together(1, &if round % 2 == 0 { [maps, cuts] } else { [cuts, maps] });
        guest.qemu().check_ends();
        assert_eq!(guest.request(SETATTR, node, &setattr_size(1 << 20)).error, 0);
    }
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_file_that_is_replaced_or_removed_keeps_its_mapping_until_it_shrinks() {
    let mut guest = session(&[]);
    guest.file("file", 16384, 0o666);
    guest.file("other", 100, 0o666);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, 16384, 0), 0);
    guest.asked();
    let rename = [&longs(&[1])[..], b"other\0file\0"].concat();
    assert_eq!(guest.request(12, 1, &rename).error, 0);
    let (replacing, _) = guest.lookup("file");
    assert_ne!(replacing, node);
    assert_eq!(guest.request(SETATTR, replacing, &setattr_size(0)).error, 0);
    assert_eq!(guest.request(10, 1, b"file\0").error, 0);
    assert_eq!(guest.asked(), [], "the file that is mapped has not changed");
    guest.qemu().check_ends();
    assert_eq!(guest.request(SETATTR, node, &setattr_size(0)).error, 0, "it has no name, and can be cut");
    assert!(matches!(guest.asked()[..], [vhost_user_guest::Asked::Unmap(0, 16384), ..]));
    guest.qemu().check_ends();
}

#[test]
fn a_setuid_file_of_the_host_that_a_guest_changes_is_none_any_more() {
    const SIZE: u32 = 8;
    let open = |guest: &mut Guest, node, flags: i32| guest.request(OPEN, node, &words(&[flags.cast_unsigned(), 0]));
    for allowed in [false, true] {
        let arguments: &[&str] = if allowed { &["--allow-setuid"] } else { &[] };
        let mut guest = session(arguments);
        for way in ["write", "cut", "emptied", "allocated"] {
            let path = guest.file(way, 8192, 0o644);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).expect("it is ours");
            let (node, _) = guest.lookup(way);
            let handle = open(&mut guest, node, libc::O_RDWR).u64(0);
            let error = match way {
                "write" => {
                    let write =
                        [&longs(&[handle, 0])[..], &words(&[4, 0]), &longs(&[0]), &words(&[2, 0]), b"evil"].concat();
                    guest.request(WRITE, node, &write).error
                }
                "cut" => {
                    let setattr = [&words(&[SIZE, 0])[..], &longs(&[handle, 100]), &[0; 64]].concat();
                    guest.request(SETATTR, node, &setattr).error
                }
                "emptied" => open(&mut guest, node, libc::O_RDWR | libc::O_TRUNC).error,
                _ => guest.request(FALLOCATE, node, &[&longs(&[handle, 0, 100])[..], &words(&[0, 0])].concat()).error,
            };
            let mode = path.metadata().expect("it exists").permissions().mode() & 0o7777;
            if way == "allocated" && !allowed {
                assert_eq!((error, mode), (-libc::EOPNOTSUPP, 0o6755));
                continue;
            }
            assert_eq!(error, 0, "{way}");
            assert_eq!(mode & 0o6000 == 0, !allowed || !is_root(), "{way}: {mode:o}");
        }
        assert_eq!(guest.end().0, Some(0));
    }
}

/// Whether the daemon acts as root here, whom the host's kernel lets keep set-id bits.
fn is_root() -> bool {
    fs::metadata("/proc/self").expect("proc").uid() == 0
}
