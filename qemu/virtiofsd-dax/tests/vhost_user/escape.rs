//! Raw requests with names that lead out of the share: each is refused, and nothing outside is touched.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use vhost_user_guest::outside;

use crate::guest::Guest;
use crate::session;

const LOOKUP: u32 = 1;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const CREATE: u32 = 35;
const RENAME2: u32 = 45;

/// Numbers of 32 bits, as the fixed part of a request.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn named(mut fixed: Vec<u8>, names: &[&CStr]) -> Vec<u8> {
    names.iter().for_each(|name| fixed.extend_from_slice(name.to_bytes_with_nul()));
    fixed
}

/// Every request that carries a name, with `evil` where that name goes: its number, its body, and the errnos for a
/// name with a `/`, for `.`, for `..`, and for none. A 0 is success.
fn requests(evil: &CStr, file: u64) -> Vec<(u32, Vec<u8>, [i32; 4])> {
    use libc::{EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTEMPTY};
    let make = [EINVAL, EEXIST, EEXIST, ENOENT];
    let rename = [EINVAL, EBUSY, EBUSY, ENOENT];
    let regular = libc::S_IFREG | 0o644;
    let create = words(&[(libc::O_RDWR | libc::O_TRUNC).cast_unsigned(), 0o644, 0, 0]);
    vec![
        (LOOKUP, named(vec![], &[evil]), [EINVAL, 0, EINVAL, ENOENT]),
        (SYMLINK, named(vec![], &[evil, c"target"]), make),
        (MKNOD, named(words(&[regular, 0, 0, 0]), &[evil]), make),
        (MKDIR, named(words(&[0o755, 0]), &[evil]), make),
        (UNLINK, named(vec![], &[evil]), [EINVAL, EISDIR, EISDIR, ENOENT]),
        (RMDIR, named(vec![], &[evil]), [EINVAL, EINVAL, ENOTEMPTY, ENOENT]),
        (RENAME, named(1u64.to_ne_bytes().to_vec(), &[evil, c"taken"]), rename),
        (RENAME, named(1u64.to_ne_bytes().to_vec(), &[c"file", evil]), rename),
        (RENAME2, named(words(&[1, 0, 0, 0]), &[evil, c"taken"]), rename),
        (RENAME2, named(words(&[1, 0, 0, 0]), &[c"file", evil]), rename),
        (RENAME2, named(words(&[1, 0, libc::RENAME_EXCHANGE, 0]), &[c"file", evil]), rename),
        (LINK, named(file.to_ne_bytes().to_vec(), &[evil]), make),
        (CREATE, named(create, &[evil]), [EINVAL, EISDIR, EISDIR, ENOENT]),
    ]
}

fn outside(folder: &Path) -> Vec<outside::Entry> {
    outside::snapshot(folder).expect("it can be read")
}

fn with_outside(guest: &Guest) {
    outside::make(guest.folder.path()).expect("files");
    fs::create_dir(guest.share().join("sub")).expect("a folder");
}

#[test]
fn no_name_of_any_request_leaves_the_share() {
    let mut guest = session(&[]);
    with_outside(&guest);
    guest.file("file", 4096, 0o666);
    let (file, _) = guest.lookup("file");
    let (sub, _) = guest.lookup("sub");
    let before = outside(guest.folder.path());
    let share = |guest: &Guest| outside(&guest.share());
    let inside = share(&guest);
    let absolute = format!("{}/secret\0", guest.folder.path().display());
    let absolute = CStr::from_bytes_with_nul(absolute.as_bytes()).expect("one NUL");
    let names = [
        (c"../secret", 0),
        (c"../empty", 0),
        (c"../new", 0),
        (c"sub/../../secret", 0),
        (c"sub/../../new", 0),
        (c"../../new", 0),
        (c"sub/new", 0),
        (c"file/", 0),
        (absolute, 0),
        (c".", 1),
        (c"..", 2),
        (c"", 3),
    ];
    for (name, kind) in names {
        for parent in [1, sub] {
            for (opcode, body, errnos) in requests(name, file) {
                let reply = guest.request(opcode, parent, &body);
                assert_eq!(reply.error, -errnos[kind], "request {opcode} with {name:?} in folder {parent}");
                assert_eq!(outside(guest.folder.path()), before, "request {opcode} with {name:?}");
            }
        }
    }
    assert_eq!(share(&guest), inside);
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_name_ends_at_its_only_nul() {
    let mut guest = session(&[]);
    with_outside(&guest);
    guest.file("file", 4096, 0o666);
    let (file, _) = guest.lookup("file");
    let before = outside(guest.folder.path());
    let two = b"new\0../../new\0".to_vec();
    let unended = b"new".to_vec();
    for name in [&two, &unended] {
        for (opcode, fixed) in [
            (LOOKUP, vec![]),
            (UNLINK, vec![]),
            (RMDIR, vec![]),
            (RENAME, [&1u64.to_ne_bytes()[..], b"file\0"].concat()),
            (RENAME2, [&words(&[1, 0, 0, 0])[..], b"file\0"].concat()),
            (LINK, file.to_ne_bytes().to_vec()),
            // What follows the name would be extensions of the request here.
            (MKNOD, words(&[libc::S_IFREG | 0o644, 0, 0, 0])),
            (MKDIR, words(&[0o755, 0])),
            (CREATE, words(&[libc::O_RDWR.cast_unsigned(), 0o644, 0, 0])),
        ] {
            let reply = guest.request(opcode, 1, &[&fixed[..], name].concat());
            assert_eq!(reply.error, -libc::EINVAL, "request {opcode}");
        }
    }
    assert_eq!(outside(guest.folder.path()), before);
    assert!(guest.share().join("file").exists());
    assert!(!guest.share().join("new").exists());
}
