//! Slow is not dead: what is under way is waited for, and what takes long is no sign of anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fs_dax::Wanted;
use fuse_proto::{Errno, FileHandle, NodeId, OpenFlags, Operation, ops};
use virtio_fs::{Answer, Config, Error, OpenOptions, VirtioFs};

use crate::faults::{BOTH, retries, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::{Request, op};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
const WINDOW: Duration = Duration::from_secs(10);

fn config(peer: &Peer) -> Config {
    peer.config().request_timeout(SHORT).long_request_timeout(LONG).window_timeout(WINDOW)
}

/// Keeps all requests with these opcodes.
fn keep(opcodes: &'static [u32]) -> impl FnMut(&Request) -> Act + Send {
    |request| if opcodes.contains(&request.opcode()) { Act::Hold } else { Act::Serve }
}

/// Waits until the device keeps `count` requests.
fn wait_for_held(peer: &Peer, count: usize) {
    while peer.strict().held() < count {
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_fsync_is_waited_for() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    peer.put("file", &content(1, 4096));
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().watch(keep(&[op::FSYNC]));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let syncing = scope.spawn(|| file.sync_all());
            wait_for_held(&peer, 1);
            peer.clock().advance(LONG - Duration::from_secs(1));
            peer.strict().release(0);
            syncing.join().unwrap().expect("a slow disk is no error");
        });
    }
    assert_eq!(fs.stats().timeouts, 0);
    drop(file);
    peer.finish(fs);
}

#[test]
fn long_requests_without_an_answer_are_no_dead_device() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", &content(1, 4096));
    let fs = peer.mount_with(config(&peer).max_timeouts(2)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    // A file that could not be synchronised is looked at before the next time, and any answer is a sign of life.
    let others: Vec<_> = (0..3).map(|n| fs.open(format!("other-{n}"), BOTH.create(true)).unwrap()).collect();
    peer.strict().watch(keep(&[op::FSYNC]));
    for file in others.iter().chain([&file, &file]) {
        let started = peer.clock().now();
        let error = file.sync_all().unwrap_err();
        assert!(matches!(error, Error::TimedOut { after: LONG, .. }), "{error:?}");
        assert_eq!(peer.clock().now() - started, LONG);
    }
    assert_eq!(fs.read("file").unwrap(), content(1, 4096), "the device is used on");
    while peer.strict().held() > 0 {
        peer.strict().release(0);
    }
    drop((file, others));
    peer.finish(fs);
}

#[test]
fn what_waits_behind_a_long_request_is_no_sign_of_death() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", &content(1, 4096));
    let fs = peer.mount_with(config(&peer).max_timeouts(2)).unwrap();
    peer.strict().watch(keep(&[op::FSYNC, op::STATFS]));
    // A server that does one thing at a time.
    let (node, fh) = open(&fs);
    let fsync = fs.submit(ops::Fsync { node, fh, flags: Default::default() }).unwrap();
    for _ in 0..4 {
        let error = fs.statfs().unwrap_err();
        assert!(matches!(error, Error::TimedOut { after: SHORT, .. }), "{error:?}");
    }
    drop(fsync);
    peer.strict().behave();
    while peer.strict().held() > 0 {
        peer.strict().release(0);
    }
    fs.statfs().expect("the device is used on");
    close(&fs, node, fh);
    peer.finish(fs);
}

/// Awaits the answer to a request.
fn answered<O: Operation>(fs: &VirtioFs, op: O) -> Answer<O> {
    let mut sent = fs.submit(op).unwrap();
    loop {
        if let Some(answer) = sent.poll_answer(None).unwrap() {
            return answer;
        }
    }
}

/// Opens the file past the driver.
fn open(fs: &VirtioFs) -> (NodeId, FileHandle) {
    let node = fs.lookup("file").unwrap().node_id();
    let opened = answered(fs, ops::Open { node, flags: OpenFlags::RDWR, extra: Default::default() });
    (node, opened.reply().unwrap().fh)
}

fn close(fs: &VirtioFs, node: NodeId, fh: FileHandle) {
    let release_flags = Default::default();
    let op = ops::Release { node, fh, flags: OpenFlags::RDWR, release_flags, lock_owner: Default::default() };
    answered(fs, op).reply().unwrap();
}

#[test]
fn an_answer_between_time_outs_is_a_sign_of_life() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", &content(1, 4096));
    let fs = peer.mount_with(config(&peer).max_timeouts(2)).unwrap();
    peer.strict().watch(keep(&[op::STATFS]));
    for _ in 0..4 {
        fs.statfs().unwrap_err();
        // Late, to nobody: all the same an answer.
        peer.strict().release(0);
        fs.poll();
    }
    peer.strict().behave();
    fs.statfs().expect("the device is used on");
    peer.finish(fs);
}

#[test]
fn a_second_fsync_waits_for_a_slow_first_one() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    let data = content(2, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer)).unwrap();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    tables.touch(&file, 0, true, Wanted::Base).unwrap();
    file.write_all_at(&[1], 0).unwrap();
    peer.strict().watch(keep(&[op::FSYNC]));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| file.sync_all());
        wait_for_held(&peer, 1);
        let second = scope.spawn(|| file.sync_all());
        peer.clock().advance(WINDOW + SHORT * 4);
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        peer.strict().behave();
        peer.strict().release(0);
        first.join().unwrap().unwrap();
        second.join().unwrap().expect("no error: the first one is slow, not broken");
    });
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_fault_beside_a_slow_cut_is_no_bus_error() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    let data = content(3, 8 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer)).unwrap();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().watch(keep(&[op::SETATTR]));
    std::thread::scope(|scope| {
        let cutting = scope.spawn(|| file.set_len(7 << 20));
        wait_for_held(&peer, 1);
        let faulting = scope.spawn(|| retries(&file, 4096));
        peer.clock().advance(Duration::from_secs(3));
        while !faulting.is_finished() {
            peer.clock().advance(Duration::from_millis(100));
            std::thread::yield_now();
        }
        assert!(faulting.join().unwrap(), "a fault during a cut is tried again");
        peer.strict().behave();
        peer.strict().release(0);
        let _ = cutting.join().unwrap();
    });
    tables.touch(&file, 4096, false, Wanted::Base).expect("afterwards");
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_cut_outlasts_a_slow_cut() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    peer.put("file", &content(4, 8 << 20));
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let mut first = true;
    peer.strict().watch(move |request| {
        let keep = request.opcode() == op::SETATTR && std::mem::take(&mut first);
        if keep { Act::Hold } else { Act::Serve }
    });
    std::thread::scope(|scope| {
        let cutting = scope.spawn(|| file.set_len(7 << 20));
        wait_for_held(&peer, 1);
        let waits = fs.stats().window_waits;
        let other = scope.spawn(|| file.set_len(6 << 20));
        while fs.stats().window_waits == waits {
            std::thread::yield_now();
        }
        peer.clock().advance(WINDOW + Duration::from_secs(5));
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        assert!(!other.is_finished(), "what is in the way is under way");
        peer.strict().release(0);
        cutting.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
    });
    assert_eq!(file.len().unwrap(), 6 << 20);
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_wait_can_be_cancelled() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    peer.put("file", &content(5, 4096));
    let fs = peer.mount_with(config(&peer)).unwrap();
    peer.strict().watch(keep(&[op::STATFS]));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fs.statfs());
        wait_for_held(&peer, 1);
        peer.clock().cancel(true);
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error:?}");
        assert_eq!(error.errno(), Errno::EINTR);
    });
    peer.clock().cancel(false);
    assert_eq!(fs.stats().timeouts, 0, "the device is not blamed");
    peer.strict().behave();
    peer.strict().release(0);
    assert_eq!(fs.read("file").unwrap(), content(5, 4096));
    peer.finish(fs);
}

#[test]
fn a_release_without_an_answer_is_waited_for_once() {
    const FILES: usize = 100;
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    for index in 0..FILES {
        peer.put(format!("file-{index}"), b"contents");
    }
    let fs = peer.mount_with(config(&peer)).unwrap();
    peer.strict().watch(keep(&[op::RELEASE]));
    drop(fs.open("file-0", OpenOptions::new().read(true)).unwrap());
    let started = peer.clock().now();
    for index in 0..FILES {
        fs.remove_file(format!("file-{index}")).unwrap();
    }
    let took = peer.clock().now() - started;
    assert!(took <= SHORT, "{took:?} for a RELEASE that is given {SHORT:?}");
    let (nodes, _) = peer.strict().ledger().held();
    assert!(nodes <= 2, "{nodes} are held: the others are forgotten meanwhile");
    peer.strict().behave();
    peer.strict().release(0);
    peer.finish(fs);
}

#[test]
fn answers_that_nobody_polls_are_not_blamed_on_the_device() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    let data = content(6, 100_000);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer).dax(false).data_buffers(8).max_timeouts(2)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let (node, fh) = open(&fs);
    let read = |_| {
        let op = ops::Read {
            node,
            fh,
            offset: 0,
            size: 4096,
            read_flags: Default::default(),
            lock_owner: Default::default(),
            flags: OpenFlags::RDONLY,
        };
        fs.submit(op).unwrap()
    };
    let unpolled: Vec<_> = (0..8).map(read).collect();
    for _ in 0..4 {
        let error = file.read_at(&mut [0; 5000], 0).unwrap_err();
        assert_eq!(error.errno(), Errno::EAGAIN, "{error:?}");
    }
    assert_eq!(fs.stats().timeouts, 0);
    drop(unpolled);
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).expect("the device is used on");
    assert_same(&found, &data, "afterwards");
    close(&fs, node, fh);
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_size_that_is_claimed_costs_no_memory_and_one_that_grows_ends() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"little");
    let fs = peer.mount_with(config(&peer).dax(false)).unwrap();
    // Everything has 16 TiB, it says.
    peer.strict().misbehave(|request| match request.opcode() {
        op::GETATTR | op::LOOKUP => Act::Alter(Box::new(|answer| {
            let at = if answer.bytes.len() > 128 { 16 + 40 + 8 } else { 16 + 16 + 8 };
            if let Some(size) = answer.bytes.get_mut(at..at + 8) {
                size.copy_from_slice(&(16_u64 << 40).to_le_bytes());
            }
        })),
        _ => Act::Serve,
    });
    assert_eq!(fs.read("file").unwrap(), b"little");

    // Every READ finds more.
    peer.strict().behave();
    peer.put("growing", b"little");
    let reads = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    peer.strict().misbehave(move |request| {
        if request.opcode() != op::READ {
            return Act::Serve;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let size = u32::from_le_bytes(request.bytes[56..60].try_into().unwrap());
        Act::Invent(vec![7; size as usize])
    });
    let len = fs.read("growing").unwrap().len();
    assert!((16 << 20..64 << 20).contains(&len), "{len} bytes");
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < len / 4096 + 100, "{reads} requests for {len} bytes");
    peer.strict().behave();
    peer.finish(fs);
}

#[test]
fn an_append_and_a_touch_beside_a_slow_fsync_are_no_bus_error() {
    let peer = Peer::new(Kind::Strict).with_still_clock();
    let mut data = content(8, 1 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer)).unwrap();
    let tables = tables(&fs);
    let (file, other) = (fs.open("file", BOTH).unwrap(), fs.open("file", BOTH).unwrap());
    tables.touch(&file, 0, true, Wanted::Base).unwrap();
    file.write_all_at(&[1], 0).unwrap();
    data[0] = 1;
    peer.strict().watch(keep(&[op::FSYNC]));
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync_all());
        wait_for_held(&peer, 1);
        // In the same chunk, which is being written back and is longer now.
        let more = content(9, 1 << 16);
        other.write_all_at(&more, 1 << 20).unwrap();
        data.extend_from_slice(&more);
        let touching = scope.spawn(|| {
            for (offset, write) in [(1 << 20, false), (1 << 20, true), (4096, true), (0, true)] {
                tables.touch(&other, offset, write, Wanted::Base).expect("a slow FSYNC is no error of anybody's");
            }
        });
        // Longer than anybody waits for a range of the window.
        peer.clock().advance(WINDOW + SHORT);
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        peer.strict().behave();
        peer.strict().release(0);
        syncing.join().unwrap().unwrap();
        touching.join().unwrap();
    });
    assert_same(&fs.read("file").unwrap(), &data, "afterwards");
    assert!((2..=3).contains(&file.dirty_pages()), "what was stored to meanwhile");
    drop((file, other));
    fs.set_mappings(None);
    peer.finish(fs);
}
