//! Files and file systems that are marked failed while threads are at them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fs_dax::{Errno, Wanted};
use fuse_proto::FallocateMode;
use virtio_fs::{Error, File};

use crate::faults::{BOTH, Tables, base, tables};
use crate::rig::HANGS;
use crate::rig::content::{content, next};
use crate::rig::peer::{Peer, on_both};

on_both! {
    a_failed_file_refuses_everything,
    a_failure_is_everybodys_at_once,
}

type OneFile = File<spin::Mutex<()>>;

/// An operation that goes by a file's bytes.
type Operation = fn(&OneFile, &OneFile) -> Result<(), Error>;

/// All of them; the second file is another one of the same file system.
const OPERATIONS: [(&str, Operation); 12] = [
    ("read", |file, _| file.read_at(&mut [0; 100], 50).map(drop)),
    ("read of the tail", |file, _| file.read_at(&mut [0; 100], SIZE - 50).map(drop)),
    ("write", |file, _| file.write_at(&[1; 100], 50).map(drop)),
    ("write past the end", |file, _| file.write_at(&[1; 100], SIZE).map(drop)),
    ("map", |file, _| file.map(0, 4096).map(drop)),
    ("pin", |file, _| file.pin(0, 4096).map(drop)),
    ("sync", |file, _| file.sync_all()),
    ("sync of a part", |file, _| file.sync_range(0, 4096)),
    ("cut", |file, _| file.set_len(SIZE)),
    ("punch", |file, _| file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, 0, 4096)),
    ("copy from", |file, other| file.copy_range(0, other, 0, 4096).map(drop)),
    ("copy to", |file, other| other.copy_range(0, file, 0, 4096).map(drop)),
];
const SIZE: u64 = (8 << 20) + 777;

fn touch(tables: &Tables, file: &OneFile, offset: u64, write: bool) -> Result<(), Errno> {
    tables.touch(file, offset, write, Wanted::Base).map(drop)
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |error| error.errno().number())
}

fn a_failed_file_refuses_everything(peer: Peer) {
    for name in ["file", "other", "third"] {
        peer.put(name, &content(1, SIZE as usize));
    }
    let fs = peer.mount();
    let tables = tables(&fs);
    let [file, other, third] = ["file", "other", "third"].map(|name| fs.open(name, BOTH).unwrap());
    for file in [&file, &other] {
        touch(&tables, file, 0, false).unwrap();
        touch(&tables, file, 3 << 20, true).unwrap();
    }
    assert_eq!(file.dirty_pages(), 1);
    let before = fs.stats();
    fs.lookup("file").unwrap().mark_failed();
    assert_eq!(tables.unmapped.load(Ordering::Relaxed), 2, "the pages of one file");
    for write in [false, true] {
        assert_eq!(touch(&tables, &file, 0, write), Err(Errno::EIO));
        assert_eq!(touch(&tables, &file, 5 << 20, write), Err(Errno::EIO), "a page that was never there");
    }
    for (name, operation) in OPERATIONS {
        assert_eq!(errno(operation(&file, &other)), libc::EIO, "{name}");
    }
    let again = fs.open("file", BOTH).unwrap();
    assert_eq!(errno(again.read_at(&mut [0], 0)), libc::EIO, "another handle of the same file");
    let after = fs.stats();
    assert_eq!(
        (after.fsyncs, after.request_read_bytes, after.request_write_bytes),
        (before.fsyncs, before.request_read_bytes, before.request_write_bytes),
        "the server was asked"
    );
    // Its neighbours notice nothing.
    assert!(tables.walk(base(&other), false).is_some() && tables.walk(base(&other) + (3 << 20), true).is_some());
    for (name, operation) in OPERATIONS {
        match errno(operation(&other, &third)) {
            // libkrun's server does not know them all.
            0 | libc::EOPNOTSUPP => {}
            errno => panic!("{name}: {errno}"),
        }
    }
    touch(&tables, &other, 6 << 20, true).unwrap();

    fs.mark_failed();
    assert!(tables.entries.lock().unwrap().is_empty(), "pages of a failed file system");
    assert_eq!(touch(&tables, &third, 0, false), Err(Errno::EIO), "a file that was never touched");
    for (name, operation) in OPERATIONS {
        assert_eq!(errno(operation(&third, &other)), libc::EIO, "{name}");
    }
    drop((file, again, other, third));
    peer.finish(fs);
}

// Long: one scenario; its threads share what the first lines set up.
fn a_failure_is_everybodys_at_once(peer: Peer) {
    const THREADS: usize = 4;
    const FILE: u64 = 12 << 20;
    // Smaller than the two files: ranges are taken away and set up all the time.
    let peer = peer.with_window(Some(8 << 20));
    for name in ["file", "other"] {
        peer.put(name, &content(2, FILE as usize));
    }
    let fs = peer.mount();
    let tables = tables(&fs);
    let (file_failed, all_failed, stop) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    // Set before all fails, as the others are set after it.
    let all_may_fail = AtomicBool::new(false);
    let (refused, served) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = [const { AtomicU64::new(0) }; THREADS];
    let at_least = |wanted: u64| {
        let deadline = Instant::now() + HANGS;
        let from: Vec<u64> = progress.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        while progress.iter().zip(&from).any(|(count, from)| count.load(Ordering::Relaxed) < from + wanted) {
            assert!(Instant::now() < deadline, "a thread is stuck: {progress:?} after {from:?}");
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for index in 0..THREADS {
            let (fs, tables, progress) = (&fs, &tables, &progress);
            let (file_failed, all_failed, stop) = (&file_failed, &all_failed, &stop);
            let all_may_fail = &all_may_fail;
            let (refused, served) = (&refused, &served);
            scope.spawn(move || {
                let files = ["file", "other"].map(|name| fs.open(name, BOTH).unwrap());
                let mut state = index as u64;
                let mut bytes = vec![0; 10_000];
                while !stop.load(Ordering::Acquire) {
                    let which = (next(&mut state) % 2) as usize;
                    let file = &files[which];
                    let offset = next(&mut state) % (FILE - 10_000);
                    let must_fail =
                        all_failed.load(Ordering::Acquire) || which == 0 && file_failed.load(Ordering::Acquire);
                    let (what, errno) = match next(&mut state) % 6 {
                        0 | 1 => ("load", touch(tables, file, offset, false).err().map_or(0, Errno::number)),
                        2 => ("store", touch(tables, file, offset, true).err().map_or(0, Errno::number)),
                        3 => ("read", errno(file.read_at(&mut bytes, offset))),
                        4 => ("write", errno(file.write_at(&bytes, offset))),
                        _ => ("sync", errno(file.sync_range(offset, 1 << 20))),
                    };
                    // Whoever began before the failure may end either way.
                    let may_fail = which == 0 || all_may_fail.load(Ordering::Acquire);
                    assert!(errno == libc::EIO || !must_fail, "file {which}: {what} gives {errno}, after the failure");
                    assert!(errno == 0 || errno == libc::EIO && may_fail, "file {which}: {what} gives {errno}");
                    if errno == 0 { served } else { refused }.fetch_add(1, Ordering::Relaxed);
                    progress[index].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // A thread that fails ends the test, not only itself.
        let stop = StopAtEnd(&stop);
        at_least(30);
        fs.lookup("file").unwrap().mark_failed();
        file_failed.store(true, Ordering::Release);
        at_least(30);
        let stray = tables.entries.lock().unwrap().values().any(|(.., key)| *key == fs.lookup("file").unwrap().key());
        assert!(!stray, "a page of the failed file is in the page tables");
        all_may_fail.store(true, Ordering::Release);
        fs.mark_failed();
        all_failed.store(true, Ordering::Release);
        at_least(30);
        drop(stop);
    });
    assert!(served.into_inner() > 0 && refused.into_inner() > 0);
    assert!(tables.entries.lock().unwrap().is_empty());
    peer.finish(fs);
}

/// Ends the threads, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
