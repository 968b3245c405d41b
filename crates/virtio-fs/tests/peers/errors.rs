//! Errors are those that the host's own system calls give for the same thing.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use fuse_proto::{AccessMask, Errno};
use virtio_fs::{Credentials, Error, OpenOptions, VirtioFs};

use crate::rig::ledger::{op, u32_at};
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    errors_are_those_of_the_host,
    permissions_are_checked_as_far_as_the_server_goes,
}

/// An operation on a tree, by the driver and by the host.
#[derive(Clone, Copy, Debug)]
enum Operation<'a> {
    Read(&'a str),
    Write(&'a str),
    CreateNew(&'a str),
    MakeDir(&'a str),
    RemoveFile(&'a str),
    RemoveDir(&'a str),
    Rename(&'a str, &'a str),
    Link(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    ReadLink(&'a str),
    List(&'a str),
    Attr(&'a str),
    Resize(&'a str, u64),
    ChangeMode(&'a str, u32),
}

impl Operation<'_> {
    fn by_driver(self, fs: &VirtioFs) -> Result<(), Error> {
        let write = OpenOptions::new().write(true);
        match self {
            Self::Read(path) => fs.read(path).map(drop),
            Self::Write(path) => fs.write(path, b"new contents"),
            Self::CreateNew(path) => fs.open(path, write.create_new(true)).map(drop),
            Self::MakeDir(path) => fs.create_dir(path, 0o755).map(drop),
            Self::RemoveFile(path) => fs.remove_file(path),
            Self::RemoveDir(path) => fs.remove_dir(path),
            Self::Rename(from, to) => fs.rename(from, to),
            Self::Link(from, to) => fs.hard_link(from, to),
            Self::Symlink(target, path) => fs.symlink(path, target).map(drop),
            Self::ReadLink(path) => fs.read_link(path).map(drop),
            Self::List(path) => fs.read_dir(path)?.try_for_each(|entry| entry.map(drop)),
            Self::Attr(path) => fs.attr(path).map(drop),
            Self::Resize(path, size) => fs.open(path, write).and_then(|file| file.set_len(size)),
            Self::ChangeMode(path, mode) => {
                let changes = virtio_fs::SetAttr { mode: Some(mode), ..Default::default() };
                fs.lookup(path).and_then(|node| node.set_attr(&changes).map(drop))
            }
        }
    }

    fn by_host(self, root: &Path) -> io::Result<()> {
        // A path with a slash at its end keeps it, and an empty one stays empty.
        let at = |path: &str| if path.is_empty() { String::new() } else { format!("{}/{path}", root.display()) };
        let write = || std::fs::OpenOptions::new().write(true).to_owned();
        match self {
            Self::Read(path) => std::fs::read(at(path)).map(drop),
            Self::Write(path) => std::fs::write(at(path), b"new contents"),
            Self::CreateNew(path) => write().create_new(true).mode(0o644).open(at(path)).map(drop),
            Self::MakeDir(path) => std::fs::DirBuilder::new().mode(0o755).create(at(path)),
            Self::RemoveFile(path) => std::fs::remove_file(at(path)),
            Self::RemoveDir(path) => std::fs::remove_dir(at(path)),
            Self::Rename(from, to) => std::fs::rename(at(from), at(to)),
            Self::Link(from, to) => std::fs::hard_link(at(from), at(to)),
            Self::Symlink(target, path) => std::os::unix::fs::symlink(target, at(path)),
            Self::ReadLink(path) => std::fs::read_link(at(path)).map(drop),
            Self::List(path) => std::fs::read_dir(at(path)).map(drop),
            Self::Attr(path) => std::fs::metadata(at(path)).map(drop),
            Self::Resize(path, size) => write().open(at(path)).and_then(|file| file.set_len(size)),
            Self::ChangeMode(path, mode) => std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)),
        }
    }
}

fn plant(root: &Path) {
    std::fs::create_dir_all(root.join("dir/full")).unwrap();
    std::fs::create_dir(root.join("dir/empty")).unwrap();
    std::fs::write(root.join("dir/full/file"), b"1").unwrap();
    std::fs::write(root.join("file"), b"contents").unwrap();
    std::os::unix::fs::symlink("file", root.join("link")).unwrap();
    std::os::unix::fs::symlink("dir", root.join("dir-link")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
}

// Long: a table of operations that fail.
fn errors_are_those_of_the_host(peer: Peer) {
    use Operation::*;
    let long = "n".repeat(256);
    let deep = "dir/".repeat(1100);
    let long_in_dir = format!("dir/{long}");
    let operations = [
        Read("missing"),
        Read("dir"),
        Read("file/below"),
        Read("missing/below"),
        Read("dangling"),
        Read("loop"),
        Read("loop/below"),
        Read(""),
        Read("file/"),
        Read(&long),
        Read(&long_in_dir),
        Read(&deep),
        Write("dir"),
        Write("file/below"),
        Write("missing/below"),
        Write("loop"),
        Write(&long),
        CreateNew("file"),
        CreateNew("dir"),
        CreateNew("dangling"),
        CreateNew("link"),
        CreateNew("file/below"),
        CreateNew("missing/below"),
        MakeDir("dir"),
        MakeDir("file"),
        MakeDir("link"),
        MakeDir("dangling"),
        MakeDir("file/below"),
        MakeDir("missing/below"),
        MakeDir(&long),
        RemoveFile("missing"),
        RemoveFile("dir"),
        RemoveFile("file/below"),
        RemoveFile("missing/below"),
        RemoveFile("file/"),
        RemoveFile(&long),
        RemoveDir("missing"),
        RemoveDir("file"),
        RemoveDir("dir/full"),
        RemoveDir("link"),
        RemoveDir("dir-link"),
        RemoveDir("file/below"),
        Rename("missing", "other"),
        Rename("file", "dir"),
        Rename("dir", "file"),
        Rename("dir/empty", "dir/full"),
        Rename("dir", "dir/empty/inside"),
        Rename("file", "missing/below"),
        Rename("file", "file/below"),
        Rename("file", &long),
        Link("missing", "other"),
        Link("dir", "other"),
        Link("file", "dir"),
        Link("file", "link"),
        Link("file", "missing/below"),
        Symlink("anything", "file"),
        Symlink("anything", "missing/below"),
        Symlink("anything", "file/below"),
        ReadLink("file"),
        ReadLink("dir"),
        ReadLink("missing"),
        List("file"),
        List("missing"),
        List("dangling"),
        List("file/"),
        Attr("missing"),
        Attr("file/below"),
        Attr("loop"),
        Attr("file/"),
        Resize("missing", 1),
        Resize("dir", 1),
        Resize("file", 1 << 62),
        ChangeMode("missing", 0o644),
        ChangeMode("file/below", 0o644),
    ];
    plant(peer.folder());
    let twin = tempfile::TempDir::new().unwrap();
    plant(twin.path());
    let fs = peer.mount();
    let mut wrong = Vec::new();
    for operation in operations {
        let wanted = operation.by_host(twin.path()).err().and_then(|error| error.raw_os_error());
        assert!(wanted.is_some(), "{operation:?} is meant to fail");
        let found = operation.by_driver(&fs).err().map(|error| error.errno().number());
        if found != wanted {
            let name = |number: Option<i32>| number.map(io::Error::from_raw_os_error);
            wrong.push(format!("{operation:?}: {:?}, the host says {:?}", name(found), name(wanted)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!peer.path("nowhere").exists() && peer.get("file") == b"contents", "what failed changed nothing");
    peer.finish(fs);
}

/// A user and group without rights, if this process can take their part.
fn nobody() -> Option<Credentials> {
    // SAFETY: a system call without arguments.
    let root = unsafe { libc::geteuid() } == 0;
    root.then_some(Credentials { uid: 65534, gid: 65534, pid: 1 })
}

fn permissions_are_checked_as_far_as_the_server_goes(peer: Peer) {
    let mode = |name: &str, mode| std::fs::set_permissions(peer.path(name), PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir(peer.path("closed")).unwrap();
    peer.put("closed/file", b"secret");
    peer.put("mine", b"secret");
    mode("", 0o755);
    mode("closed", 0o000);
    mode("mine", 0o000);
    let fs = peer.mount();
    let eacces = |result: Result<(), Error>| assert_eq!(result.unwrap_err().errno(), Errno::EACCES);
    if let Some(who) = nobody() {
        // Both servers take the user's part when something is made and answer ACCESS by his rights. What is there they
        // open as root: a kernel with users of its own looks at modes by itself.
        let other = fs.as_user(who);
        eacces(other.write("new", b""));
        eacces(other.create_dir("dir", 0o755).map(drop));
        eacces(other.symlink("link", "target").map(drop));
        eacces(other.lookup("mine").unwrap().access(AccessMask::READ));
        fs.lookup("mine").unwrap().access(AccessMask::READ).expect("root may");
        assert_eq!(fs.read("mine").unwrap(), b"secret");
        mode("", 0o777);
        other.write("new", b"").unwrap();
        other.create_dir("dir", 0o755).unwrap();
        for name in ["new", "dir"] {
            let meta = std::fs::metadata(peer.path(name)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (who.uid, who.gid), "{name}");
        }
    } else {
        eacces(fs.read("mine").map(drop));
        eacces(fs.read("closed/file").map(drop));
        eacces(fs.read_dir("closed").map(drop));
        eacces(fs.open("mine", OpenOptions::new().write(true)).map(drop));
    }
    mode("closed", 0o755);
    mode("mine", 0o644);
    assert_eq!(fs.read("mine").unwrap(), b"secret");
    peer.finish(fs);
}

/// Root may open everything, and so may servers that run as root. Without rights the same tests find EACCES.
#[test]
fn a_server_without_rights_is_refused_on_open() {
    use std::os::unix::process::CommandExt;
    let Some(who) = nobody() else { return };
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    tests.args(["permissions_are_checked", "--test-threads=1"]).uid(who.uid).gid(who.gid).current_dir("/");
    let output = match tests.env_remove("TMPDIR").output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: nobody may run these tests here: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_that_says_enospc_is_believed() {
    use crate::rig::ledger::op;
    use crate::rig::strict::Act;
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"contents");
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let file = fs.open("file", OpenOptions::new().write(true)).unwrap();
    peer.strict().watch(|request| match request.opcode() {
        op::WRITE | op::FALLOCATE => Act::Refuse(libc::ENOSPC),
        op::FSYNC => Act::Refuse(libc::EIO),
        op::FLUSH => Act::Refuse(libc::EDQUOT),
        _ => Act::Serve,
    });
    assert_eq!(file.write_at(b"x", 0).unwrap_err().errno(), Errno::ENOSPC);
    assert_eq!(file.allocate(Default::default(), 0, 1 << 20).unwrap_err().errno(), Errno::ENOSPC);
    assert_eq!(file.sync_all().unwrap_err().errno(), Errno::EIO);
    assert_eq!(file.close().unwrap_err().errno().number(), libc::EDQUOT);
    peer.strict().behave();
    assert_eq!(fs.read("file").unwrap(), b"contents");
    peer.finish(fs);
}

#[test]
fn a_read_only_share_is_erofs() {
    let peer = Peer::new(Kind::Krun).read_only();
    let data = crate::rig::content::content(1, 3 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let erofs = |result: Result<(), Error>| assert_eq!(result.unwrap_err().errno(), Errno::EROFS);
    erofs(fs.write("new", b""));
    erofs(fs.open("file", OpenOptions::new().write(true)).map(drop));
    erofs(fs.create_dir("dir", 0o755).map(drop));
    erofs(fs.remove_file("file"));
    erofs(fs.rename("file", "other"));
    erofs(fs.symlink("link", "file").map(drop));
    crate::rig::content::assert_same(&fs.read("file").unwrap(), &data, "reading goes on");
    assert!(fs.stats().dax_read_bytes > 0);
    peer.finish(fs);
}

#[test]
fn an_attribute_larger_than_a_buffer_is_named_with_its_size() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"contents");
    let fs = peer.mount_with(peer.config().data_buffer_size(8192)).unwrap();
    let node = fs.lookup("file").unwrap();
    // As a server answers whose value has 10 000 bytes: its size to who brings no room for it.
    peer.strict().watch(|request| match request.opcode() {
        op::GETXATTR | op::LISTXATTR if u32_at(&request.bytes, 40) == 0 => {
            Act::Invent([10_000u32.to_le_bytes(), [0; 4]].concat())
        }
        op::GETXATTR | op::LISTXATTR => Act::Refuse(libc::ERANGE),
        _ => Act::Serve,
    });
    let large = |error: Error| matches!(error, Error::TooLarge { len: 10_000, limit: 8192 });
    assert!(large(node.xattr("user.large").unwrap_err()));
    assert!(large(node.xattr_names().unwrap_err()));
    assert_eq!(node.xattr("user.large").unwrap_err().errno(), Errno::E2BIG);
    drop(node);
    peer.finish(fs);
}
