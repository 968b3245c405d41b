//! A call's time and requests are bounded, whatever the device does: the deadline of its longest class of request, one short
//! one for all the rest, and something moved by each request.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use fuse_proto::{Errno, FallocateMode};
use virtio_fs::{Config, Error, OpenOptions, VirtioFs};

use crate::rig::content::{assert_same, content};
use crate::rig::dirent::dirent;
use crate::rig::ledger::{Request, op, u32_at};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::{Act, Host};

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
/// A request in time, of which a call has no time for many. The last one is under way when that is over.
const STEP: Duration = Duration::from_secs(5);

fn config(peer: &Peer) -> Config {
    peer.config().dax(false).request_timeout(SHORT).long_request_timeout(LONG).max_timeouts(2)
}

/// A server that takes so long for every request, and counts them.
fn slow(peer: &Peer, takes: Duration) -> Arc<AtomicU64> {
    let (clock, count) = (peer.clock().clone(), Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    peer.strict().watch(move |_: &Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        clock.advance(takes);
        Act::Serve
    });
    count
}

fn took<T>(peer: &Peer, call: impl FnOnce() -> T) -> (T, Duration) {
    let started = peer.clock().now();
    let result = call();
    (result, peer.clock().now() - started)
}

fn deep(peer: &Peer) -> String {
    let path = (0..30).map(|level| format!("d{level}")).collect::<Vec<_>>().join("/");
    std::fs::create_dir_all(peer.path(&path)).unwrap();
    peer.put(format!("{path}/file"), b"far down");
    format!("{path}/file")
}

#[test]
fn many_slow_requests_share_the_time_of_a_call() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    let path = deep(&peer);
    let fs = peer.mount_with(config(&peer)).unwrap();
    let count = slow(&peer, STEP);
    let (result, took) = took(&peer, || fs.attr(&path));
    let error = result.expect_err("31 look-ups of 5 s each");
    assert_eq!(error.errno(), Errno::ETIMEDOUT, "{error:?}");
    assert!(took <= SHORT * 2 + STEP, "{took:?}");
    assert!(count.load(Ordering::Relaxed) <= 9);
    peer.strict().behave();
    assert_eq!(fs.read(&path).unwrap(), b"far down", "slow is not dead");
    peer.finish(fs);
}

#[test]
fn every_call_has_a_time_of_its_own() {
    for tasks in [true, false] {
        let peer = Peer::new(Kind::Strict).with_skipping_clock();
        let peer = if tasks { peer } else { peer.with_unknown_tasks() };
        deep(&peer);
        let fs = peer.mount_with(config(&peer)).unwrap();
        slow(&peer, SHORT * 9 / 10);
        for _ in 0..10 {
            fs.statfs().expect("in time");
        }
        peer.strict().behave();
        peer.finish(fs);
    }
}

#[test]
fn a_platform_that_does_not_say_who_calls_is_held_up_no_longer() {
    type Call = fn(&VirtioFs, &str) -> Result<(), Error>;
    let calls: [(&str, Call); 4] = [
        ("lookup", |fs, path| fs.lookup(path).map(drop)),
        ("open", |fs, path| fs.open(path, BOTH).map(drop)),
        ("read", |fs, path| fs.read(path).map(drop)),
        ("write", |fs, path| fs.write(path, &[1; 100_000])),
    ];
    for (name, call) in calls {
        let peer = Peer::new(Kind::Strict).with_skipping_clock().with_unknown_tasks();
        let path = deep(&peer);
        let fs = peer.mount_with(config(&peer)).unwrap();
        let count = slow(&peer, STEP);
        let (result, took) = took(&peer, || call(&fs, &path));
        assert_eq!(result.expect_err(name).errno(), Errno::ETIMEDOUT, "{name}");
        assert!(took <= SHORT * 2 + STEP, "{name}: {took:?}");
        assert!(count.load(Ordering::Relaxed) <= 9, "{name}");
        peer.strict().behave();
        assert_eq!(fs.read(&path).unwrap(), b"far down", "slow is not dead");
        peer.finish(fs);
    }
}

/// READ and WRITE move as much as asked for, 16 s a MiB, or 600 bytes a second: more than next to nothing.
fn slow_data(peer: &Peer, whole: bool) {
    let clock = peer.clock().clone();
    peer.strict().misbehave(move |request| {
        let asked = match request.opcode() {
            op::READ | op::WRITE => u32_at(&request.bytes, 56),
            _ => return Act::Serve,
        };
        clock.advance(if whole { Duration::from_micros(16) * asked } else { Duration::from_secs(1) });
        let moved = asked.min(600);
        match request.opcode() {
            _ if whole || asked == 0 => Act::Serve,
            op::READ => Act::Invent(vec![7; moved as usize]),
            _ => Act::Invent([moved, 0].map(u32::to_le_bytes).concat()),
        }
    });
}

#[test]
fn calls_that_move_all_bytes_have_time_for_what_they_move() {
    type Call = fn(&VirtioFs, usize) -> Result<(), Error>;
    let calls: [(&str, Call); 4] = [
        ("write_all_at", |fs, len| fs.open("file", BOTH)?.write_all_at(&vec![1; len], 0)),
        ("read_exact_at", |fs, len| fs.open("file", BOTH)?.read_exact_at(&mut vec![0; len], 0)),
        ("read", |fs, _| fs.read("file").map(drop)),
        ("write", |fs, len| fs.write("file", &vec![1; len])),
    ];
    for ((name, call), tasks) in calls.into_iter().flat_map(|call| [(call, true), (call, false)]) {
        // Four MiB take longer than a call that moves nothing may; a hundred kB, 600 bytes at a time, take too long.
        for (whole, len) in [(true, 4 << 20), (false, 100_000)] {
            let mut peer = Peer::new(Kind::Strict).with_skipping_clock();
            peer = if tasks { peer } else { peer.with_unknown_tasks() };
            peer.put("file", &vec![7; len]);
            let fs = peer.mount_with(config(&peer).data_buffer_size(64 << 10)).unwrap();
            slow_data(&peer, whole);
            let (result, took) = took(&peer, || call(&fs, len));
            if whole {
                result.expect(name);
                assert!(took > SHORT * 2, "{name}: {took:?}");
            } else {
                assert_eq!(result.expect_err(name).errno(), Errno::ETIMEDOUT, "{name}");
                assert!(took <= SHORT * 3, "{name}: {took:?}");
            }
            peer.strict().behave();
            peer.leaks();
            drop(fs);
            peer.end_expecting(|_| true);
        }
    }
}

#[test]
fn a_wait_for_others_counts_for_the_call_that_waits() {
    let mut peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", &content(6, 8192));
    let fs = peer.mount_with(config(&peer).dax(true)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    // It is given up and not answered, and keeps a range of the window until its time is over.
    peer.strict().misbehave(|request| match request.opcode() {
        op::SETUPMAPPING | op::READ | op::FALLOCATE => Act::Hold,
        _ => Act::Serve,
    });
    let mut buffer = [0; 100];
    let mut read = Box::pin(file.read_async(&mut buffer, 0));
    assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(read);
    let mode = FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE;
    let (result, took) = took(&peer, || file.allocate(mode, 0, 4096));
    assert_eq!(result.unwrap_err().errno(), Errno::ETIMEDOUT);
    assert!(took > LONG, "FALLOCATE was sent, and the wait for the window came before it: {took:?}");
    assert!(took <= LONG + SHORT, "{took:?}");
    peer.strict().behave();
    drop(file);
    peer.leaks();
    drop(fs);
    peer.end_expecting(|_| true);
}

#[test]
fn a_long_request_leaves_the_others_one_short_deadline() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    peer.put("file", &content(1, 4096));
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    slow(&peer, SHORT * 9 / 10);
    let (result, took) = took(&peer, || file.close());
    result.expect("FLUSH may take long");
    assert!(took <= LONG + SHORT, "{took:?}");
    peer.strict().behave();
    peer.finish(fs);
}

#[test]
fn what_got_less_than_its_time_says_nothing_of_the_device() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    let path = deep(&peer);
    let fs = peer.mount_with(config(&peer).max_timeouts(1)).unwrap();
    slow(&peer, SHORT * 7 / 10);
    for _ in 0..5 {
        let error = fs.attr(&path).and_then(|_| fs.attr("n/o/n/e")).unwrap_err();
        assert!(!matches!(error, Error::Dead), "{error:?}");
        if error.errno() != Errno::ETIMEDOUT {
            break;
        }
    }
    peer.strict().behave();
    assert_eq!(fs.read(&path).unwrap(), b"far down");
    peer.finish(fs);
}

/// A server that moves one byte at a time; counts READs and WRITEs.
fn trickle(peer: &Peer) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    peer.strict().misbehave(move |request| {
        let asked = match request.opcode() {
            op::READ | op::WRITE => u32_at(&request.bytes, 56),
            _ => return Act::Serve,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        let reply = if request.opcode() == op::READ { vec![7] } else { [1_u32, 0].map(u32::to_le_bytes).concat() };
        if asked == 0 { Act::Serve } else { Act::Invent(reply) }
    });
    count
}

#[test]
fn one_byte_at_a_time_is_an_error_before_long() {
    type Call = fn(&VirtioFs) -> Result<(), Error>;
    let calls: [(&str, Call); 4] = [
        ("write_all_at", |fs| fs.open("file", BOTH)?.write_all_at(&[1; 100_000], 0)),
        ("read_exact_at", |fs| fs.open("file", BOTH)?.read_exact_at(&mut [0; 100_000], 0)),
        ("read", |fs| fs.read("file").map(drop)),
        ("write", |fs| fs.write("file", &[1; 100_000])),
    ];
    for (name, call) in calls {
        let mut peer = Peer::new(Kind::Strict);
        peer.put("file", &content(2, 100_000));
        let fs = peer.mount_with(config(&peer)).unwrap();
        let count = trickle(&peer);
        let error = call(&fs).expect_err(name);
        assert_eq!(error.errno(), Errno::EIO, "{name}: {error:?}");
        let requests = count.load(Ordering::Relaxed);
        assert!(requests <= 300, "{name}: {requests} requests");
        peer.strict().behave();
        peer.leaks();
        drop(fs);
        peer.end_expecting(|_| true);
    }
}

#[test]
fn a_write_ends_where_the_server_takes_less() {
    let mut peer = Peer::new(Kind::Strict);
    peer.put("file", &content(3, 100_000));
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let count = trickle(&peer);
    assert_eq!(file.write_at(&[1; 50_000], 0).unwrap(), 1);
    assert!(count.load(Ordering::Relaxed) <= 4);
    peer.strict().behave();
    drop(file);
    peer.leaks();
    drop(fs);
    peer.end_expecting(|_| true);
}

#[test]
fn a_read_past_the_window_ends_where_the_server_gives_less() {
    let mut peer = Peer::new(Kind::Strict).with_options(|options| options.host = Host::Without);
    peer.put("file", &content(5, 100_000));
    let fs = peer.mount_with(config(&peer).dax(true)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let count = trickle(&peer);
    assert_eq!(file.read_at(&mut [0; 50_000], 0).unwrap(), 1);
    assert!(count.load(Ordering::Relaxed) <= 4);
    peer.strict().behave();
    drop(file);
    peer.leaks();
    drop(fs);
    peer.end_expecting(|_| true);
}

#[test]
fn a_listing_that_brings_nothing_has_one_time_for_all_its_requests() {
    let mut peer = Peer::new(Kind::Strict).with_skipping_clock();
    let fs = peer.mount_with(config(&peer)).unwrap();
    let mut listing = fs.read_dir("/").unwrap();
    let (clock, mut cookie) = (peer.clock().clone(), 0);
    peer.strict().misbehave(move |request| {
        if request.opcode() != op::READDIR {
            return Act::Serve;
        }
        cookie += 1;
        clock.advance(STEP);
        Act::Invent(dirent(5, cookie, b"."))
    });
    let (found, took) = took(&peer, || listing.next());
    assert!(matches!(found, Some(Err(_))), "{found:?}");
    assert!(took <= SHORT * 2 + STEP, "{took:?}");
    peer.strict().behave();
    drop(listing);
    peer.leaks();
    drop(fs);
    peer.end_expecting(|_| true);
}

#[test]
fn a_whole_file_is_no_larger_than_its_reader_takes() {
    let peer = Peer::new(Kind::Strict);
    let data = content(4, 10_000);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer)).unwrap();
    for most in [10_000, 10_001, usize::MAX] {
        assert_same(&fs.read_up_to("file", most).unwrap(), &data, most);
    }
    for most in [0, 4096, 9_999] {
        assert_eq!(fs.read_up_to("file", most).unwrap_err().errno(), Errno::EFBIG, "{most}");
    }
    peer.finish(fs);
}
