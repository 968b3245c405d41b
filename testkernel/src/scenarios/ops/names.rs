//! Names: made, changed, removed, listed, and walked.

use crate::{
    events,
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        operations::{MAKE, READ, WRITE, begin, end, holds, refused},
    },
};
use alloc::{format, string::String, vec::Vec};
use fuse_proto::{AccessMask, Attr, Errno, FileType, RenameFlags};
use testkernel_protocol::content::stream;
use virtio_fs::{Config, Credentials, DirEntry, OpenOptions, SetAttr};

/// The kind of a named pipe in a mode.
const FIFO: u32 = 0o010_000;

/// Every kind of name is made, linked, renamed by all rules, and removed. OUTPUT: the tree under `ops` as the driver
/// lists it; the host compares it with its own listing and with what must be there.
pub(crate) fn names(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    fs.create_dir("ops/a", 0o750)?;
    fs.create_dir("ops/a/b", 0o755)?;
    refused("making a folder that is there", fs.create_dir("ops/a", 0o755), Errno::EEXIST)?;
    fs.write("ops/a/one", b"one")?;
    fs.write("ops/two", b"two")?;
    fs.hard_link("ops/a/one", "ops/linked")?;
    let links = fs.attr("ops/a/one")?.nlink;
    ensure!(links == 2, "a file with two names has {links} links");
    refused("linking to a name that is there", fs.hard_link("ops/two", "ops/linked"), Errno::EEXIST)?;
    fs.symlink("ops/symbolic", "a/one")?;
    let target = fs.read_link("ops/symbolic")?;
    ensure!(target == b"a/one", "the symbolic link says {:?}", String::from_utf8_lossy(&target));
    holds(&fs, "ops/symbolic", b"one")?;
    refused("the target of a file", fs.read_link("ops/two"), Errno::EINVAL)?;
    let fifo = fs.lookup("ops")?.create_node("fifo", FIFO | 0o640, 0)?.attr()?;
    ensure!(fifo.file_type() == Some(FileType::Fifo), "a named pipe has the mode {:o}", fifo.mode);

    fs.rename("ops/a/one", "ops/a/moved")?;
    refused("the old name of a file", fs.attr("ops/a/one"), Errno::ENOENT)?;
    let no_replace = RenameFlags::NOREPLACE;
    refused("renaming onto a name", fs.rename_with("ops/two", "ops/a/moved", no_replace), Errno::EEXIST)?;
    fs.rename_with("ops/two", "ops/three", no_replace)?;
    fs.rename_with("ops/three", "ops/a/moved", RenameFlags::EXCHANGE)?;
    holds(&fs, "ops/three", b"one")?;
    holds(&fs, "ops/a/moved", b"two")?;
    fs.rename("ops/a/b", "ops/c")?;
    refused("renaming a folder into itself", fs.rename("ops/a", "ops/a/inside"), Errno::EINVAL)?;
    fs.write("ops/old", b"old")?;
    fs.write("ops/new", b"new")?;
    let old = fs.open("ops/old", READ)?;
    fs.rename("ops/new", "ops/old")?;
    holds(&fs, "ops/old", b"new")?;
    let mut bytes = [0; 3];
    old.read_exact_at(&mut bytes, 0)?;
    ensure!(&bytes == b"old", "a replaced file that is open gives {bytes:?}");
    drop(old);

    fs.create_dir("ops/gone", 0o755)?;
    fs.write("ops/gone/file", b"x")?;
    refused("removing a folder that is not empty", fs.remove_dir("ops/gone"), Errno::ENOTEMPTY)?;
    fs.remove_file("ops/gone/file")?;
    fs.remove_dir("ops/gone")?;
    refused("a removed folder", fs.attr("ops/gone"), Errno::ENOENT)?;
    refused("removing it again", fs.remove_dir("ops/gone"), Errno::ENOENT)?;
    list_tree(&fs, "ops")?;
    end(&fs)
}

/// A folder of 311 entries with their attributes. OUTPUT as of `dirs::listing_matches_host`; at the daemon READDIRPLUS, and
/// no LOOKUP but those of the path.
pub(crate) fn readdirplus(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    let mut entries = sorted(&fs, "dirs/many")?;
    for DirEntry { name, attr, .. } in entries.drain(..) {
        let attr = attr.ok_or_else(|| no_attributes(&name))?;
        let kind = if attr.is_dir() { "d -".into() } else { format!("f {}", attr.size) };
        events::output(kind.as_bytes());
        events::output(b" ");
        events::output(&name);
        events::output(b"\n");
    }
    let plain = fs.read_dir("dirs/many")?.count();
    ensure!(plain == 311, "{plain} entries without attributes");
    end(&fs)
}

/// Paths with `.`, `..`, symbolic links of all kinds, loops and slashes. Opening a link that leads nowhere makes the file
/// that it names: sync `made`, the host looks.
pub(crate) fn paths(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    fs.create_dir("ops/dir", 0o755)?;
    fs.create_dir("ops/dir/sub", 0o755)?;
    fs.write("ops/dir/sub/file", b"here")?;
    for (target, name) in [
        ("..", "ops/dir/up"),
        ("/ops/dir", "ops/absolute"),
        ("dir/sub", "ops/deep"),
        ("loop", "ops/loop"),
        ("pong", "ops/ping"),
        ("ping", "ops/pong"),
        ("made-through", "ops/dangling"),
        ("dir/sub/file", "ops/to-file"),
    ] {
        fs.symlink(name, target)?;
    }
    for path in [
        "ops/dir/sub/../sub/./file",
        "//ops///dir//sub/file",
        "/../../ops/dir/sub/file",
        "ops/dir/up/dir/sub/file",
        "ops/dir/up/../ops/to-file",
        "ops/absolute/sub/file",
        "ops/deep/file",
        "ops/deep/../sub/file",
        "ops/to-file",
    ] {
        holds(&fs, path, b"here")?;
    }
    for path in ["ops/dir/", "ops/deep/", "ops/deep/.", "/", "ops/deep/..", ".."] {
        ensure!(fs.attr(path)?.is_dir(), "{path} is no folder");
    }
    let root = fs.lookup("/")?;
    ensure!(fs.lookup("ops/dir/up/..")? == root, "`..` after a link is not the parent of its target");
    refused("a loop", fs.attr("ops/loop"), Errno::ELOOP)?;
    refused("a loop of two", fs.attr("ops/ping/x"), Errno::ELOOP)?;
    refused("a file with a slash behind it", fs.attr("ops/dir/sub/file/"), Errno::ENOTDIR)?;
    refused("a link to a file with a slash behind it", fs.attr("ops/to-file/"), Errno::ENOTDIR)?;
    refused("a file as a folder", fs.attr("ops/to-file/../file"), Errno::ENOTDIR)?;
    refused("no path", fs.attr(""), Errno::ENOENT)?;
    refused("a link that leads nowhere", fs.attr("ops/dangling"), Errno::ENOENT)?;
    refused("a link where none may be", fs.open("ops/to-file", READ.no_follow(true)), Errno::ELOOP)?;
    refused("creating a link that is there", fs.open("ops/dangling", WRITE.create_new(true)), Errno::EEXIST)?;
    ensure!(fs.lookup_no_follow("ops/loop")?.attr()?.is_symlink(), "a link that isn't followed is no link");
    fs.open("ops/dangling", MAKE)?.write_all_at(b"through", 0)?;
    wait_for_host("made")?;
    end(&fs)
}

/// The errors that POSIX wants. Those of permission take a daemon that can act as somebody else: info `permissions`
/// says whether it could.
pub(crate) fn errors(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    fs.create_dir("ops/full", 0o755)?;
    fs.write("ops/full/file", b"x")?;
    fs.write("ops/file", b"x")?;
    let long = "n".repeat(256);
    let longest = "m".repeat(255);
    let into_long = format!("ops/{long}");
    refused("ENOENT: a file", fs.open("ops/none", READ), Errno::ENOENT)?;
    refused("ENOENT: a folder on the way", fs.attr("ops/none/file"), Errno::ENOENT)?;
    refused("ENOENT: removing", fs.remove_file("ops/none"), Errno::ENOENT)?;
    refused("ENOENT: renaming", fs.rename("ops/none", "ops/other"), Errno::ENOENT)?;
    refused("ENOENT: making in no folder", fs.create_dir("ops/none/folder", 0o755), Errno::ENOENT)?;
    refused("EEXIST: a folder", fs.create_dir("ops/file", 0o755), Errno::EEXIST)?;
    refused("EEXIST: a link", fs.symlink("ops/file", "x"), Errno::EEXIST)?;
    refused("ENOTDIR: on the way", fs.attr("ops/file/x"), Errno::ENOTDIR)?;
    refused("ENOTDIR: listing", fs.read_dir("ops/file"), Errno::ENOTDIR)?;
    refused("ENOTDIR: removing as a folder", fs.remove_dir("ops/file"), Errno::ENOTDIR)?;
    refused("ENOTDIR: replacing a file by a folder", fs.rename("ops/full", "ops/file"), Errno::ENOTDIR)?;
    refused("EISDIR: opening", fs.open("ops/full", READ), Errno::EISDIR)?;
    refused("EISDIR: removing as a file", fs.remove_file("ops/full"), Errno::EISDIR)?;
    refused("EISDIR: replacing a folder by a file", fs.rename("ops/file", "ops/full"), Errno::EISDIR)?;
    refused("ENOTEMPTY: removing", fs.remove_dir("ops/full"), Errno::ENOTEMPTY)?;
    fs.create_dir("ops/empty", 0o755)?;
    refused("ENOTEMPTY: replacing", fs.rename("ops/empty", "ops/full"), Errno::ENOTEMPTY)?;
    refused("ENAMETOOLONG: looking up", fs.attr(&into_long), Errno::ENAMETOOLONG)?;
    refused("ENAMETOOLONG: making", fs.create_dir(&into_long, 0o755), Errno::ENAMETOOLONG)?;
    refused("ENAMETOOLONG: a path", fs.attr("x/".repeat(3000)), Errno::ENAMETOOLONG)?;
    fs.create_dir(format!("ops/{longest}"), 0o755)?;
    refused("EINVAL: neither reading nor writing", fs.open("ops/file", OpenOptions::new()), Errno::EINVAL)?;
    permissions(&fs)?;
    end(&fs)
}

/// The server makes things in the user's name and answers ACCESS by his rights, and that is all: whether he may make
/// them is for a kernel with users to decide.
fn permissions(fs: &Fs) -> Outcome {
    drop(fs.open("ops/secret", MAKE.mode(0o600))?);
    fs.write("ops/secret", b"secret")?;
    let other = fs.as_user(Credentials { uid: 4321, gid: 4321, pid: 1 });
    fs.lookup("ops")?.set_attr(&SetAttr { mode: Some(0o777), ..SetAttr::default() })?;
    let theirs = match other.create_dir("ops/theirs", 0o700) {
        Err(error) if error.errno() == Errno::EPERM => {
            events::info("permissions", &"not checked");
            return Ok(());
        }
        made => made?.attr()?,
    };
    ensure!((theirs.uid, theirs.gid) == (4321, 4321), "what they made is {}:{}'s", theirs.uid, theirs.gid);
    refused("EACCES: reading", other.lookup("ops/secret")?.access(AccessMask::READ), Errno::EACCES)?;
    refused("EACCES: executing", other.lookup("ops/file")?.access(AccessMask::EXECUTE), Errno::EACCES)?;
    other.lookup("ops/file")?.access(AccessMask::READ)?;
    fs.lookup("ops/secret")?.access(AccessMask::READ)?;
    events::info("permissions", &"checked");
    Ok(())
}

/// A share that may not be changed: each change is EROFS, and reading works. The host finds nothing changed.
pub(crate) fn read_only(machine: &Machine) -> Outcome {
    const FILE: &str = "files/size-4097";
    let fs = mount::mount(machine, Config::default())?;
    holds(&fs, FILE, &stream(FILE, 4097))?;
    let before = fs.attr(FILE)?;
    let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    refused("opening for writing", fs.open(FILE, WRITE), Errno::EROFS)?;
    refused("cutting", fs.open(FILE, WRITE.truncate(true)), Errno::EROFS)?;
    refused("creating", fs.open("new", MAKE), Errno::EROFS)?;
    refused("making a folder", fs.create_dir("new", 0o755), Errno::EROFS)?;
    refused("a symbolic link", fs.symlink("new", "x"), Errno::EROFS)?;
    refused("a link", fs.hard_link(FILE, "new"), Errno::EROFS)?;
    refused("removing", fs.remove_file(FILE), Errno::EROFS)?;
    refused("renaming", fs.rename(FILE, "new"), Errno::EROFS)?;
    refused("changing the mode", fs.lookup(FILE)?.set_attr(&mode), Errno::EROFS)?;
    let after = fs.attr(FILE)?;
    ensure!((after.size, after.mode) == (4097, before.mode), "refused changes changed {FILE}");
    holds(&fs, FILE, &stream(FILE, 4097))?;
    end(&fs)
}

/// Puts out a tree, a line an entry, sorted: kind, permissions, links (of what is no folder), size (of files), path and,
/// of symbolic links, the target.
fn list_tree(fs: &Fs, folder: &str) -> Outcome {
    for DirEntry { name, attr, .. } in sorted(fs, folder)? {
        let attr: Attr = attr.ok_or_else(|| no_attributes(&name))?;
        let path = format!("{folder}/{}", String::from_utf8_lossy(&name));
        let permissions = attr.permissions();
        let line = match attr.file_type() {
            Some(FileType::Directory) => format!("d {permissions:04o} - - {path}\n"),
            Some(FileType::Symlink) => {
                let target = fs.read_link(&path)?;
                format!("l - {} - {path} -> {}\n", attr.nlink, String::from_utf8_lossy(&target))
            }
            Some(FileType::Regular) => format!("f {permissions:04o} {} {} {path}\n", attr.nlink, attr.size),
            _ => format!("p {permissions:04o} {} - {path}\n", attr.nlink),
        };
        events::output(line.as_bytes());
        if attr.is_dir() {
            list_tree(fs, &path)?;
        }
    }
    Ok(())
}

fn sorted(fs: &Fs, folder: &str) -> Result<Vec<DirEntry>, Stop> {
    let mut entries = fs.read_dir(folder)?.with_attributes().collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn no_attributes(name: &[u8]) -> Stop {
    Stop::Fail(format!("{} comes without attributes", String::from_utf8_lossy(name)))
}
