//! Several threads on one file system.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use virtio_fs::OpenOptions;

use crate::rig::content::{assert_same, content, next};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    readers_of_one_file_through_a_small_window,
    writers_of_their_own_parts,
    every_thread_with_its_own_files,
    views_come_and_go,
    one_creates_what_another_lists_and_removes,
    truncation_against_readers,
    cutting_against_stretching,
    background_reclaim_against_readers,
    more_threads_than_buffers,
}

const READ: OpenOptions = OpenOptions::new().read(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const THREADS: u64 = 4;

fn on_threads(work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for index in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(index));
        }
    });
}

fn readers_of_one_file_through_a_small_window(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(1, 32 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().thrash_guard(false)).unwrap();
    let file = fs.open("file", READ).unwrap();
    on_threads(|index| {
        let mut state = index;
        let mut found = vec![0; 70_000];
        for _ in 0..150 {
            let at = next(&mut state) as usize % (data.len() - found.len());
            file.read_exact_at(&mut found, at as u64).unwrap();
            assert_same(&found, &data[at..at + found.len()], at);
        }
    });
    drop(file);
    peer.finish(fs);
}

fn writers_of_their_own_parts(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let len = 16 << 20;
    let part = len / THREADS as usize;
    peer.put("file", &vec![0; len]);
    let fs = peer.mount();
    let data = content(2, len);
    on_threads(|index| {
        let file = fs.open("file", BOTH).unwrap();
        let start = index as usize * part;
        for at in (start..start + part).step_by(50_000) {
            let piece = &data[at..(at + 50_000).min(start + part)];
            file.write_all_at(piece, at as u64).unwrap();
            let mut found = vec![0; piece.len()];
            file.read_exact_at(&mut found, at as u64).unwrap();
            assert_same(&found, piece, at);
        }
        file.sync_data().unwrap();
    });
    assert_same(&peer.get("file"), &data, "on the host");
    peer.finish(fs);
}

fn every_thread_with_its_own_files(peer: Peer) {
    let fs = peer.mount_with(peer.config().max_inodes(8).max_entries(8)).unwrap();
    let host = peer.folder().to_owned();
    on_threads(|index| {
        let folder = format!("thread-{index}");
        fs.create_dir(&folder, 0o755).unwrap();
        for round in 0..40 {
            let (path, data) = (format!("{folder}/file-{}", round % 7), content(index * 1000 + round, 9000));
            fs.write(&path, &data).unwrap();
            assert_same(&fs.read(&path).unwrap(), &data, &path);
            let renamed = format!("{folder}/renamed-{}", round % 3);
            fs.rename(&path, &renamed).unwrap();
            assert_same(&fs.read(&renamed).unwrap(), &data, &renamed);
            if round % 5 == 0 {
                fs.remove_file(&renamed).unwrap();
            }
        }
        let listed: Vec<_> = fs.read_dir(&folder).unwrap().map(Result::unwrap).collect();
        assert_eq!(listed.len(), std::fs::read_dir(host.join(&folder)).unwrap().count());
    });
    peer.finish(fs);
}

fn views_come_and_go(peer: Peer) {
    let peer = peer.with_window(Some(16 << 20));
    let data = content(3, 32 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    on_threads(|index| {
        let mut state = index;
        for _ in 0..200 {
            let at = next(&mut state) as usize % (data.len() - 4096);
            match file.map(at as u64, 4096) {
                Ok(view) => {
                    let bytes: Vec<_> = view.iter().collect();
                    assert_same(&bytes, &data[at..at + bytes.len()], at);
                }
                Err(error) => panic!("{THREADS} views in eight ranges: {error}"),
            }
        }
    });
    drop(file);
    peer.finish(fs);
}

fn one_creates_what_another_lists_and_removes(peer: Peer) {
    let fs = peer.mount();
    fs.create_dir("folder", 0o755).unwrap();
    let done = AtomicBool::new(false);
    let removed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 0..300 {
                fs.write(format!("folder/file-{index}"), b"contents").unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let last = done.load(Ordering::Acquire);
                    for entry in fs.read_dir("folder").unwrap() {
                        let path = [b"folder/", &entry.unwrap().name[..]].concat();
                        // Another may have been faster, or the file is not written yet: either is a right answer.
                        match fs.read(&path) {
                            Ok(contents) => assert!(contents.is_empty() || contents == b"contents"),
                            Err(error) => assert_eq!(error.errno(), fuse_proto::Errno::ENOENT, "{error}"),
                        }
                        if fs.remove_file(&path).is_ok() {
                            removed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if last {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(removed.load(Ordering::Relaxed), 300);
    assert_eq!(std::fs::read_dir(peer.path("folder")).unwrap().count(), 0);
    peer.finish(fs);
}

fn truncation_against_readers(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let len = 12 << 20;
    let data = content(4, len);
    peer.put("file", &data);
    let fs = peer.mount();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for index in 0..2 {
            let (fs, data, done) = (&fs, &data, &done);
            scope.spawn(move || {
                let file = fs.open("file", READ).unwrap();
                let mut state = index;
                let mut found = vec![0; 20_000];
                while !done.load(Ordering::Relaxed) {
                    let at = next(&mut state) as usize % len;
                    // A page that is gone would be a fault that ends the process. What is there is the old contents, or
                    // zeros since the file was stretched again.
                    let count = file.read_at(&mut found, at as u64).unwrap();
                    for (index, &byte) in found[..count].iter().enumerate() {
                        assert!(byte == data[at + index] || byte == 0, "{byte:#x} at {:#x}", at + index);
                    }
                }
            });
        }
        let file = fs.open("file", BOTH).unwrap();
        let mut state = 99;
        for _ in 0..40 {
            let cut = next(&mut state) % len as u64;
            file.set_len(cut).unwrap();
            file.set_len(len as u64).unwrap();
            file.write_all_at(&data[..1 << 20], 0).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    peer.finish(fs);
}

fn cutting_against_stretching(peer: Peer) {
    // Two threads cut and stretch, one writes past the end, one reads: whoever goes by a size that is no longer so reads
    // what is not there, which ends the process.
    let peer = peer.with_window(Some(8 << 20));
    let len: u64 = 6 << 20;
    peer.put("file", &content(5, len as usize));
    let fs = peer.mount();
    std::thread::scope(|scope| {
        for index in 0..THREADS {
            let fs = &fs;
            scope.spawn(move || {
                let file = fs.open("file", BOTH).unwrap();
                let mut state = index;
                let mut found = vec![0; 10_000];
                for _ in 0..150 {
                    let at = next(&mut state) % len;
                    match index {
                        0 | 1 => file.set_len(at).unwrap(),
                        2 => assert!(file.write_at(&found, at).unwrap() > 0),
                        _ => drop(file.read_at(&mut found, at).unwrap()),
                    }
                    let _ = file.map(at, 4096).map(|view| view.copy_to(0, &mut found));
                }
            });
        }
    });
    assert_eq!(fs.lookup("file").unwrap().refresh_attr().unwrap().size, peer.get("file").len() as u64);
    peer.finish(fs);
}

fn background_reclaim_against_readers(peer: Peer) {
    let peer = peer.with_window(Some(16 << 20));
    let data = content(5, 24 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if !fs.reclaim_step().unwrap() {
                    std::thread::yield_now();
                }
            }
        });
        on_threads(|index| {
            let file = fs.open("file", READ).unwrap();
            let mut state = index;
            let mut found = vec![0; 5000];
            for _ in 0..300 {
                let at = next(&mut state) as usize % (data.len() - found.len());
                file.read_exact_at(&mut found, at as u64).unwrap();
                assert_same(&found, &data[at..at + found.len()], at);
            }
        });
        done.store(true, Ordering::Relaxed);
    });
    peer.finish(fs);
}

fn more_threads_than_buffers(peer: Peer) {
    let peer = peer.with_window(None);
    let data = content(6, 1 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().data_buffers(2).data_buffer_size(8192).queue_size(4)).unwrap();
    on_threads(|index| {
        assert_same(&fs.read("file").unwrap(), &data, index);
        let name = format!("copy-{index}");
        fs.write(&name, &data).unwrap();
        assert_same(&fs.read(&name).unwrap(), &data, &name);
    });
    peer.finish(fs);
}

#[test]
fn requests_are_answered_in_any_order() {
    // Each of four threads waits for its own answer, and they come in the opposite order.
    let peer = Peer::new(Kind::Strict).with_options(|options| options.request_queues = 1);
    let mut contents = HashMap::new();
    for index in 0..THREADS {
        contents.insert(index, content(index, 500));
        peer.put(format!("file-{index}"), &contents[&index]);
    }
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let files: Vec<_> = (0..THREADS).map(|index| fs.open(format!("file-{index}"), READ).unwrap()).collect();
    let device = peer.strict();
    device.watch(|request| if request.opcode() == op::READ { Act::Hold } else { Act::Serve });
    std::thread::scope(|scope| {
        for (file, wanted) in files.iter().zip(0..THREADS) {
            let wanted = &contents[&wanted];
            scope.spawn(move || {
                let mut found = vec![0; 500];
                assert_eq!(file.read_at(&mut found, 0).unwrap(), 500);
                assert_same(&found, wanted, "its own");
            });
        }
        while device.held() < THREADS as usize {
            std::thread::yield_now();
        }
        for index in (0..THREADS as usize).rev() {
            device.release(index);
        }
    });
    device.behave();
    drop(files);
    peer.finish(fs);
}

#[test]
fn a_slow_request_delays_nobody_else() {
    // No lock is held across a round trip: while one set-up hangs, hits, other files and other names go on.
    let peer = Peer::new(Kind::Strict);
    let data = content(1, 8 << 20);
    peer.put("slow", &data);
    peer.put("fast", &data);
    let fs = peer.mount();
    let slow = fs.open("slow", READ).unwrap();
    let fast = fs.open("fast", READ).unwrap();
    let mut found = vec![0; 1 << 20];
    fast.read_exact_at(&mut found, 0).unwrap();
    slow.read_exact_at(&mut found, 4 << 20).unwrap();
    let node: u64 = fs.lookup("slow").unwrap().node_id().into();
    let device = peer.strict();
    device.watch(move |request| match request.opcode() {
        op::SETUPMAPPING if request.node() == node => Act::Hold,
        _ => Act::Serve,
    });
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut found = vec![0; 1 << 20];
            slow.read_exact_at(&mut found, 0).map(|()| found)
        });
        while device.held() == 0 {
            std::thread::yield_now();
        }
        fast.read_exact_at(&mut found, 0).unwrap();
        fast.read_exact_at(&mut found, 6 << 20).unwrap();
        slow.read_exact_at(&mut found, 4 << 20).unwrap();
        assert_same(&found, &data[4 << 20..][..1 << 20], "a hit in the same file");
        assert_eq!(fs.attr("fast").unwrap().size, 8 << 20);
        fs.write("other", b"contents").unwrap();
        fs.reclaim_step().unwrap();
        assert!(!reader.is_finished());
        device.behave();
        while device.held() > 0 {
            device.release(0);
        }
        assert_same(&reader.join().unwrap().unwrap(), &data[..1 << 20], "in the end");
    });
    drop((slow, fast));
    peer.finish(fs);
}
