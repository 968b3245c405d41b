//! Other file systems of the host's that are mounted somewhere in the share.

use virtio_fs::VirtioFs;

use crate::rig::ledger::{Request, op};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

/// FUSE_ATTR_SUBMOUNT, and where a reply has it: after its header, the fields of the entry and those of the attributes.
const SUBMOUNT: u32 = 1;
const ATTR_FLAGS: usize = 84;
const ENTRY_FLAGS: usize = 16 + 40 + ATTR_FLAGS;

/// Has the server announce that something begins at what is called `name`.
fn announce(name: &'static str) -> impl FnMut(&Request) -> Act + Send {
    move |request| {
        let called = request.bytes.get(40..).and_then(|rest| rest.split(|&byte| byte == 0).next());
        if request.opcode() != op::LOOKUP || called != Some(name.as_bytes()) {
            return Act::Serve;
        }
        Act::Alter(Box::new(|answer| {
            answer.bytes[ENTRY_FLAGS..ENTRY_FLAGS + 4].copy_from_slice(&SUBMOUNT.to_le_bytes());
        }))
    }
}

fn device(fs: &VirtioFs, path: &str) -> u64 {
    fs.lookup(path).unwrap().device()
}

#[test]
fn a_submount_and_what_is_below_it_are_on_a_device_of_their_own() {
    let peer = Peer::new(Kind::Strict);
    for folder in ["plain/below", "mount/below/deep"] {
        std::fs::create_dir_all(peer.path(folder)).unwrap();
    }
    peer.put("plain/below/file", b"1");
    peer.put("mount/below/file", b"2");
    let fs = peer.mount();
    peer.strict().watch(announce("mount"));
    let mount = fs.lookup("mount").unwrap();
    assert!(mount.is_submount());
    assert!(!fs.lookup("plain").unwrap().is_submount() && !fs.root().unwrap().is_submount());
    assert_ne!(mount.device(), 0);
    for path in ["/", "plain", "plain/below", "plain/below/file", "mount/../plain"] {
        assert_eq!(device(&fs, path), 0, "{path}");
    }
    for path in ["mount/below", "mount/below/deep", "mount/below/file"] {
        assert_eq!(device(&fs, path), mount.device(), "{path}");
        assert!(!fs.lookup(path).unwrap().is_submount(), "{path}");
    }
    // What is made or listed there is there.
    fs.write("mount/below/new", b"3").unwrap();
    assert_eq!(device(&fs, "mount/below/new"), mount.device());
    assert_eq!(fs.read_dir("mount/below").unwrap().with_attributes().count(), 3);
    assert_eq!(device(&fs, "mount/below/file"), mount.device());
    assert!(mount.statfs().unwrap().blocks > 0);
    drop(mount);
    peer.finish(fs);
}

#[test]
fn two_submounts_are_two_devices() {
    let peer = Peer::new(Kind::Strict);
    for folder in ["a/mount/file", "b/mount/file"] {
        std::fs::create_dir_all(peer.path(folder)).unwrap();
    }
    let fs = peer.mount();
    peer.strict().watch(announce("mount"));
    let (a, b) = (device(&fs, "a/mount"), device(&fs, "b/mount"));
    assert!(a != b && a != 0 && b != 0, "{a} {b}");
    assert_eq!((device(&fs, "a/mount/file"), device(&fs, "b/mount/file")), (a, b));
    peer.finish(fs);
}
