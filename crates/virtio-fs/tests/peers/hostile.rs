//! Devices and servers that break every rule: an error to whoever asked, within the deadline, and nothing worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuse_proto::{Errno, StatxMask};
use proptest::prelude::*;
use virtio_fs::{Config, Error, MountError, OpenOptions, RingError, Sparse, VirtioFs};

use crate::rig::content::{assert_same, content, next};
use crate::rig::dirent::{dirent, dirent_with};
use crate::rig::ledger::{Request, op, u32_at};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::{Act, Answer, Host};

const READ: OpenOptions = OpenOptions::new().read(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const SHORT: Duration = Duration::from_millis(200);

fn peer() -> Peer {
    let peer = Peer::new(Kind::Strict).with_skipping_clock().with_window(Some(16 << 20));
    peer.put("file", &content(1, 100_000));
    peer.put("other", &content(2, 100_000));
    peer
}

fn short(peer: &Peer) -> Config {
    peer.config().dax(false).request_timeout(SHORT)
}

/// Changes the answers to requests with this opcode.
fn alter(opcode: u32, change: impl Fn(&mut Answer) + Clone + Send + 'static) -> impl FnMut(&Request) -> Act + Send {
    move |request| {
        let change = change.clone();
        if request.opcode() == opcode { Act::Alter(Box::new(move |answer| change(answer))) } else { Act::Serve }
    }
}

/// Fails if what began at `started`, by the test's clock, took longer than it may.
#[track_caller]
fn assert_took(peer: &Peer, started: Duration, most: Duration) {
    let took = peer.clock().now() - started;
    assert!(took < most, "{took:?}");
}

/// Ends a test after which nothing is certain but that the process is alive and no memory was touched that had been given
/// back.
fn end(mut peer: Peer, fs: VirtioFs) {
    peer.leaks();
    let started = peer.clock().now();
    let _ = fs.unmount();
    drop(fs);
    assert_took(&peer, started, Duration::from_secs(30));
    peer.end_expecting(|_| true);
}

#[test]
fn a_request_without_an_answer_is_an_error_within_its_deadline() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", READ).unwrap();
    let other = fs.open("other", READ).unwrap();
    let mut swallowed = 0;
    peer.strict().misbehave(move |request| {
        if request.opcode() == op::READ && swallowed == 0 {
            swallowed += 1;
            return Act::Hold;
        }
        Act::Serve
    });
    let started = peer.clock().now();
    let mut found = vec![0; 5000];
    let error = file.read_at(&mut found, 0).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
    let took = peer.clock().now() - started;
    assert!(took >= SHORT && took < SHORT * 100, "{took:?}");
    // The rest works.
    other.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &content(2, 5000), "another file");
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &content(1, 5000), "the same file");
    assert_eq!(fs.stats().timeouts, 1);
    // The answer comes at last: into memory that nobody has got meanwhile.
    found.fill(0xee);
    peer.strict().release(0);
    for _ in 0..50 {
        let mut again = vec![0; 5000];
        other.read_exact_at(&mut again, 10_000).unwrap();
        assert_same(&again, &content(2, 15_000)[10_000..], "while the late answer comes");
    }
    assert!(found.iter().all(|&byte| byte == 0xee));
    drop((file, other));
    end(peer, fs);
}

#[test]
fn a_device_that_answers_nothing_is_given_up() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer).max_timeouts(3)).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().ledger().forgiving = true;
    peer.strict().stop();
    for _ in 0..3 {
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    }
    let started = peer.clock().now();
    for _ in 0..100 {
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert!(matches!(error, Error::Dead), "{error:?}");
    }
    fs.attr("missing").unwrap_err();
    fs.write("new", b"x").unwrap_err();
    assert_eq!(peer.clock().now(), started, "a dead device is not waited for");
    assert_eq!(fs.stats().timeouts, 3);
    let resets = peer.strict().device().resets();
    drop(file);
    let mut peer = peer;
    peer.leaks();
    let _ = fs.unmount();
    drop(fs);
    assert_eq!(peer.strict().device().resets(), resets, "a device without its daemon is not even reset");
    peer.end_expecting(|_| true);
}

#[test]
fn requests_that_are_never_answered_use_no_more_memory_than_there_is() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock().with_options(|options| {
        options.queue_size = 4;
        options.request_queues = 1;
    });
    peer.put("file", &content(1, 100_000));
    let config = short(&peer).max_timeouts(u32::MAX).data_buffers(2);
    let fs = peer.mount_with(config).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().misbehave(|request| if request.opcode() == op::READ { Act::Hold } else { Act::Serve });
    let mut found = vec![0; 50_000];
    for _ in 0..6 {
        let error = file.read_at(&mut found, 0).unwrap_err();
        assert_eq!(error.errno(), Errno::ETIMEDOUT, "{error:?}");
    }
    peer.strict().behave();
    while peer.strict().held() > 0 {
        peer.strict().release(0);
    }
    file.read_exact_at(&mut found, 0).expect("buffers and slots are back");
    assert_same(&found, &content(1, 50_000), "afterwards");
    drop(file);
    end(peer, fs);
}

#[test]
fn an_answer_twice() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().misbehave(alter(op::READ, |answer| answer.used.push(answer.used[0])));
    // The first of the two may pass for the answer; what is behind it must not. If the next request has its place by then, the
    // number in the reply gives it away.
    let results: Vec<_> = (0..10).map(|_| file.read_at(&mut [0; 10], 0)).collect();
    assert!(results.iter().any(Result::is_err), "{results:?}");
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(
            matches!(error, Error::Queue(_) | Error::Reply { .. } | Error::Dead | Error::TimedOut { .. }),
            "{error:?}"
        );
    }
    drop(file);
    end(peer, fs);
}

#[test]
fn chains_that_the_device_never_got() {
    for id in [63, 64, 1000, u32::MAX] {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let file = fs.open("file", READ).unwrap();
        peer.strict().misbehave(alter(op::READ, move |answer| answer.used[0].0 = id));
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert!(matches!(error, Error::Queue(RingError::UsedId { id: found }) if found == id), "{error:?}");
        file.read_at(&mut [0; 10], 0).unwrap_err();
        drop(file);
        end(peer, fs);
    }
}

#[test]
fn lengths_beyond_the_buffers() {
    for extra in [1, 4096, u32::MAX - 5000] {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let file = fs.open("file", READ).unwrap();
        peer.strict().misbehave(alter(op::READ, move |answer| answer.used[0].1 = 16 + 10 + extra));
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert!(matches!(error, Error::Queue(RingError::UsedLength { .. }) | Error::Reply { .. }), "{error:?}");
        drop(file);
        end(peer, fs);
    }
}

#[test]
fn an_index_that_leaps() {
    for skip in [1, 2, 63, 64, 0x8000, 0xfffe] {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let file = fs.open("file", READ).unwrap();
        peer.strict().misbehave(alter(op::READ, move |answer| answer.skip = skip));
        let started = peer.clock().now();
        let results: Vec<_> = (0..5).map(|_| file.read_at(&mut [0; 10], 0)).collect();
        assert!(results.iter().any(Result::is_err), "{skip}: {results:?}");
        assert_took(&peer, started, Duration::from_secs(30));
        drop(file);
        end(peer, fs);
    }
}

#[test]
fn replies_whose_header_lies() {
    type Change = fn(&mut Answer);
    let changes: [(&str, Change); 10] = [
        ("another unique", |answer| answer.bytes[8] ^= 2),
        ("unique 0", |answer| answer.bytes[8..16].fill(0)),
        ("a longer length", |answer| answer.bytes[0] += 1),
        ("a shorter length", |answer| answer.bytes[0] -= 1),
        ("length 0", |answer| answer.bytes[..4].fill(0)),
        ("the largest length", |answer| answer.bytes[..4].fill(0xff)),
        ("a positive error", |answer| answer.bytes[4..8].copy_from_slice(&5_i32.to_le_bytes())),
        ("an error that is none", |answer| answer.bytes[4..8].copy_from_slice(&(-4096_i32).to_le_bytes())),
        ("an error with a body", |answer| answer.bytes[4..8].copy_from_slice(&(-5_i32).to_le_bytes())),
        ("the least error", |answer| answer.bytes[4..8].copy_from_slice(&i32::MIN.to_le_bytes())),
    ];
    for (what, change) in changes {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let file = fs.open("file", READ).unwrap();
        let mut times = 1;
        peer.strict().misbehave(move |request| {
            if request.opcode() == op::READ && times > 0 {
                times -= 1;
                return Act::Alter(Box::new(change));
            }
            Act::Serve
        });
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert!(matches!(error, Error::Reply { .. }), "{what}: {error:?}");
        assert_eq!(error.errno(), Errno::EIO);
        let mut found = [0; 10];
        file.read_exact_at(&mut found, 0).unwrap_or_else(|error| panic!("after {what}: {error}"));
        assert_same(&found, &content(1, 10), what);
        drop(file);
        end(peer, fs);
    }
}

#[test]
fn replies_cut_short() {
    for opcode in [op::LOOKUP, op::GETATTR, op::OPEN, op::STATFS, op::CREATE, op::WRITE, op::SETATTR, op::MKDIR] {
        for keep in [0, 1, 8, 15, 16, 17, 23] {
            let peer = peer();
            let fs = peer.mount_with(short(&peer)).unwrap();
            let before = fs.open("other", BOTH).unwrap();
            peer.strict().misbehave(alter(opcode, move |answer| {
                answer.bytes.truncate(keep);
                let len = answer.bytes.len() as u32;
                if answer.bytes.len() >= 4 {
                    answer.bytes[..4].copy_from_slice(&len.to_le_bytes());
                }
                answer.used[0].1 = len;
            }));
            let result = match opcode {
                op::LOOKUP => fs.attr("file").map(drop),
                op::GETATTR => fs.lookup("other").and_then(|node| node.refresh_attr().map(drop)),
                op::OPEN => fs.open("other", READ).map(drop),
                op::STATFS => fs.statfs().map(drop),
                op::CREATE => fs.open("new", BOTH.create(true)).map(drop),
                op::WRITE => before.write_at(b"x", 0).map(drop),
                op::SETATTR => before.set_len(10),
                _ => fs.create_dir("folder", 0o755).map(drop),
            };
            let error = result.expect_err("a reply that is too short");
            assert!(matches!(error, Error::Reply { .. }), "{opcode}, {keep} bytes: {error:?}");
            drop(before);
            end(peer, fs);
        }
    }
}

#[test]
fn more_read_than_asked_for_more_written_than_sent() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::READ => Act::Invent(vec![7; u32_at(&request.bytes, 56) as usize + 1]),
        op::WRITE => Act::Invent([&(u32_at(&request.bytes, 56) + 1).to_le_bytes()[..], &[0; 4]].concat()),
        _ => Act::Serve,
    });
    for len in [1, 10, 400, 500, 5000] {
        let mut found = vec![0; len + 16];
        match file.read_at(&mut found[..len], 0) {
            Ok(count) => assert!(count <= len, "{count} of {len}"),
            Err(error) => assert!(matches!(error, Error::Reply { .. } | Error::Queue(_) | Error::Dead), "{error:?}"),
        }
        assert!(found[len..].iter().all(|&byte| byte == 0), "beyond the buffer");
    }
    match file.write_at(b"twelve bytes", 0) {
        Ok(count) => assert!(count <= 12),
        Err(error) => assert!(matches!(error, Error::Reply { .. } | Error::Queue(_) | Error::Dead), "{error:?}"),
    }
    drop(file);
    end(peer, fs);
}

#[test]
fn writes_of_which_nothing_is_taken_end() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::WRITE => Act::Invent(vec![0; 8]),
        _ => Act::Serve,
    });
    assert_eq!(file.write_all_at(&[1; 1000], 0).unwrap_err().errno(), Errno::EIO);
    drop(file);
    end(peer, fs);
}

#[test]
fn reads_of_less_than_there_is_end() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::READ => Act::Invent(Vec::new()),
        _ => Act::Serve,
    });
    let started = peer.clock().now();
    file.read_exact_at(&mut [0; 1000], 0).unwrap_err();
    assert_eq!(fs.read("file").unwrap(), b"");
    assert_took(&peer, started, Duration::from_secs(30));
    drop(file);
    end(peer, fs);
}

#[test]
fn listings_that_cannot_be() {
    let listings: Vec<(&str, Vec<u8>)> = vec![
        ("a name with a slash", dirent(2, 1, b"a/b")),
        ("a name with a NUL", dirent(2, 1, b"a\0b")),
        ("an empty name", dirent(2, 1, b"")),
        ("a name longer than the reply", dirent_with(2, 1, 1000, b"short")),
        ("the longest length", dirent_with(2, 1, u32::MAX, b"short")),
        ("half an entry", dirent(2, 1, b"name")[..20].to_vec()),
        ("a name of 5000 bytes", dirent(2, 1, &[b'n'; 5000])),
    ];
    for (what, listing) in listings {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let good = dirent(3, 7, b"good");
        let bytes = [good, listing].concat();
        peer.strict().misbehave(move |request| match request.opcode() {
            op::READDIR if u32_at(&request.bytes, 48) == 0 => Act::Invent(bytes.clone()),
            op::READDIR => Act::Invent(Vec::new()),
            _ => Act::Serve,
        });
        let found: Vec<_> = fs.read_dir("/").unwrap().collect();
        for entry in found.iter().filter_map(|entry| entry.as_ref().ok()) {
            let name = &entry.name;
            assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0) && name.len() <= 4095, "{what}");
        }
        assert!(found.iter().any(Result::is_err), "{what}: {found:?}");
        assert!(found.len() <= 2, "{what}: {found:?}");
        end(peer, fs);
    }
}

#[test]
fn dots_in_listings_are_left_out() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::READDIR if u32_at(&request.bytes, 48) == 0 => {
            Act::Invent([dirent(1, 1, b"."), dirent(1, 2, b".."), dirent(5, 3, b"...")].concat())
        }
        op::READDIR => Act::Invent(Vec::new()),
        _ => Act::Serve,
    });
    let found: Vec<_> = fs.read_dir("/").unwrap().map(|entry| entry.unwrap().name).collect();
    assert_eq!(found, [b"..."]);
    end(peer, fs);
}

#[test]
fn listings_that_go_round_in_circles_end() {
    // The offset never advances; it goes back; or it advances, with the same names, for ever.
    for step in [0_u64, 1] {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counter = calls.clone();
        peer.strict().misbehave(move |request| match request.opcode() {
            op::READDIR => {
                let call = counter.fetch_add(1, Ordering::Relaxed);
                Act::Invent(dirent(5, if step == 0 { 1 } else { call % 2 + 1 }, b"same"))
            }
            _ => Act::Serve,
        });
        let started = peer.clock().now();
        let found = fs.read_dir("/").unwrap().take(100_000).count();
        assert!(found < 100, "{found} entries of a directory that has one");
        assert!(calls.load(Ordering::Relaxed) < 100);
        assert_took(&peer, started, Duration::from_secs(30));
        end(peer, fs);
    }
}

#[test]
fn entries_that_cannot_be() {
    type Change = fn(&mut Answer);
    let changes: [(&str, Change); 4] = [
        ("no type", |answer| answer.bytes[16 + 40 + 60..][..4].copy_from_slice(&0o644_u32.to_le_bytes())),
        ("a size beyond all files", |answer| answer.bytes[16 + 40 + 8..][..8].fill(0xff)),
        ("nanoseconds of more than a second", |answer| answer.bytes[16 + 32..][..8].fill(0xff)),
        ("the root once more", |answer| answer.bytes[16..24].copy_from_slice(&1_u64.to_le_bytes())),
    ];
    for (what, change) in changes {
        let peer = peer();
        let fs = peer.mount_with(short(&peer)).unwrap();
        peer.strict().misbehave(alter(op::LOOKUP, change));
        let result = fs.attr("file");
        if let Ok(attr) = &result {
            assert!(i64::try_from(attr.size).is_ok(), "{what}: {attr:?}");
        }
        let _ = fs.read("file");
        end(peer, fs);
    }
}

#[test]
fn a_node_that_changes_its_kind() {
    // The same node id is a file, then a directory.
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::GETATTR | op::LOOKUP => Act::Alter(Box::new(|answer| {
            let mode = if answer.bytes.len() == 16 + 104 { 16 + 16 + 60 } else { 16 + 40 + 60 };
            if answer.bytes.len() > mode + 4 {
                answer.bytes[mode..mode + 4].copy_from_slice(&0o040_755_u32.to_le_bytes());
            }
        })),
        _ => Act::Serve,
    });
    let _ = fs.lookup("file").and_then(|node| node.refresh_attr().map(drop));
    let _ = fs.read("file");
    let _ = fs.read_dir("file").map(|listing| listing.take(10).count());
    let _ = file.read_at(&mut [0; 10], 0);
    drop(file);
    end(peer, fs);
}

#[test]
fn sizes_that_the_server_makes_up() {
    // The window is mapped for a file of 100 000 bytes that is said to be larger than all memory.
    let peer = Peer::new(Kind::Strict)
        .with_skipping_clock()
        .with_window(Some(8 << 20))
        .with_options(|options| options.host = Host::Stingy);
    peer.put("file", &content(1, 100_000));
    let fs = peer.mount_with(short(&peer).dax(true)).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::LOOKUP => Act::Alter(Box::new(|answer| {
            answer.bytes[16 + 40 + 8..][..8].copy_from_slice(&(i64::MAX as u64).to_le_bytes());
        })),
        op::GETATTR => Act::Alter(Box::new(|answer| {
            answer.bytes[16 + 16 + 8..][..8].copy_from_slice(&(i64::MAX as u64).to_le_bytes());
        })),
        _ => Act::Serve,
    });
    let file = fs.open("file", READ).unwrap();
    assert_eq!(file.len().unwrap(), i64::MAX as u64);
    let mut found = [0; 100];
    for offset in [0, 99_950, 1 << 20, 1 << 40, i64::MAX as u64 - 50] {
        // No fault, no endless loop; what there is may be read.
        let _ = file.read_at(&mut found, offset);
        let _ = file.map(offset, 4096);
    }
    let _ = fs.read("file").map(|bytes| assert!(bytes.len() <= 100_000));
    drop(file);
    end(peer, fs);
}

/// A monitor shows zeros where nothing is mapped; the driver cannot know better than the server.
#[test]
fn a_mapping_that_was_not_made_reads_as_zeros() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock().with_window(Some(8 << 20));
    peer.put("file", &content(1, 100_000));
    peer.window().expect("a window").give_zeros();
    let fs = peer.mount_with(short(&peer).dax(true)).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::SETUPMAPPING => Act::Invent(Vec::new()),
        _ => Act::Serve,
    });
    let file = fs.open("file", READ).unwrap();
    let mut found = [1; 10_000];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), found.len());
    assert!(found.iter().all(|byte| *byte == 0));
    drop(file);
    end(peer, fs);
}

#[test]
fn sessions_that_cannot_be() {
    type Change = fn(&mut Answer);
    let changes: [(&str, bool, Change); 8] = [
        ("a newer major version for ever", false, |answer| answer.bytes[16..20].copy_from_slice(&8_u32.to_le_bytes())),
        ("an older major version", false, |answer| answer.bytes[16..20].copy_from_slice(&6_u32.to_le_bytes())),
        ("an error", false, |answer| {
            answer.bytes.truncate(16);
            answer.bytes[..4].copy_from_slice(&16_u32.to_le_bytes());
            answer.bytes[4..8].copy_from_slice(&(-libc::EPROTO).to_le_bytes());
            answer.used[0].1 = 16;
        }),
        ("half a reply", false, |answer| {
            answer.bytes.truncate(16 + 6);
            answer.bytes[..4].copy_from_slice(&22_u32.to_le_bytes());
            answer.used[0].1 = 22;
        }),
        ("a largest write of 0", true, |answer| answer.bytes[16 + 20..][..4].fill(0)),
        ("a largest write beyond all memory", true, |answer| answer.bytes[16 + 20..][..4].fill(0xff)),
        ("an alignment of 2^65535", true, |answer| {
            answer.bytes[16 + 12 + 3] |= 4;
            answer.bytes[16 + 30..][..2].fill(0xff);
        }),
        ("every flag there is", true, |answer| answer.bytes[16 + 12..][..4].fill(0xff)),
    ];
    for (what, may_work, change) in changes {
        let mut peer = peer();
        peer.strict().misbehave(alter(op::INIT, change));
        let clock = peer.clock().clone();
        let started = clock.now();
        match peer.mount_with(short(&peer).dax(true)) {
            Ok(fs) => {
                assert!(may_work, "{what}");
                let mut found = vec![0; 10_000];
                if let Ok(file) = fs.open("file", READ)
                    && file.read_exact_at(&mut found, 0).is_ok()
                {
                    assert_same(&found, &content(1, 10_000), what);
                }
                end(peer, fs);
            }
            Err(error) => {
                assert!(matches!(error, MountError::Negotiation(_) | MountError::Request(_)), "{what}: {error:?}");
                peer.leaks();
                peer.end_expecting(|_| true);
            }
        }
        assert!(clock.now() - started < Duration::from_secs(30), "{what}");
    }
}

#[test]
fn a_device_that_resets_itself() {
    let peer = peer();
    let fs = peer.mount_with(short(&peer)).unwrap();
    let file = fs.open("file", READ).unwrap();
    peer.strict().ledger().forgiving = true;
    peer.strict().stop();
    peer.strict().device().fail();
    let started = peer.clock().now();
    for _ in 0..5 {
        file.read_at(&mut [0; 10], 0).unwrap_err();
    }
    assert_took(&peer, started, Duration::from_secs(30));
    drop(file);
    end(peer, fs);
}

#[test]
fn set_ups_that_are_never_answered() {
    // The device may carry them out at any time: their ranges are not to be used for anything else.
    let peer = Peer::new(Kind::Strict).with_skipping_clock().with_window(Some(8 << 20));
    let data = content(1, 16 << 20);
    peer.put("file", &data);
    let config = peer.config().request_timeout(SHORT).max_timeouts(100).read_ahead(false);
    let fs = peer.mount_with(config).unwrap();
    let file = fs.open("file", READ).unwrap();
    let mut hold = 2;
    peer.strict().misbehave(move |request| {
        if request.opcode() == op::SETUPMAPPING && hold > 0 {
            hold -= 1;
            return Act::Hold;
        }
        Act::Serve
    });
    let mut found = vec![0; 1000];
    let mut failed = 0;
    for at in (0..16).map(|index| index << 20) {
        match file.read_exact_at(&mut found, at) {
            Ok(()) => assert_same(&found, &data[at as usize..][..1000], at),
            Err(error) => {
                assert_eq!(error.errno(), Errno::ETIMEDOUT, "{error:?}");
                failed += 1;
            }
        }
    }
    assert!((1..=2).contains(&failed), "{failed} failed");
    // They are carried out now, over whatever is there.
    while peer.strict().held() > 0 {
        peer.strict().release(0);
    }
    for round in 0..2 {
        for at in (0..16).map(|index| index << 20) {
            file.read_exact_at(&mut found, at).unwrap();
            assert_same(&found, &data[at as usize..][..1000], format_args!("{at:#x}, round {round}"));
        }
    }
    drop(file);
    end(peer, fs);
}

#[test]
fn forgets_that_are_never_returned() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock().with_options(|options| options.queue_size = 4);
    for index in 0..100 {
        peer.put(format!("file-{index}"), b"contents");
    }
    let fs = peer.mount_with(short(&peer).max_inodes(2).max_entries(2).max_timeouts(1000)).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::FORGET | op::BATCH_FORGET => Act::Hold,
        _ => Act::Serve,
    });
    let started = peer.clock().now();
    for index in 0..100 {
        let _ = fs.attr(format!("file-{index}"));
    }
    assert_took(&peer, started, Duration::from_secs(30));
    peer.strict().behave();
    end(peer, fs);
}

/// A tour of everything, with a server that lies at random.
fn tour(fs: &VirtioFs) {
    let Ok(file) = fs.open("file", BOTH) else { return };
    let mut found = vec![0; 3000];
    let _ = file.read_at(&mut found, 50_000);
    let _ = file.write_at(&found, 99_000);
    let _ = file.map(0, 4096).map(|view| view.copy_to(0, &mut found));
    let _ = file.set_len(70_000);
    let _ = file.len();
    let _ = file.seek_sparse(0, Sparse::Hole);
    let _ = file.sync_all();
    let _ = fs.read("other");
    let _ = fs.write("new", &found);
    let _ = fs.create_dir("folder", 0o755);
    let _ = fs.symlink("link", "file");
    let _ = fs.read_link("link");
    let _ = fs.read("link");
    let _ = fs.hard_link("file", "folder/hard");
    let _ = fs.rename("new", "folder/new");
    let _ = fs.read_dir("/").map(|listing| listing.take(1000).count());
    let _ = fs.read_dir("folder").map(|listing| listing.with_attributes().take(1000).count());
    let _ = fs.statfs();
    let _ = fs.lookup("file").and_then(|node| node.xattr_names());
    let _ = fs.lookup("file").and_then(|node| node.xattr("user.any"));
    let _ = fs.lookup("file").and_then(|node| node.statx(StatxMask::from_bits_retain(0x7ff)));
    let _ = fs.remove_file("folder/hard");
    let _ = fs.remove_dir("folder");
    let _ = fs.reclaim_step();
    let _ = file.close();
}

fn cases() -> ProptestConfig {
    // A few each time; `PROPTEST_CASES` asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_server_that_lies_at_random(seed in any::<u64>(), rate in 1_u64..12, dax in any::<bool>(), honest in 0_u64..30) {
        let peer = Peer::new(Kind::Strict).with_skipping_clock().with_window(Some(8 << 20)).with_options(|options| {
            // A lie about a file's size must not be a fault of the test's own making.
            options.host = Host::Stingy;
            options.request_queues = 1 + (seed % 3) as u16;
            options.indirect = seed & 8 != 0;
            options.event_idx = seed & 16 != 0;
        });
        peer.put("file", &content(1, 100_000));
        peer.put("other", &content(2, 3 << 20));
        let mut state = seed;
        let mut seen = 0;
        peer.strict().misbehave(move |_| {
            seen += 1;
            if seen <= honest || !next(&mut state).is_multiple_of(rate) {
                return Act::Serve;
            }
            let (kind, mut noise) = (next(&mut state) % 16, next(&mut state));
            match kind {
                0 => Act::Hold,
                1 => Act::Refuse((noise % 200) as i32),
                2 => Act::Invent(content(noise, (noise % 300) as usize)),
                3 => Act::Invent(vec![0; (noise % 200) as usize]),
                _ => Act::Alter(Box::new(move |answer| mutate(answer, kind, &mut noise))),
            }
        });
        let patience = Duration::from_millis(5);
        let config = peer.config().dax(dax).request_timeout(patience).long_request_timeout(patience).max_timeouts(4);
        let started = peer.clock().now();
        let mut peer = peer;
        peer.leaks();
        // It may say that it has mapped what it has not, and cut what it says it has not.
        peer.window().expect("a window").give_zeros();
        if let Ok(fs) = peer.mount_with(config) {
            tour(&fs);
            let _ = fs.unmount();
        }
        assert_took(&peer, started, Duration::from_secs(30));
        peer.end_expecting(|_| true);
    }
}

/// One lie.
fn mutate(answer: &mut Answer, kind: u64, noise: &mut u64) {
    let len = answer.bytes.len();
    match kind {
        // Some bytes of the body, or of the header.
        4..=9 if len > 16 => {
            for _ in 0..1 + next(noise) % 4 {
                let at = 16 + next(noise) as usize % (len - 16);
                answer.bytes[at] = match next(noise) % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => answer.bytes[at] ^ 1 << (next(noise) % 8),
                    _ => next(noise) as u8,
                };
            }
        }
        10 if len >= 16 => answer.bytes[next(noise) as usize % 16] ^= next(noise) as u8,
        // Another length, with a header that agrees.
        11 => {
            let new = next(noise) as usize % (len + 40);
            answer.bytes.resize(new, next(noise) as u8);
            if new >= 4 {
                answer.bytes[..4].copy_from_slice(&(new as u32).to_le_bytes());
            }
            answer.used[0].1 = new as u32;
        }
        12 => answer.used[0].1 = next(noise) as u32 % 8192,
        13 if next(noise).is_multiple_of(4) => answer.used[0].0 = next(noise) as u32 % 200,
        14 if next(noise).is_multiple_of(4) => answer.used.push(answer.used[0]),
        15 if next(noise).is_multiple_of(4) => answer.skip = next(noise) as u16,
        _ => {}
    }
}
