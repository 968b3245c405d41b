//! The same operations by the driver and by the host's own system calls, on twin folders, which stay the same.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use virtio_fs::{Error, File, OpenOptions, SetAttr, VirtioFs};

use crate::rig::content::{assert_same, content};
use crate::rig::peer::{Kind, Peer};

/// A place in the tree: few of them, so that operations meet.
#[derive(Clone, Copy, Debug)]
struct Place(u8);

const FOLDERS: [&str; 4] = ["", "a/", "b/", "a/c/"];
const NAMES: [&str; 5] = ["one", "two", "a", "b", "c"];

impl Place {
    fn path(self) -> String {
        let index = usize::from(self.0);
        format!("{}{}", FOLDERS[index % FOLDERS.len()], NAMES[index / FOLDERS.len() % NAMES.len()])
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Write {
        place: Place,
        seed: u64,
        len: usize,
    },
    Patch {
        place: Place,
        at: u64,
        len: usize,
    },
    Append {
        place: Place,
        len: usize,
    },
    Read {
        place: Place,
    },
    ReadAt {
        place: Place,
        at: u64,
        len: usize,
    },
    Resize {
        place: Place,
        size: u64,
    },
    MakeDir {
        place: Place,
    },
    RemoveFile {
        place: Place,
    },
    RemoveDir {
        place: Place,
    },
    Rename {
        from: Place,
        to: Place,
    },
    Link {
        from: Place,
        to: Place,
    },
    Symlink {
        target: Place,
        place: Place,
    },
    Mode {
        place: Place,
        mode: u32,
    },
    List {
        folder: u8,
    },
    /// Keeps a file open, for the next operations by handle.
    Open {
        slot: u8,
        place: Place,
    },
    PatchOpen {
        slot: u8,
        at: u64,
        len: usize,
    },
    ReadOpen {
        slot: u8,
        at: u64,
        len: usize,
    },
    ResizeOpen {
        slot: u8,
        size: u64,
    },
    Close {
        slot: u8,
    },
}

const LARGE: u64 = 5 << 20;
const SLOTS: usize = 3;

fn place() -> impl Strategy<Value = Place> {
    (0_u8..20).prop_map(Place)
}

/// Places in a file, most of them near ends of pages and ranges.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..LARGE,
        0_u64..10_000,
        (0_u64..3, 0_u64..100).prop_map(|(range, near)| (range << 21).saturating_add(near).saturating_sub(50)),
        (0_u64..1280, 0_u64..10).prop_map(|(page, near)| (page << 12).saturating_add(near).saturating_sub(5)),
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1_usize..100, 1_usize..20_000, Just(4096), 1_usize..(3 << 20)]
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let slot = || 0..SLOTS as u8;
    prop_oneof![
        4 => (place(), any::<u64>(), len()).prop_map(|(place, seed, len)| Write { place, seed, len }),
        4 => (place(), offset(), len()).prop_map(|(place, at, len)| Patch { place, at, len }),
        2 => (place(), len()).prop_map(|(place, len)| Append { place, len }),
        3 => place().prop_map(|place| Read { place }),
        3 => (place(), offset(), len()).prop_map(|(place, at, len)| ReadAt { place, at, len }),
        3 => (place(), offset()).prop_map(|(place, size)| Resize { place, size }),
        4 => place().prop_map(|place| MakeDir { place }),
        2 => place().prop_map(|place| RemoveFile { place }),
        1 => place().prop_map(|place| RemoveDir { place }),
        3 => (place(), place()).prop_map(|(from, to)| Rename { from, to }),
        2 => (place(), place()).prop_map(|(from, to)| Link { from, to }),
        1 => (place(), place()).prop_map(|(target, place)| Symlink { target, place }),
        1 => (place(), 0_u32..8).prop_map(|(place, mode)| Mode { place, mode: 0o700 | mode }),
        2 => (0_u8..4).prop_map(|folder| List { folder }),
        4 => (slot(), place()).prop_map(|(slot, place)| Open { slot, place }),
        5 => (slot(), offset(), len()).prop_map(|(slot, at, len)| PatchOpen { slot, at, len }),
        5 => (slot(), offset(), len()).prop_map(|(slot, at, len)| ReadOpen { slot, at, len }),
        2 => (slot(), offset()).prop_map(|(slot, size)| ResizeOpen { slot, size }),
        1 => slot().prop_map(|slot| Close { slot }),
    ]
}

/// What an operation came to: bytes, a listing as text, or an errno.
type Outcome = Result<Vec<u8>, i32>;

struct Driver<'a> {
    fs: &'a VirtioFs,
    open: [Option<File<spin::Mutex<()>>>; SLOTS],
}

struct Host {
    root: PathBuf,
    open: [Option<std::fs::File>; SLOTS],
}

fn read_driver(file: &File<spin::Mutex<()>>, at: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    let count = file.read_at(&mut bytes, at)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn read_host(file: &std::fs::File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut bytes[done..], at + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

const EBADF: Error = Error::Os(fuse_proto::Errno::EBADF);

impl Driver<'_> {
    fn run(&mut self, operation: Operation) -> Outcome {
        self.try_run(operation).map_err(|error| error.errno().number())
    }

    fn try_run(&mut self, operation: Operation) -> Result<Vec<u8>, Error> {
        use Operation::*;
        let fs = self.fs;
        let none = |()| Vec::new();
        let both = OpenOptions::new().read(true).write(true);
        match operation {
            Write { place, seed, len } => fs.write(place.path(), &content(seed, len)).map(none),
            Patch { place, at, len } => fs.open(place.path(), both)?.write_all_at(&content(at, len), at).map(none),
            Append { place, len } => {
                let append = OpenOptions::new().append(true).create(true);
                fs.open(place.path(), append)?.write_all_at(&content(len as u64, len), 0).map(none)
            }
            Read { place } => fs.read(place.path()),
            ReadAt { place, at, len } => read_driver(&fs.open(place.path(), OpenOptions::new().read(true))?, at, len),
            Resize { place, size } => fs.open(place.path(), both)?.set_len(size).map(none),
            MakeDir { place } => fs.create_dir(place.path(), 0o755).map(|_| Vec::new()),
            RemoveFile { place } => fs.remove_file(place.path()).map(none),
            RemoveDir { place } => fs.remove_dir(place.path()).map(none),
            Rename { from, to } => fs.rename(from.path(), to.path()).map(none),
            Link { from, to } => fs.hard_link(from.path(), to.path()).map(none),
            Symlink { target, place } => fs.symlink(place.path(), target.path()).map(|_| Vec::new()),
            Mode { place, mode } => {
                let changes = SetAttr { mode: Some(mode), ..SetAttr::default() };
                fs.lookup(place.path())?.set_attr(&changes).map(|_| Vec::new())
            }
            List { folder } => {
                let mut names = Vec::new();
                for entry in fs.read_dir(["/", "a", "b", "a/c"][usize::from(folder)])? {
                    names.push(entry?.name);
                }
                names.sort();
                Ok(names.join(&b'\n'))
            }
            Open { slot, place } => {
                self.open[usize::from(slot)] = None;
                self.open[usize::from(slot)] = Some(fs.open(place.path(), both)?);
                Ok(Vec::new())
            }
            PatchOpen { slot, at, len } => {
                self.open[usize::from(slot)].as_ref().ok_or(EBADF)?.write_all_at(&content(at, len), at).map(none)
            }
            ReadOpen { slot, at, len } => read_driver(self.open[usize::from(slot)].as_ref().ok_or(EBADF)?, at, len),
            ResizeOpen { slot, size } => self.open[usize::from(slot)].as_ref().ok_or(EBADF)?.set_len(size).map(none),
            Close { slot } => match self.open[usize::from(slot)].take() {
                Some(file) => file.close().map(none),
                None => Err(EBADF),
            },
        }
    }
}

impl Host {
    fn run(&mut self, operation: Operation) -> Outcome {
        self.try_run(operation).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    }

    // Long: one arm for each operation.
    fn try_run(&mut self, operation: Operation) -> io::Result<Vec<u8>> {
        use Operation::*;
        let root = self.root.clone();
        let at_root = |place: Place| root.join(place.path());
        let none = |()| Vec::new();
        let ebadf = || io::Error::from_raw_os_error(libc::EBADF);
        let make = || std::fs::OpenOptions::new().create(true).mode(0o644).to_owned();
        let both = std::fs::OpenOptions::new().read(true).write(true).to_owned();
        match operation {
            Write { place, seed, len } => {
                let file = make().truncate(true).write(true).open(at_root(place))?;
                io::Write::write_all(&mut &file, &content(seed, len)).map(none)
            }
            Patch { place, at, len } => both.open(at_root(place))?.write_all_at(&content(at, len), at).map(none),
            Append { place, len } => {
                let file = make().append(true).open(at_root(place))?;
                io::Write::write_all(&mut &file, &content(len as u64, len)).map(none)
            }
            Read { place } => std::fs::read(at_root(place)),
            ReadAt { place, at, len } => {
                let path = at_root(place);
                // The host opens folders too.
                if path.is_dir() {
                    return Err(io::Error::from_raw_os_error(libc::EISDIR));
                }
                read_host(&std::fs::File::open(path)?, at, len)
            }
            Resize { place, size } => both.open(at_root(place))?.set_len(size).map(none),
            MakeDir { place } => std::fs::DirBuilder::new().mode(0o755).create(at_root(place)).map(none),
            RemoveFile { place } => std::fs::remove_file(at_root(place)).map(none),
            RemoveDir { place } => std::fs::remove_dir(at_root(place)).map(none),
            Rename { from, to } => std::fs::rename(at_root(from), at_root(to)).map(none),
            Link { from, to } => std::fs::hard_link(at_root(from), at_root(to)).map(none),
            Symlink { target, place } => std::os::unix::fs::symlink(target.path(), at_root(place)).map(none),
            Mode { place, mode } => {
                std::fs::set_permissions(at_root(place), std::fs::Permissions::from_mode(mode)).map(none)
            }
            List { folder } => {
                use std::os::unix::ffi::OsStringExt;
                let mut names = Vec::new();
                for entry in std::fs::read_dir(root.join(["", "a", "b", "a/c"][usize::from(folder)]))? {
                    names.push(entry?.file_name().into_vec());
                }
                names.sort();
                Ok(names.join(&b'\n'))
            }
            Open { slot, place } => {
                self.open[usize::from(slot)] = None;
                self.open[usize::from(slot)] = Some(both.open(at_root(place))?);
                Ok(Vec::new())
            }
            PatchOpen { slot, at, len } => {
                self.open[usize::from(slot)].as_ref().ok_or_else(ebadf)?.write_all_at(&content(at, len), at).map(none)
            }
            ReadOpen { slot, at, len } => read_host(self.open[usize::from(slot)].as_ref().ok_or_else(ebadf)?, at, len),
            ResizeOpen { slot, size } => {
                self.open[usize::from(slot)].as_ref().ok_or_else(ebadf)?.set_len(size).map(none)
            }
            Close { slot } => self.open[usize::from(slot)].take().map(|_| Vec::new()).ok_or_else(ebadf),
        }
    }
}

/// Everything in a folder, by path: kind, mode, links, size, contents or target.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, u64, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta: Metadata = path.symlink_metadata().unwrap();
            let contents = if meta.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                std::fs::read(&path).unwrap()
            };
            let len = if meta.is_dir() { 0 } else { meta.len() };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), links, len, contents));
        }
    }
    found
}

fn compare(kind: Kind, window: Option<u64>, operations: &[Operation]) {
    let peer = Peer::new(kind).with_window(window);
    let twin = TempDir::new().unwrap();
    for root in [peer.folder(), twin.path()] {
        std::fs::create_dir_all(root.join("a/c")).unwrap();
        std::fs::create_dir(root.join("b")).unwrap();
        std::fs::write(root.join("one"), content(1, 4 << 20)).unwrap();
        for (folder, mode) in [("", 0o755), ("a", 0o755), ("a/c", 0o755), ("b", 0o755), ("one", 0o644)] {
            std::fs::set_permissions(root.join(folder), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let fs = peer.mount_with(peer.config().max_inodes(4).max_entries(8)).unwrap();
    let mut driver = Driver { fs: &fs, open: Default::default() };
    let mut host = Host { root: twin.path().to_owned(), open: Default::default() };
    for (index, &operation) in operations.iter().enumerate() {
        let (found, wanted) = (driver.run(operation), host.run(operation));
        match (&found, &wanted) {
            (Ok(found), Ok(wanted)) => assert_same(found, wanted, format_args!("{index}: {operation:?}")),
            (Err(found), Err(wanted)) => assert_eq!(found, wanted, "{index}: {operation:?}"),
            (found, wanted) => panic!(
                "{index}: {operation:?}: {:?}, the host: {:?}",
                found.as_ref().map(Vec::len),
                wanted.as_ref().map(Vec::len)
            ),
        }
    }
    let (found, wanted) = (tree(peer.folder()), tree(twin.path()));
    for (path, entry) in &found {
        let other = wanted.get(path).unwrap_or_else(|| panic!("{path:?} is only on the driver's side"));
        assert_same(&entry.3, &other.3, path.display());
        assert_eq!((entry.0, entry.1, entry.2), (other.0, other.1, other.2), "mode, links and size of {path:?}");
    }
    assert_eq!(found.len(), wanted.len(), "something is only on the host's side");
    drop(driver);
    peer.finish(fs);
}

fn config() -> ProptestConfig {
    // A few each time; `PROPTEST_CASES` asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn krun_with_a_small_window(operations in prop::collection::vec(operation(), 1..80)) {
        compare(Kind::Krun, Some(4 << 20), &operations);
    }

    #[test]
    fn strict_with_a_small_window(operations in prop::collection::vec(operation(), 1..80)) {
        compare(Kind::Strict, Some(4 << 20), &operations);
    }

    #[test]
    fn strict_without_a_window(operations in prop::collection::vec(operation(), 1..80)) {
        compare(Kind::Strict, None, &operations);
    }
}
