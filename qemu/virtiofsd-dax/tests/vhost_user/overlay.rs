//! A share on an overlay: whoever opens a file of it for writing has the host copy it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::guest::{Guest, becomes_the_daemon, succeeds};
use crate::{OPEN, PAGE, set_up};

const READ: u32 = 15;
/// `FUSE_ATTR_DAX`.
const DAX: u32 = 2;

/// A folder with the layers of an overlay, a file in the lower one, and the words that mount it as the share in a mount
/// namespace of whoever runs them. `None` where there can be none.
fn layers() -> Option<(TempDir, String)> {
    // An overlay does not lie on another one, which a container's root often is.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let path = folder.path().display();
    for layer in ["lower", "upper", "work", "share"] {
        fs::create_dir(folder.path().join(layer)).expect("a folder");
    }
    fs::write(folder.path().join("lower/file"), [7; 8192]).expect("a file");
    fs::set_permissions(folder.path().join("lower/file"), PermissionsExt::from_mode(0o666)).expect("it is ours");
    let layers = format!("lowerdir={path}/lower,upperdir={path}/upper,workdir={path}/work");
    let mount = format!("mount -t overlay overlay -o {layers} {path}/share");
    let unshare = if succeeds("test $(id -u) = 0") { "unshare -m" } else { "unshare -rm" };
    if !succeeds(&format!("{unshare} sh -c '{mount}'")) {
        println!("skipped: an overlay cannot be mounted here");
        return None;
    }
    Some((folder, format!("exec {unshare} sh -c '{mount} && exec \"$daemon\" \"$@\"' sh \"$@\"")))
}

fn guest(arguments: &[&str]) -> Option<Guest> {
    let (folder, words) = layers()?;
    let start = becomes_the_daemon(folder.path(), &words);
    let mut guest = Guest::started_by(folder, &start, &[&["--sandbox", "none"], arguments].concat());
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    Some(guest)
}

#[test]
fn files_of_an_overlay_are_read_and_not_copied() {
    let Some(mut guest) = guest(&[]) else { return };
    let copied = guest.folder.path().join("upper/file");
    let (node, flags) = guest.lookup("file");
    assert_eq!(flags & DAX, 0, "not announced as one to map");
    assert_eq!(set_up(&mut guest, node, 0, PAGE, 0), -libc::EACCES);
    let handle = guest.request(OPEN, node, &[0; 8]).u64(0);
    let mut read = [0; 40];
    read[..8].copy_from_slice(&handle.to_ne_bytes());
    read[16..20].copy_from_slice(&1024_u32.to_ne_bytes());
    let reply = guest.request(READ, node, &read);
    assert_eq!((reply.error, reply.body), (0, vec![7; 1024]));
    assert!(!copied.exists(), "it was only looked at");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn who_maps_all_has_files_of_an_overlay_copied() {
    let Some(mut guest) = guest(&["--map-all"]) else { return };
    let copied = guest.folder.path().join("upper/file");
    let (node, flags) = guest.lookup("file");
    assert_eq!(flags & DAX, DAX);
    assert!(!copied.exists());
    assert_eq!(set_up(&mut guest, node, 0, PAGE, 0), 0);
    assert!(copied.exists(), "that is what it costs");
    assert_eq!(guest.end().0, Some(0));
}
