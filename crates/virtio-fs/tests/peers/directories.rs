//! Names: listings, paths, links, renaming.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use fuse_proto::{Errno, FileType, RenameFlags};
use virtio_fs::{Credentials, OpenOptions};

use crate::rig::content::content;
use crate::rig::peer::{Kind, Peer, on_both};

on_both! {
    a_listing_is_what_the_host_has,
    a_listing_with_attributes,
    a_listing_goes_on_at_a_cookie,
    a_node_for_another_user,
    many_entries_in_small_pieces,
    names_of_all_kinds,
    making_and_removing,
    renaming,
    renaming_by_flags,
    hard_links,
    symbolic_links,
    paths_by_the_rules,
    special_files,
    the_same_file_is_the_same_node,
    what_the_host_changes_is_seen_after_a_while,
}

type Listing = BTreeMap<Vec<u8>, Option<FileType>>;

fn host_listing(peer: &Peer, folder: &str) -> Listing {
    use std::os::unix::ffi::OsStringExt;
    std::fs::read_dir(peer.path(folder))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_vec(), FileType::from_mode(entry.path().symlink_metadata().unwrap().mode()))
        })
        .collect()
}

fn many(peer: &Peer) {
    std::fs::create_dir(peer.path("many")).unwrap();
    for index in 0..300 {
        peer.put(format!("many/entry-{index:03}"), &content(index, index as usize));
    }
    for index in 0..10 {
        std::fs::create_dir(peer.path(format!("many/sub-{index}"))).unwrap();
    }
    peer.put("many/with space ü", b"abc");
    std::os::unix::fs::symlink("entry-001", peer.path("many/link")).unwrap();
}

fn a_listing_is_what_the_host_has(peer: Peer) {
    many(&peer);
    let fs = peer.mount();
    let mut found = Listing::new();
    for entry in fs.read_dir("many").unwrap() {
        let entry = entry.unwrap();
        assert!(found.insert(entry.name.clone(), entry.file_type).is_none(), "{:?} twice", entry.name);
    }
    assert_eq!(found, host_listing(&peer, "many"));
    std::fs::create_dir(peer.path("empty")).unwrap();
    assert_eq!(fs.read_dir("empty").unwrap().count(), 0);
    assert_eq!(fs.read_dir("/").unwrap().count(), 2);
    peer.finish(fs);
}

fn a_listing_goes_on_at_a_cookie(peer: Peer) {
    many(&peer);
    let fs = peer.mount();
    let folder = fs.lookup("many").unwrap();
    let all: Vec<_> = folder.read_dir().unwrap().map(Result::unwrap).collect();
    let names = |entries: &[virtio_fs::DirEntry]| entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
    for after in [0, 1, 150, all.len() - 1] {
        let mut listing = folder.read_dir().unwrap();
        listing.seek(all[after].cookie);
        let rest: Vec<_> = listing.by_ref().map(Result::unwrap).collect();
        assert_eq!(names(&rest), names(&all[after + 1..]), "after entry {after}");
        listing.seek(0);
        assert_eq!(listing.map(Result::unwrap).count(), all.len(), "from the begin again");
    }
    drop(folder);
    peer.finish(fs);
}

/// What is looked up from a node, and opened, has the node's credentials.
fn a_node_for_another_user(peer: Peer) {
    std::fs::create_dir(peer.path("folder")).unwrap();
    peer.put("folder/file", b"contents");
    let fs = peer.mount();
    let who = Credentials { uid: 0, gid: 0, pid: 4711 };
    let folder = fs.lookup("folder").unwrap().as_user(who);
    let file = folder.lookup("file").unwrap().open(OpenOptions::new().read(true)).unwrap();
    assert_eq!(file.node().credentials(), who);
    assert!(file.node() == fs.lookup("folder/file").unwrap(), "the same inode");
    assert!(folder.lookup_path("../folder//file").is_err(), "`..` does not lead out of where the walk began");
    assert_eq!(folder.lookup_path("./file").unwrap().size(), 8);
    assert_eq!(fs.credentials(), Credentials::default());
    drop((folder, file));
    peer.finish(fs);
}

fn a_listing_with_attributes(peer: Peer) {
    many(&peer);
    let fs = peer.mount();
    let before = fs.stats().requests;
    let mut count = 0;
    for entry in fs.read_dir("many").unwrap().with_attributes() {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.name.clone()).unwrap();
        let meta = peer.path("many").join(&name).symlink_metadata().unwrap();
        let attr = entry.attr.expect("both servers have READDIRPLUS");
        assert_eq!((attr.ino, attr.size, attr.mode), (meta.ino(), meta.len(), meta.mode()), "{name}");
        count += 1;
    }
    assert_eq!(count, 312);
    let listing = fs.stats().requests - before;
    assert!(listing < 40, "{listing} requests for a listing");
    peer.finish(fs);
}

fn many_entries_in_small_pieces(peer: Peer) {
    many(&peer);
    let fs = peer.mount_with(peer.config().data_buffer_size(4096)).unwrap();
    for plus in [false, true] {
        let mut listing = fs.read_dir("many").unwrap();
        if plus {
            listing = listing.with_attributes();
        }
        let found: Listing = listing.map(|entry| entry.map(|entry| (entry.name, entry.file_type)).unwrap()).collect();
        assert_eq!(found, host_listing(&peer, "many"), "with attributes: {plus}");
    }
    // A listing that is left early gives back what it holds.
    drop(fs.read_dir("many").unwrap().with_attributes().take(3).collect::<Vec<_>>());
    peer.finish(fs);
}

fn names_of_all_kinds(peer: Peer) {
    use std::os::unix::ffi::OsStrExt;
    let fs = peer.mount();
    let longest = "n".repeat(255);
    for name in
        [&b"a"[..], b"...", b" ", b"-", b"\xff\xfe not UTF-8", "päth".as_bytes(), b"new\nline", longest.as_bytes()]
    {
        let data = content(name.len() as u64, 100);
        fs.write(name, &data).unwrap();
        assert_eq!(std::fs::read(peer.folder().join(std::ffi::OsStr::from_bytes(name))).unwrap(), data);
        assert_eq!(fs.read(name).unwrap(), data);
        assert!(fs.read_dir("/").unwrap().any(|entry| entry.unwrap().name == name));
        fs.remove_file(name).unwrap();
    }
    assert_eq!(fs.write("n".repeat(256), b"").unwrap_err().errno(), Errno::ENAMETOOLONG);
    assert_eq!(fs.write(b"with\0NUL", b"").unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(std::fs::read_dir(peer.folder()).unwrap().count(), 0);
    peer.finish(fs);
}

fn making_and_removing(peer: Peer) {
    let fs = peer.mount();
    fs.create_dir("a", 0o755).unwrap();
    fs.create_dir("a/b", 0o700).unwrap();
    fs.create_dir("a/b/c", 0o755).unwrap();
    assert_eq!(std::fs::metadata(peer.path("a/b")).unwrap().mode() & 0o7777, 0o700);
    fs.write("a/b/c/file", b"contents").unwrap();
    assert_eq!(peer.get("a/b/c/file"), b"contents");
    assert_eq!(fs.remove_dir("a/b/c").unwrap_err().errno(), Errno::ENOTEMPTY);
    fs.remove_file("a/b/c/file").unwrap();
    assert_eq!(fs.attr("a/b/c/file").unwrap_err().errno(), Errno::ENOENT);
    fs.remove_dir("a/b/c").unwrap();
    fs.remove_dir("a/b").unwrap();
    fs.remove_dir("a").unwrap();
    assert_eq!(std::fs::read_dir(peer.folder()).unwrap().count(), 0);
    // The name is free again, for something else.
    fs.write("a", b"a file now").unwrap();
    assert!(!fs.attr("a").unwrap().is_dir());
    let file = fs.open("new", OpenOptions::new().write(true).create_new(true).mode(0o600)).unwrap();
    file.close().unwrap();
    assert_eq!(std::fs::metadata(peer.path("new")).unwrap().mode() & 0o7777, 0o600);
    let again = fs.open("new", OpenOptions::new().write(true).create_new(true));
    assert_eq!(again.unwrap_err().errno(), Errno::EEXIST);
    // A name that must be new is not looked up: CREATE says all.
    let before = fs.stats().requests;
    let file = fs.open("newer", OpenOptions::new().write(true).create_new(true)).unwrap();
    assert_eq!(fs.stats().requests - before, 1);
    drop(file);
    peer.finish(fs);
}

fn renaming(peer: Peer) {
    let fs = peer.mount();
    fs.create_dir("from", 0o755).unwrap();
    fs.create_dir("to", 0o755).unwrap();
    fs.write("from/file", b"one").unwrap();
    fs.write("to/old", b"two").unwrap();
    let held = fs.open("to/old", OpenOptions::new().read(true)).unwrap();
    fs.rename("from/file", "from/renamed").unwrap();
    assert_eq!(fs.read("from/renamed").unwrap(), b"one");
    assert_eq!(fs.attr("from/file").unwrap_err().errno(), Errno::ENOENT);
    fs.rename("from/renamed", "to/old").unwrap();
    assert_eq!((peer.get("to/old"), fs.read("to/old").unwrap()), (b"one".to_vec(), b"one".to_vec()));
    let mut found = [0; 3];
    held.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"two", "what was replaced lives on while it is open");
    drop(held);
    fs.rename("to", "moved").unwrap();
    assert_eq!(fs.read("moved/old").unwrap(), b"one");
    assert_eq!(fs.attr("to/old").unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(fs.rename("moved", "moved/inside").unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(fs.rename("missing", "moved/x").unwrap_err().errno(), Errno::ENOENT);
    peer.finish(fs);
}

fn renaming_by_flags(peer: Peer) {
    let fs = peer.mount();
    fs.write("a", b"A").unwrap();
    fs.write("b", b"B").unwrap();
    assert_eq!(fs.rename_with("a", "b", RenameFlags::NOREPLACE).unwrap_err().errno(), Errno::EEXIST);
    fs.rename_with("a", "b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((peer.get("a"), peer.get("b")), (b"B".to_vec(), b"A".to_vec()));
    assert_eq!((fs.read("a").unwrap(), fs.read("b").unwrap()), (b"B".to_vec(), b"A".to_vec()));
    fs.rename_with("a", "c", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(fs.read("c").unwrap(), b"B");
    assert_eq!(fs.read("a").unwrap_err().errno(), Errno::ENOENT);
    peer.finish(fs);
}

fn hard_links(peer: Peer) {
    let fs = peer.mount();
    fs.write("one", b"shared").unwrap();
    fs.hard_link("one", "two").unwrap();
    assert_eq!(std::fs::metadata(peer.path("two")).unwrap().nlink(), 2);
    assert_eq!(fs.attr("one").unwrap().nlink, 2);
    assert_eq!(fs.lookup("one").unwrap(), fs.lookup("two").unwrap());
    let file = fs.open("two", OpenOptions::new().write(true)).unwrap();
    file.write_all_at(b"SHARED", 0).unwrap();
    drop(file);
    assert_eq!(fs.read("one").unwrap(), b"SHARED");
    assert_eq!(fs.hard_link("one", "two").unwrap_err().errno(), Errno::EEXIST);
    fs.remove_file("one").unwrap();
    assert_eq!(fs.attr("two").unwrap().nlink, 1);
    assert_eq!(fs.read("two").unwrap(), b"SHARED");
    peer.finish(fs);
}

fn symbolic_links(peer: Peer) {
    let fs = peer.mount();
    fs.create_dir("folder", 0o755).unwrap();
    fs.write("folder/file", b"contents").unwrap();
    for (name, target) in [
        ("relative", "folder/file"),
        ("absolute", "/folder/file"),
        ("chain", "relative"),
        ("folder/up", "../folder/file"),
        ("to-folder", "folder"),
        ("above", "../../../../folder/file"),
        ("dangling", "missing"),
        ("loop-a", "loop-b"),
        ("loop-b", "loop-a"),
        ("to-folder-slash", "folder/"),
        ("to-file-slash", "folder/file/"),
    ] {
        fs.symlink(name, target).unwrap();
        assert_eq!(std::fs::read_link(peer.path(name)).unwrap().to_str(), Some(target));
        assert_eq!(fs.read_link(name).unwrap(), target.as_bytes());
    }
    for name in ["relative", "absolute", "chain", "folder/up", "to-folder/file", "above", "to-folder/up"] {
        assert_eq!(fs.read(name).unwrap(), b"contents", "{name}");
    }
    assert_eq!(fs.read("dangling").unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(fs.read("loop-a").unwrap_err().errno(), Errno::ELOOP);
    assert_eq!(fs.read("to-file-slash").unwrap_err().errno(), Errno::ENOTDIR);
    assert_eq!(fs.read_dir("to-folder-slash").unwrap().count(), 2);
    assert_eq!(fs.read_link("folder").unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(fs.lookup_no_follow("dangling").unwrap().attr().unwrap().file_type(), Some(FileType::Symlink));
    let no_follow = OpenOptions::new().read(true).no_follow(true);
    assert_eq!(fs.open("relative", no_follow).unwrap_err().errno(), Errno::ELOOP);
    // A file is made where a link points, even if nothing is there yet.
    fs.write("dangling", b"no more").unwrap();
    assert_eq!(peer.get("missing"), b"no more");
    fs.remove_file("chain").unwrap();
    assert_eq!(fs.read("relative").unwrap(), b"contents", "the link goes, not what it points to");
    let long = "x".repeat(4000);
    match fs.symlink("long", &long) {
        Ok(_) => assert_eq!(fs.read_link("long").unwrap(), long.as_bytes()),
        Err(error) => panic!("{error}"),
    }
    peer.finish(fs);
}

fn paths_by_the_rules(peer: Peer) {
    let fs = peer.mount();
    fs.create_dir("a", 0o755).unwrap();
    fs.create_dir("a/b", 0o755).unwrap();
    fs.write("a/b/file", b"contents").unwrap();
    for path in [
        "a/b/file",
        "/a/b/file",
        "//a///b//file",
        "./a/./b/./file",
        "a/b/../b/file",
        "../../a/b/file",
        "a/b/../../a/b/file",
    ] {
        assert_eq!(fs.read(path).unwrap(), b"contents", "{path}");
    }
    for (path, errno) in [
        ("", Errno::ENOENT),
        ("a/b/file/", Errno::ENOTDIR),
        ("a/b/file/x", Errno::ENOTDIR),
        ("a/b/file/..", Errno::ENOTDIR),
        ("a/b/file/.", Errno::ENOTDIR),
        ("a/missing/../b/file", Errno::ENOENT),
        ("a/b", Errno::EISDIR),
        ("/", Errno::EISDIR),
    ] {
        assert_eq!(fs.read(path).unwrap_err().errno(), errno, "{path:?}");
    }
    assert_eq!(fs.lookup("a/b/..").unwrap(), fs.lookup("a").unwrap());
    assert_eq!(fs.lookup("a/..").unwrap(), fs.root().unwrap());
    assert_eq!(fs.lookup("..").unwrap(), fs.root().unwrap());
    assert_eq!(fs.read("a/".repeat(3000)).unwrap_err().errno(), Errno::ENAMETOOLONG);
    assert!(fs.lookup("a/b/").unwrap().is_dir());
    fs.create_dir("a/c/", 0o755).unwrap();
    fs.remove_dir("a/c/").unwrap();
    peer.finish(fs);
}

fn special_files(peer: Peer) {
    let fs = peer.mount();
    let root = fs.root().unwrap();
    root.create_node("pipe", libc::S_IFIFO | 0o644, 0).unwrap();
    root.create_node("socket", libc::S_IFSOCK | 0o644, 0).unwrap();
    root.create_node("plain", libc::S_IFREG | 0o640, 0).unwrap();
    for (name, kind) in [("pipe", libc::S_IFIFO), ("socket", libc::S_IFSOCK), ("plain", libc::S_IFREG)] {
        let mode = std::fs::symlink_metadata(peer.path(name)).unwrap().mode();
        assert_eq!(mode & libc::S_IFMT, kind, "{name}");
        assert_eq!(fs.attr(name).unwrap().mode, mode, "{name}");
    }
    drop(root);
    peer.finish(fs);
}

fn the_same_file_is_the_same_node(peer: Peer) {
    std::fs::create_dir(peer.path("folder")).unwrap();
    peer.put("folder/file", b"1");
    let fs = peer.mount();
    let by_path = fs.lookup("folder/file").unwrap();
    let by_step = fs.lookup("folder").unwrap().lookup("file").unwrap();
    assert_eq!(by_path, by_step);
    assert_eq!(by_path.key(), by_step.key());
    assert_ne!(by_path, fs.lookup("folder").unwrap());
    drop((by_path, by_step));
    peer.finish(fs);
}

fn what_the_host_changes_is_seen_after_a_while(peer: Peer) {
    // Both servers give names a timeout of five seconds. What was never looked at is seen at once.
    let fs = peer.mount();
    peer.put("new", b"contents");
    assert_eq!(fs.read("new").unwrap(), b"contents");
    std::fs::create_dir(peer.path("folder")).unwrap();
    assert_eq!(fs.read_dir("folder").unwrap().count(), 0);
    peer.put("folder/file", b"");
    assert_eq!(fs.read_dir("folder").unwrap().count(), 1);
    peer.finish(fs);
}

#[test]
fn names_are_looked_up_again_when_the_server_does_not_vouch_for_them() {
    use std::time::Duration;
    let peer = Peer::new(Kind::Strict).with_options(|options| {
        options.server.entry_timeout = Duration::ZERO;
        options.server.attr_timeout = Duration::ZERO;
    });
    let fs = peer.mount();
    assert_eq!(fs.attr("file").unwrap_err().errno(), Errno::ENOENT);
    peer.put("file", b"one");
    assert_eq!(fs.read("file").unwrap(), b"one");
    std::fs::remove_file(peer.path("file")).unwrap();
    assert_eq!(fs.attr("file").unwrap_err().errno(), Errno::ENOENT);
    std::fs::create_dir(peer.path("file")).unwrap();
    assert!(fs.attr("file").unwrap().is_dir(), "another inode by the same name");
    peer.finish(fs);
}

#[test]
fn names_are_not_looked_up_again_while_the_server_vouches_for_them() {
    use crate::rig::ledger::op;
    let peer = Peer::new(Kind::Strict);
    std::fs::create_dir_all(peer.path("a/b/c")).unwrap();
    peer.put("a/b/c/file", b"");
    let fs = peer.mount();
    fs.attr("a/b/c/file").unwrap();
    let before = peer.strict().ledger().count(op::LOOKUP);
    assert_eq!(before, 4);
    for _ in 0..100 {
        fs.attr("a/b/c/file").unwrap();
    }
    assert_eq!(peer.strict().ledger().count(op::LOOKUP), before);
    assert!(fs.stats().entry_hits >= 400, "{:?}", fs.stats());
    peer.finish(fs);
}
