//! Requests without waiting, locks and commands.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fuse_proto::{
    Context as WireContext, DecodeError, EncodeError, Errno, FallocateMode, List, MappingRange, Message, NodeId,
    Opcode, OpenFlags, Operation, Protocol, ReplySize, Unique, ops,
};
use virtio_fs::{Error, LockRange, OpenOptions};

use crate::rig::content::{assert_same, content};
use crate::rig::ledger::{Request, op, u32_at};
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    many_requests_at_a_time,
    a_request_is_a_future,
    requests_about_the_window_are_the_drivers_own,
    a_request_dropped_is_given_up,
    locks_and_commands,
}

#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn many_requests_at_a_time(peer: Peer) {
    let fs = peer.mount();
    let (mut sent, mut answers, mut full) = (Vec::new(), 0, false);
    while answers < 1000 {
        while answers + sent.len() < 1000 {
            match fs.submit(ops::Statfs { node: NodeId::ROOT }) {
                Ok(request) => sent.push(request),
                Err(error) => {
                    assert_eq!(error.errno(), Errno::EAGAIN, "{error}");
                    full = true;
                    break;
                }
            }
        }
        sent.retain_mut(|request| match request.poll_answer(None).unwrap() {
            Some(answer) => {
                assert!(answer.reply().unwrap().blocks > 0);
                answers += 1;
                false
            }
            None => true,
        });
    }
    assert!(full, "a queue has an end, which nobody waits at");
    peer.finish(fs);
}

fn a_request_is_a_future(peer: Peer) {
    let fs = peer.mount();
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    let mut request = Box::pin(fs.submit(ops::Statfs { node: NodeId::ROOT }).unwrap());
    let answer = loop {
        let before = woken.0.load(Ordering::SeqCst);
        match request.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => break answer.unwrap(),
            // Asked again only when woken, which somebody who completes requests sees to.
            Poll::Pending => {
                while woken.0.load(Ordering::SeqCst) == before {
                    fs.poll();
                    std::thread::yield_now();
                }
            }
        }
    };
    assert!(answer.reply().unwrap().blocks > 0);
    drop(request);
    peer.finish(fs);
}

fn requests_about_the_window_are_the_drivers_own(peer: Peer) {
    peer.put("file", &content(1, 4096));
    let fs = peer.mount();
    let node = fs.lookup("file").unwrap();
    let ranges = [];
    let refused = fs.submit(ops::Removemapping { ranges: fuse_proto::List::new(&ranges), node: node.node_id() });
    assert_eq!(refused.err().map(|error| error.errno()), Some(Errno::EPERM));
    drop(node);
    peer.finish(fs);
}

fn a_request_dropped_is_given_up(peer: Peer) {
    let data = content(2, 10_000);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let mut given_up = 0;
    while given_up < 500 {
        match fs.submit(ops::Statfs { node: NodeId::ROOT }) {
            Ok(request) => {
                drop(request);
                given_up += 1;
            }
            // The device still has what was given up.
            Err(error) => {
                assert_eq!(error.errno(), Errno::EAGAIN, "{error}");
                std::thread::yield_now();
            }
        }
    }
    assert_same(&fs.read("file").unwrap(), &data, "the queue is not used up");
    peer.finish(fs);
}

fn locks_and_commands(peer: Peer) {
    peer.put("file", b"contents");
    let fs = peer.mount();
    let file = fs.open("file", OpenOptions::new().read(true).write(true)).unwrap();
    // Neither server keeps locks for its clients: the driver says so, and goes on.
    for result in [
        file.try_lock(LockRange::EXCLUSIVE),
        file.unlock(LockRange::EXCLUSIVE),
        file.test_lock(LockRange::SHARED).map(drop),
    ] {
        match result {
            Ok(()) => {}
            Err(error) => assert_eq!(error.errno(), Errno::EOPNOTSUPP, "{error}"),
        }
    }
    let unknown = file.ioctl(0x8008_6601, 0, &[]).unwrap_err();
    assert!(matches!(unknown.errno(), Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL), "{unknown}");
    assert_eq!(fs.read("file").unwrap(), b"contents");
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_request_that_hangs_can_be_interrupted_and_times_out() {
    const PATIENCE: Duration = Duration::from_millis(200);
    let mut peer = Peer::new(Kind::Strict).with_skipping_clock();
    let config = peer.config().request_timeout(PATIENCE).max_timeouts(10);
    let fs = peer.mount_with(config).unwrap();
    peer.strict().misbehave(|request| if request.opcode() == op::STATFS { Act::Hold } else { Act::Serve });
    let mut request = fs.submit(ops::Statfs { node: NodeId::ROOT }).unwrap();
    request.interrupt().unwrap();
    assert!(matches!(request.poll_answer(None), Ok(None)), "it was held");
    peer.clock().advance(PATIENCE - Duration::from_millis(1));
    assert!(matches!(request.poll_answer(None), Ok(None)), "there is time left");
    peer.clock().advance(Duration::from_millis(1));
    let Err(error) = request.poll_answer(None) else { panic!("no deadline") };
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(matches!(request.poll_answer(None), Err(Error::Dead)), "there is nothing more to poll");
    while peer.strict().ledger().count(op::INTERRUPT) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(peer.strict().ledger().count(op::INTERRUPT), 1);
    assert_eq!(fs.root().unwrap().refresh_attr().map(|attr| attr.is_dir()).ok(), Some(true), "the rest works");
    drop(request);
    peer.leaks();
    let _ = fs.unmount();
    drop(fs);
    peer.end();
}

/// What a device does with an IOCTL: answers with its data, each byte one more, and the size of what it may write as result.
fn commands(request: &Request) -> Act {
    if request.opcode() != op::IOCTL {
        return Act::Serve;
    }
    let data: Vec<u8> = request.bytes[72..].iter().map(|byte| byte.wrapping_add(1)).collect();
    let room = request.bytes[68..72].to_vec();
    let reply = [&room[..], &[0; 12], &data].concat();
    Act::Invent(reply)
}

#[test]
fn commands_with_data_both_ways() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"contents");
    let data = content(1, 12_000);
    let wanted: Vec<u8> = data.iter().map(|byte| byte.wrapping_add(1)).collect();
    let fs = peer.mount_with(peer.config().dax(false).data_buffers(2)).unwrap();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    peer.strict().watch(commands);
    for len in [0, 1, 1000, 1464, 1465, 4096, 12_000] {
        let (result, answer) = file.ioctl(0xc000_6601, 7, &data[..len]).unwrap();
        assert_same(&answer, &wanted[..len], len);
        assert_eq!(result, 16 << 10);
    }
    // Who has one buffer does not wait for the other with it.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_same(&file.ioctl(0xc000_6601, 7, &data).unwrap().1, &wanted, "of several threads");
                }
            });
        }
    });
    assert_eq!(fs.stats().timeouts, 0);
    drop(file);
    fs.unmount().unwrap();
    drop(fs);

    // With one buffer there is no second, however long one waits.
    let fs = peer.mount_with(peer.config().dax(false).data_buffers(1)).unwrap();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    assert_eq!(file.ioctl(0xc000_6601, 7, &data).unwrap_err().errno(), Errno::ENOBUFS);
    assert_same(&file.ioctl(0xc000_6601, 7, &data[..1000]).unwrap().1, &wanted[..1000], "what fits the slot");
    assert_eq!(fs.read("file").unwrap(), b"contents");
    assert_eq!(fs.stats().timeouts, 0);
    drop(file);
    peer.finish(fs);
}

#[test]
fn a_command_that_wants_more_memory_than_it_names_is_refused() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", b"contents");
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    // FUSE_IOCTL_RETRY, in response to a command that the driver calls restricted; with more than any command may write;
    // and with a number of vectors that is not there.
    let retry = |vectors: u32| {
        let head = [0, 1 << 2, vectors, vectors].map(u32::to_le_bytes).concat();
        [&head[..], &0x1000u64.to_le_bytes(), &64u64.to_le_bytes(), &0x2000u64.to_le_bytes(), &64u64.to_le_bytes()]
            .concat()
    };
    let too_much = [0u32, 0, 0, 0].map(u32::to_le_bytes).concat();
    for body in [retry(1), retry(0), retry(1000), retry(u32::MAX), too_much[..8].to_vec()] {
        peer.strict().watch(move |request| {
            if request.opcode() != op::IOCTL {
                return Act::Serve;
            }
            assert_eq!(u32_at(&request.bytes, 48) & 2, 0, "the driver offers no memory but that of the command");
            Act::Invent(body.clone())
        });
        assert_eq!(file.ioctl(0xc000_6601, 0x1000, b"argument").unwrap_err().errno(), Errno::EIO);
        peer.strict().behave();
        assert_eq!(fs.read("file").unwrap(), b"contents");
    }
    peer.strict().watch(|request| if request.opcode() == op::IOCTL { Act::Refuse(libc::ENOSYS) } else { Act::Serve });
    assert_eq!(file.ioctl(0xc000_6601, 0, &[]).unwrap_err().errno(), Errno::EOPNOTSUPP);
    drop(file);
    peer.finish(fs);
}

/// A request that says of itself that it is a STATFS.
#[derive(Debug)]
struct Disguised<O>(O);

impl<O: Operation> Operation for Disguised<O> {
    const OPCODE: Opcode = ops::Statfs::OPCODE;

    type Reply<'r> = O::Reply<'r>;

    fn node(&self) -> NodeId {
        self.0.node()
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        self.0.write_body(protocol, message)
    }

    fn reply_size(&self, protocol: &Protocol) -> ReplySize {
        self.0.reply_size(protocol)
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<Self::Reply<'r>, DecodeError> {
        self.0.decode_body(protocol, body)
    }

    fn encode(&self, protocol: &Protocol, unique: Unique, who: WireContext) -> Result<Message<'_>, EncodeError> {
        self.0.encode(protocol, unique, who)
    }
}

#[test]
fn a_request_is_judged_by_its_encoding() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(1, 3 << 20));
    let fs = peer.mount();
    let file = fs.open("file", OpenOptions::new().read(true).write(true)).unwrap();
    let view = file.map(0, 4096).unwrap();
    let node = fs.lookup("file").unwrap().node_id();
    let sent = fs.stats().requests;
    let refused = |result: Option<Error>| result.expect("it is refused").errno();
    let ranges = [MappingRange::new(0, 2 << 20)];
    let removal = || ops::Removemapping { node: NodeId::ROOT, ranges: List::new(&ranges) };
    assert_eq!(refused(fs.submit(removal()).err()), Errno::EPERM);
    assert_eq!(refused(fs.submit(Disguised(removal())).err()), Errno::EINVAL);
    assert_eq!(refused(fs.submit(ops::Destroy).err()), Errno::EPERM);
    assert_eq!(refused(fs.submit(Disguised(ops::Destroy)).err()), Errno::EINVAL);
    assert_eq!(refused(fs.submit(ops::Setattr::new(node).size(0)).err()), Errno::EPERM);
    let truncating = ops::Open { node, flags: OpenFlags::RDWR | OpenFlags::TRUNC, extra: Default::default() };
    assert_eq!(refused(fs.submit(truncating).err()), Errno::EPERM);
    let (fh, mode) = (Default::default(), FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE);
    let punch = ops::Fallocate { node, fh, offset: 0, length: 4096, mode };
    assert_eq!(refused(fs.submit(punch).err()), Errno::EPERM);
    assert_eq!(fs.stats().requests, sent, "none of them was sent");
    let mut found = [0; 4096];
    view.copy_to(0, &mut found);
    assert_same(&found, &content(1, 4096), "what is in view");
    drop(view);
    drop(file);
    peer.finish(fs);
}
