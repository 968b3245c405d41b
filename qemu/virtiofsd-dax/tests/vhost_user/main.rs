//! The daemon as a process, driven over its socket by a front end that keeps a record.

mod confined;
mod escape;
mod guest;
mod hostile;
mod overlay;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use guest::{Asked, Guest, inode, removal, setup, start_daemon};

const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const WRITE: u32 = 16;
const CREATE: u32 = 35;
const DESTROY: u32 = 38;
const SETUPMAPPING: u32 = 48;
const REMOVEMAPPING: u32 = 49;
const PAGE: u64 = 4096;

fn session(arguments: &[&str]) -> Guest {
    let mut guest = Guest::new(arguments);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    guest
}

fn set_up(guest: &mut Guest, node: u64, file_offset: u64, len: u64, window_offset: u64) -> i32 {
    guest.request(SETUPMAPPING, node, &setup(file_offset, len, window_offset)).error
}

#[test]
fn both_numbers_of_the_shared_memory_feature_are_offered_and_no_memory_slots() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start_daemon(folder.path(), &[]);
    let mut socket = UnixStream::connect(folder.path().join("socket")).expect("a connection");
    let get_protocol_features = [15u32, 1, 0].map(u32::to_ne_bytes).concat();
    socket.write_all(&get_protocol_features).expect("sent");
    let mut reply = [0; 20];
    socket.read_exact(&mut reply).expect("an answer");
    let features = u64::from_ne_bytes(reply[12..].try_into().expect("eight bytes"));
    for (bit, offered) in [(22, true), (21, true), (18, true), (9, true), (5, true), (3, true), (15, false)] {
        assert_eq!(features >> bit & 1 == 1, offered, "bit {bit} of {features:#x}");
    }
    drop(socket);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_device_says_tag_queues_and_window() {
    use vhost::vhost_user::VhostUserFrontend as _;
    use vhost::vhost_user::message::VhostUserConfigFlags;
    let mut guest = Guest::with_queues(4, &["--tag", "files", "--num-request-queues", "3", "--window-size", "16M"]);
    assert_eq!(guest.show_window(), 16 << 20);
    let (_, config) = guest.frontend.get_config(0, 40, VhostUserConfigFlags::WRITABLE, &[0; 40]).expect("GET_CONFIG");
    assert_eq!(&config[..5], b"files");
    assert!(config[5..36].iter().all(|&byte| byte == 0));
    assert_eq!(config[36..], 3u32.to_le_bytes());
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn init_is_amended() {
    let mut guest = Guest::new(&[]);
    guest.show_window();
    let reply = guest.init();
    let (flags, flags2, alignment) = (reply.u32(12), reply.u32(32), reply.u32(28) >> 16);
    assert_eq!(flags >> 26 & 1, 1, "MAP_ALIGNMENT");
    assert_eq!(alignment, 12);
    assert_eq!(flags2 >> 1 & 1, 1, "HAS_INODE_DAX");
    assert_eq!(flags2 >> 8 & 1, 0, "with ALLOW_IDMAP, Linux does not say who asks");
}

#[test]
fn files_that_all_readers_may_map_are_announced() {
    let mut guest = session(&[]);
    for (name, len, mode, announced) in [
        ("open", 8192, 0o666, true),
        ("mine", 8192, 0o600, true),
        ("readable", 8192, 0o644, false),
        ("odd", 8191, 0o666, false),
        ("empty", 0, 0o666, false),
    ] {
        guest.file(name, len, mode);
        assert_eq!(guest.lookup(name).1 & 2 != 0, announced, "{name}");
    }
}

#[test]
fn without_a_window_there_is_no_dax() {
    let mut hidden = Guest::new(&[]);
    // This front end does not ask for the window: its guest sees none.
    let mut none = Guest::new(&["--window-size", "0"]);
    let mut readonly = Guest::new(&["--readonly"]);
    for guest in [&mut hidden, &mut none, &mut readonly] {
        guest.file("file", 8192, 0o666);
        let reply = guest.init();
        assert_eq!((reply.u32(12) >> 26 & 1, reply.u32(32) >> 1 & 1), (0, 0));
        let (node, flags) = guest.lookup("file");
        assert_eq!(flags & 2, 0);
        assert_eq!(set_up(guest, node, 0, PAGE, 0), -libc::ENOSYS);
        assert_eq!(guest.request(REMOVEMAPPING, 1, &removal(&[(0, PAGE)])).error, -libc::ENOSYS);
        assert_eq!(guest.asked(), []);
    }
}

#[test]
fn set_ups_that_come_together_share_a_barrier() {
    let mut guest = session(&[]);
    let path = guest.file("file", 4 * 8192, 0o666);
    let (node, _) = guest.lookup("file");
    let requests: Vec<_> =
        (0..4).map(|index| (SETUPMAPPING, node, setup(index * 8192, 8192, index * 0x20_0000))).collect();
    for reply in guest.together(1, &requests) {
        assert_eq!((reply.error, reply.body.len()), (0, 0));
    }
    let inode = inode(&path);
    let mut expected: Vec<_> = (0..4).map(|index| Asked::Map(index * 0x20_0000, 8192, inode, index * 8192)).collect();
    expected.push(Asked::Barrier(None));
    assert_eq!(guest.asked(), expected);
}

#[test]
fn overlaps_are_unmapped_first_and_repetitions_ask_nothing() {
    let mut guest = session(&[]);
    let path = guest.file("file", 8192, 0o666);
    let inode = inode(&path);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), 0);
    guest.asked();
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), 0);
    assert_eq!(guest.asked(), []);
    assert_eq!(set_up(&mut guest, node, PAGE, PAGE, 0), 0);
    assert_eq!(
        guest.asked(),
        [
            Asked::Unmap(0, 8192),
            Asked::Map(PAGE, PAGE, inode, PAGE),
            Asked::Map(0, PAGE, inode, PAGE),
            Asked::Barrier(None)
        ]
    );
    assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, 0x20_0000), (0x40_0000, PAGE)])).error, 0);
    let (status, _, summary) = guest.end();
    assert_eq!(status, Some(0));
    assert_eq!((&summary["set_up"], &summary["removed"], &summary["live"]), (&3.into(), &3.into(), &0.into()));
}

#[test]
fn what_cannot_be_mapped_is_refused_and_never_asked_for() {
    let mut guest = session(&["--window-size", "4M"]);
    let empty = guest.file("empty", 0, 0o666);
    guest.file("odd", 5000, 0o666);
    guest.file("whole", 8192, 0o666);
    std::fs::create_dir(guest.share().join("folder")).expect("a folder");
    let empty_node = guest.lookup("empty").0;
    let odd = guest.lookup("odd").0;
    let whole = guest.lookup("whole").0;
    let folder = guest.lookup("folder").0;
    for (node, file_offset, len, window_offset, errno) in [
        (empty_node, 0, PAGE, 0, libc::ENXIO),
        (odd, 0, 2 * PAGE, 0, libc::ENXIO),
        (odd, PAGE, PAGE, 0, libc::ENXIO),
        (whole, 2 * PAGE, PAGE, 0, libc::ENXIO),
        (whole, 1 << 63, PAGE, 0, libc::ENXIO),
        (whole, u64::MAX - PAGE + 1, PAGE, 0, libc::ENXIO),
        (whole, 1, PAGE, 0, libc::EINVAL),
        (whole, 0, PAGE, 1, libc::EINVAL),
        (whole, 0, 100, 0, libc::EINVAL),
        (whole, 0, 0, 0, libc::EINVAL),
        (whole, 0, PAGE, 4 << 20, libc::EINVAL),
        (whole, 0, 8 << 20, 0, libc::EINVAL),
        (whole, 0, PAGE, u64::MAX - PAGE + 1, libc::EINVAL),
        (folder, 0, PAGE, 0, libc::ENODEV),
        (4711, 0, PAGE, 0, libc::EBADF),
    ] {
        let error = set_up(&mut guest, node, file_offset, len, window_offset);
        assert_eq!(error, -errno, "node {node}, {file_offset:#x} {len:#x} {window_offset:#x}");
    }
    assert_eq!(guest.asked(), []);
    assert_eq!(empty.metadata().expect("it exists").len(), 0);
    assert_eq!(set_up(&mut guest, odd, 0, PAGE, 0), 0, "its whole page can be");
    assert_eq!(set_up(&mut guest, whole, 0, 0x20_0000, 0x20_0000), 0, "as Linux asks: past the end of whole pages");
}

#[test]
fn who_may_not_write_gets_no_mapping() {
    let mut guest = session(&[]);
    for (mode, uid, errno) in [
        (0o644, 12345, libc::EACCES),
        (0o600, 12345, libc::EACCES),
        (0o644, u32::MAX, libc::EACCES),
        (0o646, 12345, 0),
        (0o642, 12345, libc::EACCES),
        (0o444, 0, 0),
    ] {
        let name = format!("file-{mode:o}-{uid}");
        guest.file(&name, 4096, mode);
        guest.uid = 0;
        let (node, _) = guest.lookup(&name);
        guest.uid = uid;
        // The daemon must be able to write it too, which root always is.
        let error = set_up(&mut guest, node, 0, PAGE, 0);
        let unprivileged = mode == 0o444 && error == -libc::EACCES;
        assert!(error == -errno || unprivileged, "{name}: {error}");
    }
}

fn setattr_size(size: u64) -> Vec<u8> {
    let mut body = vec![0; 88];
    body[0..4].copy_from_slice(&8u32.to_ne_bytes());
    body[16..24].copy_from_slice(&size.to_ne_bytes());
    body
}

fn truncation(act: impl FnOnce(&mut Guest, u64)) -> Vec<Asked> {
    let mut guest = session(&[]);
    let path = guest.file("file", 16384, 0o666);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, 16384, 0), 0);
    guest.asked();
    guest.qemu.lock().expect("nobody panicked").watched = Some(path.clone());
    act(&mut guest, node);
    guest.asked()
}

#[test]
fn nothing_is_mapped_past_the_end_when_a_file_shrinks() {
    let trunc = (libc::O_RDWR | libc::O_TRUNC).cast_unsigned();
    let to_nothing = [Asked::Unmap(0, 16384), Asked::Barrier(Some(16384))];
    let opened = truncation(|guest, node| {
        let reply = guest.request(OPEN, node, &[trunc.to_ne_bytes(), [0; 4]].concat());
        assert_eq!(reply.error, 0);
    });
    assert_eq!(opened, to_nothing);
    let created = truncation(|guest, _| {
        let body = [&trunc.to_ne_bytes()[..], &0o644u32.to_ne_bytes(), &[0; 8], b"file\0"].concat();
        assert_eq!(guest.request(CREATE, 1, &body).error, 0);
    });
    assert_eq!(created, to_nothing);
    let shrunk = truncation(|guest, node| {
        assert_eq!(guest.request(SETATTR, node, &setattr_size(5000)).error, 0);
        assert_eq!(guest.share().join("file").metadata().expect("it exists").len(), 5000);
    });
    // The page in which it ends is apart: it could not be mapped again.
    assert!(matches!(
        shrunk[..],
        [
            Asked::Unmap(0, 16384),
            Asked::Map(0, 4096, _, 0),
            Asked::Map(4096, 4096, _, 4096),
            Asked::Barrier(Some(16384))
        ]
    ));
    let removed_before = truncation(|guest, node| {
        assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, 16384)])).error, 0);
        assert_eq!(guest.request(SETATTR, node, &setattr_size(0)).error, 0);
    });
    assert_eq!(removed_before, to_nothing, "what was removed is out of sight first");
}

#[test]
fn a_file_that_is_cut_under_another_number_is_unmapped_too() {
    let asked = truncation(|guest, node| {
        // The guest forgets the file but not its mapping, and finds it again.
        let forget = guest.encode(2, node, &1u64.to_ne_bytes());
        assert_eq!(guest.raw(0, &[forget], 0)[0].0, 0);
        let (again, _) = guest.lookup("file");
        assert_eq!(guest.request(SETATTR, again, &setattr_size(0)).error, 0);
    });
    assert_eq!(asked, [Asked::Unmap(0, 16384), Asked::Barrier(Some(16384))]);
}

#[test]
fn growth_is_mapped_before_the_guest_hears_of_it() {
    let mut guest = session(&[]);
    let path = guest.file("file", 4096, 0o666);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, 0x20_0000, 0), 0);
    let handle = guest.request(OPEN, node, &[2u32.to_ne_bytes(), [0; 4]].concat());
    guest.asked();
    let write = |offset: u64, bytes: &[u8]| {
        let mut body = Vec::new();
        for number in [handle.u64(0), offset, bytes.len() as u64, 0, 0] {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        body.extend_from_slice(bytes);
        body
    };
    assert_eq!(guest.request(WRITE, node, &write(4096, &[b'y'; 4096])).error, 0);
    assert_eq!(guest.asked(), [Asked::Map(PAGE, PAGE, inode(&path), PAGE), Asked::Barrier(None)]);
    // And on the host: as soon as the guest asks.
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(&[1; 8192])).expect("more");
    assert_eq!(guest.request(3, node, &[0; 16]).error, 0);
    assert!(matches!(guest.asked()[..], [Asked::Map(8192, 8192, _, 8192), Asked::Barrier(None)]));
    // A page that the file fills only in part cannot be mapped: the guest hears nothing of it.
    assert_eq!(guest.request(WRITE, node, &write(16384, b"0123456789")).error, -libc::EIO);
    assert_eq!(guest.request(3, node, &[0; 16]).error, -libc::EIO);
    assert_eq!(guest.asked(), []);
    assert_eq!(path.metadata().expect("it exists").len(), 16394, "it is as long as the guest made it");
    assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, 0x20_0000)])).error, 0);
    assert_eq!(guest.request(3, node, &[0; 16]).error, 0, "without the mapping it is like any other");
}

#[test]
fn a_session_ends_with_nothing_mapped() {
    for opcode in [DESTROY, 26] {
        let mut guest = session(&[]);
        guest.file("file", 8192, 0o666);
        let (node, _) = guest.lookup("file");
        assert_eq!(set_up(&mut guest, node, 0, 8192, 0x20_0000), 0);
        guest.asked();
        if opcode == DESTROY {
            assert_eq!(guest.request(DESTROY, 0, &[]).error, 0);
        } else {
            guest.init();
        }
        assert_eq!(guest.asked(), [Asked::Unmap(0x20_0000, 8192), Asked::Barrier(None)]);
        let (status, log, summary) = guest.end();
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(summary["live"], 0);
        if opcode == DESTROY {
            assert_eq!(summary["live_at_destroy"], 1);
            assert_eq!(summary["lookups_outstanding"], 1);
            assert_eq!(summary["requests"]["SETUPMAPPING"], 1);
        }
    }
}

#[test]
fn a_stopped_device_is_asked_nothing() {
    use vhost::vhost_user::VhostUserFrontend as _;
    let mut guest = session(&[]);
    guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    guest.frontend.set_vring_enable(0, false).expect("SET_VRING_ENABLE");
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), -libc::EIO);
    assert_eq!(guest.asked(), []);
    guest.frontend.set_vring_enable(0, true).expect("SET_VRING_ENABLE");
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), 0);
}

#[test]
fn a_refusal_of_the_front_end_is_an_error_of_the_guest() {
    let mut guest = session(&[]);
    guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    guest.qemu.lock().expect("nobody panicked").refuse_maps = true;
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), -libc::EIO);
    guest.qemu.lock().expect("nobody panicked").refuse_maps = false;
    guest.asked();
    assert_eq!(set_up(&mut guest, node, 0, 8192, 0), 0);
    assert!(matches!(guest.asked()[..], [Asked::Map(0, 8192, ..), Asked::Barrier(_)]));
}

#[test]
fn the_limit_of_mappings_holds() {
    let mut guest = session(&["--max-mappings", "2"]);
    guest.file("file", 4 * 4096, 0o666);
    let (node, _) = guest.lookup("file");
    let errors: Vec<_> = (0..3).map(|page| set_up(&mut guest, node, page * PAGE, PAGE, page * PAGE)).collect();
    assert_eq!(errors, [0, 0, -libc::ENOSPC]);
}

#[test]
fn nonsense_is_survived() {
    let mut guest = session(&[]);
    let short = guest.encode(SETUPMAPPING, 1, &[])[..20].to_vec();
    assert_eq!(guest.raw(1, &[short], 4096)[0].0, 0, "it has no header to answer");
    assert_eq!(guest.request(SETUPMAPPING, 1, &[0; 8]).error, -libc::EINVAL);
    assert_eq!(guest.request(REMOVEMAPPING, 1, &[]).error, -libc::EINVAL);
    assert_eq!(guest.request(REMOVEMAPPING, 1, &removal(&[(1, PAGE)])).error, -libc::EINVAL);
    assert_eq!(guest.request(REMOVEMAPPING, 1, &u32::MAX.to_ne_bytes()).error, -libc::EINVAL);
    assert_eq!(guest.request(REMOVEMAPPING, 1, &removal(&[])).error, 0);
    assert_eq!(guest.request(9999, 1, &[]).error, -libc::ENOSYS);
    assert_eq!(guest.request(OPEN, 1, &[]).error, -libc::EINVAL);
    let mut lying = guest.encode(REMOVEMAPPING, 1, &removal(&[(0, PAGE)]));
    lying[0..4].copy_from_slice(&10u32.to_ne_bytes());
    guest.raw(1, &[lying], 4096);
    for (opcode, room) in [(28, 8), (44, 8), (15, 0), (1, 15)] {
        let cramped = guest.encode(opcode, 1, &[0; 40]);
        assert_eq!(guest.raw(1, &[cramped], room)[0].0, 0, "request {opcode} with {room} bytes of room");
    }
    let silent = guest.encode(SETUPMAPPING, 1, &setup(0, PAGE, 0));
    assert_eq!(guest.raw(1, &[silent], 0)[0].0, 0, "there is no room to answer");
    assert_eq!(guest.request(17, 1, &[]).error, 0, "it still works");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn faults_happen_as_ordered() {
    let mut guest = session(&["--fault", "removemapping:unknown@1", "--fault", "setupmapping:ENOMEM@2"]);
    guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, PAGE, 0), 0);
    assert_eq!(set_up(&mut guest, node, 0, PAGE, 8192), -libc::ENOMEM);
    guest.asked();
    assert_eq!(guest.request(REMOVEMAPPING, node, &removal(&[(0, PAGE)])).error, -libc::EIO);
    assert_eq!(guest.asked(), [Asked::Unmap(0, PAGE)], "it was done all the same");
}
