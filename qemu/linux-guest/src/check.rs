//! Whether files read and change as on any file system. With `dax=always` an error is as good as the right data,
//! since Linux then maps files that this host cannot map whole; wrong data never is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::{self, Map};
use crate::task::{SHARE, Task, say};

/// What a check found out when it is not good.
#[derive(Debug)]
enum Trouble {
    /// The data or the behaviour is wrong.
    Wrong(String),
    /// The system gave an error.
    Error(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Error(error.to_string())
    }
}

type Outcome = Result<(), Trouble>;

fn wrong(what: impl Into<String>) -> Trouble {
    Trouble::Wrong(what.into())
}

/// The byte at `offset` of a file made from `seed`: the host makes its files by the same rule.
fn byte(seed: u64, offset: u64) -> u8 {
    let mixed = (offset ^ seed << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed.to_be_bytes()[1]
}

fn pattern(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    (offset..).take(len).map(|at| byte(seed, at)).collect()
}

/// Compares, and says where the first difference is.
fn same(what: &str, got: &[u8], want: &[u8]) -> Outcome {
    if got.len() != want.len() {
        return Err(wrong(format!("{what}: {} bytes, not {}", got.len(), want.len())));
    }
    match got.iter().zip(want).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => Err(wrong(format!("{what}: byte {at} of {} is {:#x}, not {:#x}", want.len(), got[at], want[at]))),
    }
}

fn reads(what: &str, path: &Path, want: &[u8]) -> Outcome {
    same(what, &fs::read(path)?, want)
}

/// The numbered files that the host made, smallest first: `pattern-SIZE`, made with the size as seed.
fn host_files() -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(SHARE)? {
        let entry = entry?;
        let name = entry.file_name();
        let size = name.to_str().and_then(|name| name.strip_prefix("pattern-")).and_then(|size| size.parse().ok());
        if let Some(size) = size {
            files.push((entry.path(), size));
        }
    }
    files.sort_by_key(|&(_, size)| size);
    Ok(files)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Makes the kernel forget inodes, so that it asks for their attributes anew.
fn forget_inodes() -> io::Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "2")
}

/// A file of the guest's own with a pattern in it, which Linux uses DAX for where it may.
fn make(name: &str, seed: u64, len: usize) -> io::Result<PathBuf> {
    let path = Path::new(SHARE).join(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))?;
    file.write_all(&pattern(seed, 0, len))?;
    drop(file);
    forget_inodes()?;
    Ok(path)
}

/// Files that could not be read, as a sentence.
fn tolerate(errors: Vec<String>) -> Outcome {
    if errors.is_empty() { Ok(()) } else { Err(Trouble::Error(errors.join("; "))) }
}

fn each_file(check: impl Fn(&Path, u64) -> Outcome) -> Outcome {
    let mut errors = Vec::new();
    for (path, size) in host_files()? {
        match check(&path, size) {
            Ok(()) => {}
            Err(Trouble::Error(error)) => errors.push(format!("{size}: {error}")),
            Err(wrong) => return Err(wrong),
        }
    }
    tolerate(errors)
}

/// Whether Linux uses DAX where it was asked to, and nowhere else.
fn dax_in_use(task: &Task) -> Outcome {
    let path = make("in-use", 14, 8192)?;
    let odd = make("odd", 14, 8191)?;
    let expected = match task.dax.as_str() {
        "always" => [true, true],
        "inode" => [true, false],
        _ => [false, false],
    };
    let found = [sys::uses_dax(&open(&path)?)?, sys::uses_dax(&open(&odd)?)?];
    if found == expected { Ok(()) } else { Err(wrong(format!("whole and odd file: {found:?}, not {expected:?}"))) }
}

fn read_whole() -> Outcome {
    each_file(|path, size| reads(&format!("{size}"), path, &pattern(size, 0, size as usize)))
}

fn read_in_pieces() -> Outcome {
    each_file(|path, size| {
        let file = File::open(path)?;
        let mut at = 0;
        let mut buffer = vec![0; 70_001];
        while at < size {
            let count = file.read_at(&mut buffer, at)?;
            if count == 0 {
                return Err(wrong(format!("{size}: ends at {at}")));
            }
            same(&format!("{size} at {at}"), &buffer[..count], &pattern(size, at, count))?;
            at += count as u64;
        }
        Ok(())
    })
}

fn map_and_read() -> Outcome {
    each_file(|path, size| {
        // With `dax=always` a page that cannot be mapped ends the reader: that is an error too, of a child.
        let len = size as usize;
        if len == 0 {
            return Ok(());
        }
        let path = path.to_path_buf();
        let mut pipe = trouble_file()?;
        let fine = sys::as_user(0, || {
            let check = || -> Outcome {
                let map = Map::new(&open(&path)?, len, false)?;
                let got: Vec<u8> = (0..len).map(|index| map.get(index)).collect();
                same(&format!("{size} mapped"), &got, &pattern(size, 0, len))
            };
            match check() {
                Ok(()) => true,
                Err(Trouble::Error(_)) => false,
                Err(Trouble::Wrong(what)) => {
                    let _ = pipe.write_all(what.as_bytes());
                    false
                }
            }
        })?;
        let told = fs::read_to_string("/map-trouble").unwrap_or_default();
        match (fine, told.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(Trouble::Error("mapping ended the reader".to_owned())),
            (false, false) => Err(Trouble::Wrong(told)),
        }
    })
}

/// A file outside the share through which a child reports what was wrong.
fn trouble_file() -> io::Result<File> {
    File::create("/map-trouble")
}

fn write_through_mapping() -> Outcome {
    let path = make("written", 3, 1 << 20)?;
    let file = open(&path)?;
    let map = Map::new(&file, 1 << 20, true)?;
    let mut want = pattern(3, 0, 1 << 20);
    for index in (0..1 << 20).step_by(5001) {
        map.set(index, 0xA5);
        want[index] = 0xA5;
    }
    map.sync()?;
    file.sync_all()?;
    reads("after writing to the mapping", &path, &want)
}

fn overwrite_in_place() -> Outcome {
    let path = make("overwritten", 4, 3 << 20)?;
    let file = open(&path)?;
    let mut want = pattern(4, 0, 3 << 20);
    reads("first", &path, &want)?;
    let fresh = pattern(5, 0, 1_500_000);
    file.write_all_at(&fresh, 1_000_000)?;
    want[1_000_000..2_500_000].copy_from_slice(&fresh);
    reads("then", &path, &want)
}

fn shrink_and_grow() -> Outcome {
    let path = make("shrunk", 6, 4 << 20)?;
    let mut want = pattern(6, 0, 4 << 20);
    let file = open(&path)?;
    reads("whole", &path, &want)?;
    for size in [3 << 20, 2_500_000, 5000, 123_456, 4 << 20, 4096, 4097, 9000, 1, 0, 70_000] {
        file.set_len(size as u64)?;
        want.resize(size, 0);
        reads(&format!("cut or grown to {size}"), &path, &want)?;
        if size > 600 {
            file.write_all_at(b"mark", 590)?;
            want[590..594].copy_from_slice(b"mark");
            reads(&format!("marked at {size}"), &path, &want)?;
        }
    }
    Ok(())
}

fn truncate_by_open() -> Outcome {
    let path = make("truncated", 7, 2 << 20)?;
    reads("whole", &path, &pattern(7, 0, 2 << 20))?;
    for text in ["hi\n", "something longer, but not by much\n", ""] {
        fs::write(&path, text)?;
        reads("after O_TRUNC", &path, text.as_bytes())?;
    }
    let long = pattern(8, 0, 3_000_001);
    fs::write(&path, &long)?;
    reads("after O_TRUNC, long", &path, &long)
}

fn append() -> Outcome {
    let path = make("appended", 9, 8192)?;
    let mut want = pattern(9, 0, 8192);
    let mut file = OpenOptions::new().append(true).open(&path)?;
    reads("first", &path, &want)?;
    for len in [1, 10, 4085, 4096, 100, 70_000, 3996, 2_000_000, 1] {
        let more = pattern(want.len() as u64, 0, len);
        file.write_all(&more)?;
        want.extend_from_slice(&more);
        reads(&format!("{len} more"), &path, &want)?;
        forget_inodes()?;
        reads(&format!("{len} more, asked again"), &path, &want)?;
    }
    Ok(())
}

fn fallocate() -> Outcome {
    let path = make("allocated", 10, 1 << 20)?;
    let mut want = pattern(10, 0, 1 << 20);
    let file = open(&path)?;
    reads("first", &path, &want)?;
    sys::fallocate(&file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 8192, 400_000)?;
    want[8192..408_192].fill(0);
    reads("with a hole", &path, &want)?;
    sys::fallocate(&file, 0, 1 << 20, 333_333)?;
    want.resize((1 << 20) + 333_333, 0);
    reads("longer", &path, &want)
}

fn others_may_read() -> Outcome {
    let mut errors = Vec::new();
    for mode in [0o644, 0o666, 0o604, 0o664] {
        let path = make("foreign", 11, 1 << 20)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        forget_inodes()?;
        let want = pattern(11, 0, 1 << 20);
        let read = sys::as_user(1000, || reads("as another user", &path, &want).is_ok())?;
        if !read {
            errors.push(format!("mode {mode:o} could not be read"));
        }
        let wrote = sys::as_user(1000, || open(&path).and_then(|file| file.write_all_at(b"x", 5)).is_ok())?;
        if wrote != (mode & 0o2 != 0) {
            return Err(wrong(format!("mode {mode:o}: writing as another user: {wrote}")));
        }
    }
    let path = make("private", 11, 1 << 20)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    forget_inodes()?;
    if sys::as_user(1000, || fs::read(&path).is_ok())? {
        return Err(wrong("mode 600 was read by another user"));
    }
    tolerate(errors)
}

fn unlinked_stays() -> Outcome {
    let path = make("unlinked", 12, 1 << 20)?;
    let file = open(&path)?;
    let map = Map::new(&file, 1 << 20, false)?;
    let half: Vec<u8> = (0..1 << 19).map(|index| map.get(index)).collect();
    fs::remove_file(&path)?;
    let rest: Vec<u8> = (1 << 19..1 << 20).map(|index| map.get(index)).collect();
    same("before", &half, &pattern(12, 0, 1 << 19))?;
    same("after", &rest, &pattern(12, 1 << 19, 1 << 19))
}

/// A reader of pages that nobody changes, next to one who makes the file longer and shorter behind them.
fn growth_disturbs_nobody() -> Outcome {
    let path = make("busy", 13, 64 << 10)?;
    let file = open(&path)?;
    reads("first", &path, &pattern(13, 0, 64 << 10))?;
    let map = Map::new(&file, 16 << 10, false)?;
    let stop = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || {
        let want = pattern(13, 0, 16 << 10);
        let mut rounds = 0u64;
        while !watch.load(Ordering::Relaxed) {
            for (index, &byte) in want.iter().enumerate().step_by(61) {
                if map.get(index) != byte {
                    return Err(format!("byte {index} is {:#x} in round {rounds}", map.get(index)));
                }
            }
            rounds += 1;
        }
        Ok(rounds)
    });
    let mut outcome = Ok(());
    for round in 0..60u64 {
        let grown = file.set_len(65_536 + round * 5003).and_then(|()| file.write_all_at(b"end", 65_536 + round * 5003));
        if let Err(error) = grown {
            outcome = Err(error);
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    match watcher.join() {
        Ok(Ok(_)) => Ok(outcome?),
        Ok(Err(what)) => Err(wrong(what)),
        Err(_) => Err(wrong("the reader ended early")),
    }
}

fn mount_again(task: &Task) -> Outcome {
    sys::unmount(SHARE)?;
    task.mount()?;
    read_whole()
}

/// Runs all checks.
pub(crate) fn run(task: &Task) {
    if let Err(error) = task.mount() {
        return say("mount", "fail", &error.to_string());
    }
    say("mount", "pass", &fs::read_to_string("/proc/mounts").unwrap_or_default());
    let checks: [(&str, &dyn Fn() -> Outcome); 16] = [
        ("dax_in_use", &|| dax_in_use(task)),
        ("read_whole", &read_whole),
        ("read_in_pieces", &read_in_pieces),
        ("map_and_read", &map_and_read),
        ("write_through_mapping", &write_through_mapping),
        ("overwrite_in_place", &overwrite_in_place),
        ("shrink_and_grow", &shrink_and_grow),
        ("truncate_by_open", &truncate_by_open),
        ("append", &append),
        ("fallocate", &fallocate),
        ("others_may_read", &others_may_read),
        ("unlinked_stays", &unlinked_stays),
        ("growth_disturbs_nobody", &growth_disturbs_nobody),
        ("mount_again", &|| mount_again(task)),
        ("read_whole_again", &read_whole),
        ("unmount", &|| Ok(sys::unmount(SHARE)?)),
    ];
    for (name, check) in checks {
        match check() {
            Ok(()) => say(name, "pass", ""),
            Err(Trouble::Error(what)) if task.dax == "always" => say(name, "error", &what),
            Err(Trouble::Error(what) | Trouble::Wrong(what)) => say(name, "fail", &what),
        }
    }
}
