//! The path grammar, call by call: the driver on one folder against the host's own system calls on its twin.
//!
//! Every path is made of something that the folder holds and an ending (`/`, `/.`, `/..`, more components); every call
//! that takes a path takes every path, and those that take two take every pair of a smaller set. The answers must be the
//! same error number or success, and the folders the same afterwards. `PEERS_LONG=1` takes more pairs.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use fuse_proto::RenameFlags;
use tempfile::TempDir;
use virtio_fs::{OpenOptions, VirtioFs};

use crate::rig::peer::{Peer, on_both};

on_both! { calls_with_one_path, calls_with_two_paths }

/// What a folder holds: a file, a directory with a file in it, an empty one, and symbolic links to a file, to a
/// directory, to nothing, and to itself.
fn fill(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("f"), b"contents").unwrap();
    fs::create_dir_all(folder.join("d")).unwrap();
    fs::write(folder.join("d/x"), b"inside").unwrap();
    fs::create_dir(folder.join("e")).unwrap();
    symlink("f", folder.join("sf")).unwrap();
    symlink("d", folder.join("sd")).unwrap();
    symlink("d/", folder.join("sds")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
}

const NAMES: [&str; 9] = ["f", "d", "e", "sf", "sd", "sds", "dangling", "loop", "none"];
const ENDINGS: [&str; 10] = ["", "/", "//", "/.", "/./", "/..", "/../", "/x", "/x/", "/../f"];

/// All paths below a folder.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> =
        NAMES.iter().flat_map(|name| ENDINGS.iter().map(move |ending| format!("{name}{ending}"))).collect();
    paths.extend([".", "./f", ".//d/.", "./none"].map(String::from));
    paths.push("n".repeat(255));
    paths.push("n".repeat(256));
    paths.push(format!("none/{}", "n".repeat(256)));
    paths.push(format!("f/{}", "n".repeat(256)));
    paths
}

/// Names, kinds, sizes, link counts and targets of everything in a folder.
fn snapshot(folder: &Path, found: &mut Vec<(String, u32, u64, u64, String)>) {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let target = fs::read_link(&path).map_or(String::new(), |target| target.display().to_string());
        let size = if metadata.is_dir() { 0 } else { metadata.size() };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.push((name, metadata.mode(), size, metadata.nlink(), target));
        if metadata.is_dir() {
            snapshot(&path, found);
        }
    }
}

fn check(result: i32) -> Result<(), i32> {
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap()) } else { Ok(()) }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A call with one path: by the driver, and by the host.
struct One {
    name: &'static str,
    ours: fn(&VirtioFs, &str) -> Result<(), virtio_fs::Error>,
    host: fn(&Path) -> Result<(), i32>,
}

fn open(path: &Path, flags: i32) -> Result<(), i32> {
    // SAFETY: a string with its NUL, and numbers.
    let descriptor = unsafe { libc::open(c_path(path).as_ptr(), flags, 0o644) };
    check(descriptor)?;
    // SAFETY: the descriptor is this function's own.
    check(unsafe { libc::close(descriptor) })
}

/// A directory cannot be opened as a file with the driver.
fn no_directory(path: &Path, opened: Result<(), i32>) -> Result<(), i32> {
    opened.and_then(|()| if path.is_dir() { Err(libc::EISDIR) } else { Ok(()) })
}

const WRITE: OpenOptions = OpenOptions::new().write(true);

const ONE: [One; 14] = [
    One {
        name: "stat",
        ours: |fs, path| fs.lookup(path).map(drop),
        host: |path| fs::metadata(path).map(drop).map_err(|error| error.raw_os_error().unwrap()),
    },
    One {
        name: "lstat",
        ours: |fs, path| fs.lookup_no_follow(path).map(drop),
        host: |path| fs::symlink_metadata(path).map(drop).map_err(|error| error.raw_os_error().unwrap()),
    },
    One {
        name: "open for reading",
        ours: |fs, path| fs.open(path, OpenOptions::new().read(true)).map(drop),
        host: |path| no_directory(path, open(path, libc::O_RDONLY)),
    },
    One {
        name: "open for writing",
        ours: |fs, path| fs.open(path, WRITE).map(drop),
        host: |path| open(path, libc::O_WRONLY),
    },
    One {
        name: "open without following",
        ours: |fs, path| fs.open(path, WRITE.no_follow(true)).map(drop),
        host: |path| open(path, libc::O_WRONLY | libc::O_NOFOLLOW),
    },
    One {
        name: "create",
        ours: |fs, path| fs.open(path, WRITE.create(true)).map(drop),
        host: |path| open(path, libc::O_WRONLY | libc::O_CREAT),
    },
    One {
        name: "create and cut",
        ours: |fs, path| fs.open(path, WRITE.create(true).truncate(true)).map(drop),
        host: |path| open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC),
    },
    One {
        name: "create what must be new",
        ours: |fs, path| fs.open(path, WRITE.create_new(true)).map(drop),
        host: |path| open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL),
    },
    One {
        name: "mkdir",
        ours: |fs, path| fs.create_dir(path, 0o755).map(drop),
        // SAFETY: a string with its NUL, and a number.
        host: |path| check(unsafe { libc::mkdir(c_path(path).as_ptr(), 0o755) }),
    },
    One {
        name: "rmdir",
        ours: |fs, path| fs.remove_dir(path),
        // SAFETY: a string with its NUL.
        host: |path| check(unsafe { libc::rmdir(c_path(path).as_ptr()) }),
    },
    One {
        name: "unlink",
        ours: |fs, path| fs.remove_file(path),
        // SAFETY: a string with its NUL.
        host: |path| check(unsafe { libc::unlink(c_path(path).as_ptr()) }),
    },
    One {
        name: "symlink",
        ours: |fs, path| fs.symlink(path, "target").map(drop),
        // SAFETY: two strings with their NULs.
        host: |path| check(unsafe { libc::symlink(c"target".as_ptr(), c_path(path).as_ptr()) }),
    },
    One {
        name: "readlink",
        ours: |fs, path| fs.read_link(path).map(drop),
        host: |path| fs::read_link(path).map(drop).map_err(|error| error.raw_os_error().unwrap()),
    },
    One {
        name: "list",
        ours: |fs, path| fs.read_dir(path)?.try_for_each(|entry| entry.map(drop)),
        host: |path| fs::read_dir(path).map(drop).map_err(|error| error.raw_os_error().unwrap()),
    },
];

/// A call with two paths.
struct Two {
    name: &'static str,
    ours: fn(&VirtioFs, &str, &str) -> Result<(), virtio_fs::Error>,
    host: fn(&Path, &Path) -> Result<(), i32>,
}

fn rename(from: &Path, to: &Path, flags: u32) -> Result<(), i32> {
    let (from, to) = (c_path(from), c_path(to));
    // SAFETY: two strings with their NULs, and numbers.
    check(unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
}

const TWO: [Two; 4] = [
    Two { name: "rename", ours: |fs, from, to| fs.rename(from, to), host: |from, to| rename(from, to, 0) },
    Two {
        name: "rename without replacing",
        ours: |fs, from, to| fs.rename_with(from, to, RenameFlags::NOREPLACE),
        host: |from, to| rename(from, to, libc::RENAME_NOREPLACE),
    },
    Two {
        name: "exchange",
        ours: |fs, from, to| fs.rename_with(from, to, RenameFlags::EXCHANGE),
        host: |from, to| rename(from, to, libc::RENAME_EXCHANGE),
    },
    Two {
        name: "link",
        ours: |fs, from, to| fs.hard_link(from, to),
        host: |from, to| {
            // SAFETY: two strings with their NULs.
            check(unsafe { libc::link(c_path(from).as_ptr(), c_path(to).as_ptr()) })
        },
    },
];

/// The driver's folder and its twin, a fresh pair of folders in them for each call.
struct Twins {
    peer: Peer,
    fs: VirtioFs,
    twin: TempDir,
    calls: usize,
    differences: Vec<String>,
}

impl Twins {
    fn new(peer: Peer) -> Self {
        let fs = peer.mount();
        Self { peer, fs, twin: TempDir::new().unwrap(), calls: 0, differences: Vec::new() }
    }

    fn call(
        &mut self,
        what: &str,
        ours: impl FnOnce(&VirtioFs, &str) -> Result<(), virtio_fs::Error>,
        host: impl FnOnce(&Path) -> Result<(), i32>,
    ) {
        let case = format!("case{}", self.calls);
        self.calls += 1;
        let (here, there) = (self.peer.path(&case), self.twin.path().join(&case));
        fill(&here);
        fill(&there);
        let found = ours(&self.fs, &case).map_err(|error| error.errno().number());
        let wanted = host(&there);
        let (mut after, mut twin_after) = (Vec::new(), Vec::new());
        snapshot(&here, &mut after);
        snapshot(&there, &mut twin_after);
        if found != wanted || after != twin_after {
            let (found, wanted) = (found.map_err(name), wanted.map_err(name));
            self.differences.push(format!("{what}: {found:?}, the host {wanted:?}"));
        }
        fs::remove_dir_all(here).unwrap();
        fs::remove_dir_all(there).unwrap();
    }

    #[track_caller]
    fn end(self) {
        let (count, text) = (self.differences.len(), self.differences.join("\n"));
        assert!(count == 0, "{count} of {} calls differ:\n{text}", self.calls);
        self.peer.finish(self.fs);
    }
}

fn name(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

fn calls_with_one_path(peer: Peer) {
    let mut twins = Twins::new(peer);
    for path in paths() {
        let shown = if path.len() > 40 { format!("{}... ({} bytes)", &path[..12], path.len()) } else { path.clone() };
        for call in &ONE {
            twins.call(
                &format!("{} {shown}", call.name),
                |fs, case| (call.ours)(fs, &format!("{case}/{path}")),
                |folder| (call.host)(Path::new(&format!("{}/{path}", folder.display()))),
            );
        }
    }
    twins.end();
}

fn calls_with_two_paths(peer: Peer) {
    let mut twins = Twins::new(peer);
    let (names, endings): (&[&str], &[&str]) = match std::env::var_os("PEERS_LONG") {
        Some(_) => (&["f", "d", "sf", "sd", "none", "e"], &["", "/", "/.", "/..", "/x"]),
        None => (&["f", "d", "sd", "none"], &["", "/", "/."]),
    };
    let paths: Vec<String> =
        names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}{ending}"))).collect();
    for from in &paths {
        for to in &paths {
            for call in &TWO {
                twins.call(
                    &format!("{} {from} {to}", call.name),
                    |fs, case| (call.ours)(fs, &format!("{case}/{from}"), &format!("{case}/{to}")),
                    |folder| {
                        let folder = folder.display();
                        (call.host)(Path::new(&format!("{folder}/{from}")), Path::new(&format!("{folder}/{to}")))
                    },
                );
            }
        }
    }
    twins.end();
}
