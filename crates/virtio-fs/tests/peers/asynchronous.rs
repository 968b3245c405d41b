//! Files read and written by futures, which never block.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use fuse_proto::Errno;
use virtio_fs::{Error, OpenOptions, VirtioFs};

use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    futures_read_and_write_what_calls_do,
    many_futures_at_a_time,
    futures_without_a_window,
}

/// How long a test that hangs may take until it says so.
const PATIENCE: Duration = Duration::from_secs(300);

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const RANGE: usize = 2 << 20;
const LEN: usize = 2 * RANGE + 5000;

#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a task only when it was woken, which whoever completes requests sees to.
pub(crate) fn run<T>(fs: &VirtioFs, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    loop {
        let deadline = Instant::now() + PATIENCE;
        let before = woken.0.load(Ordering::SeqCst);
        if let Poll::Ready(result) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        while woken.0.load(Ordering::SeqCst) == before {
            assert!(Instant::now() < deadline, "never woken");
            fs.poll();
            std::thread::yield_now();
        }
    }
}

fn look<F: Future>(task: Pin<&mut F>) -> Poll<F::Output> {
    task.poll(&mut Context::from_waker(Waker::noop()))
}

/// Reads all, writes inside, past the end and at the end, and looks what the host has.
fn read_and_write(peer: &Peer, fs: &VirtioFs, size: usize) {
    let mut data = content(7, size);
    peer.put("file", &data);
    let file = fs.open("file", BOTH).unwrap();
    let mut found = vec![0; size + 1000];
    assert_eq!(run(fs, file.read_async(&mut found, 0)).unwrap(), size);
    assert_same(&found[..size], &data, "what the future read");
    assert_eq!(run(fs, file.read_async(&mut found, size as u64)).unwrap(), 0, "at the end");

    let piece = content(8, 10_000);
    for at in [size / 2 - 5000, size - 100] {
        assert_eq!(run(fs, file.write_async(&piece, at as u64)).unwrap(), piece.len());
        data.resize(data.len().max(at + piece.len()), 0);
        data[at..at + piece.len()].copy_from_slice(&piece);
    }
    drop(file);
    let file = fs.open("file", OpenOptions::new().append(true)).unwrap();
    assert_eq!(run(fs, file.write_async(&piece, 0)).unwrap(), piece.len());
    data.extend(&piece);
    let mut byte = [0];
    let refused = run(fs, file.read_async(&mut byte, 0)).unwrap_err();
    assert_eq!(refused.errno(), Errno::EBADF, "a file that is open for writing");
    drop(file);
    assert_same(&peer.get("file"), &data, "what the futures wrote");
    assert_same(&fs.read("file").unwrap(), &data, "what a call reads");
}

fn futures_read_and_write_what_calls_do(peer: Peer) {
    let fs = peer.mount();
    read_and_write(&peer, &fs, LEN);
    let stats = fs.stats();
    assert!(stats.dax_read_bytes as usize > RANGE && stats.dax_write_bytes >= 10_000, "{stats:?}");
    peer.finish(fs);
}

fn futures_without_a_window(peer: Peer) {
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    // Some servers take a page a request, and a future sends one after the other.
    read_and_write(&peer, &fs, 100_000);
    assert_eq!(fs.stats().dax_read_bytes, 0);
    peer.finish(fs);
}

/// More reads than the queue has room for and the window has ranges, all under way at once.
fn many_futures_at_a_time(peer: Peer) {
    let data = content(9, 6 * RANGE);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().queue_size(8).data_buffers(2)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let mut buffers: Vec<_> = (0..40).map(|_| vec![0; 5000]).collect();
    let place = |index: usize| index * data.len() / 41;
    let reads = buffers.iter_mut().enumerate().map(|(index, buffer)| file.read_async(buffer, place(index) as u64));
    let mut reads: Vec<_> = reads.map(|read| Some(Box::pin(read))).collect();
    let deadline = Instant::now() + PATIENCE;
    while reads.iter().any(Option::is_some) {
        assert!(Instant::now() < deadline, "reads that never end");
        for read in &mut reads {
            if let Some(task) = read
                && let Poll::Ready(count) = look(task.as_mut())
            {
                assert_eq!(count.unwrap(), 5000);
                *read = None;
            }
        }
        fs.poll();
    }
    drop(reads);
    for (index, buffer) in buffers.iter().enumerate() {
        assert_same(buffer, &data[place(index)..][..5000], index);
    }
    drop(file);
    peer.finish(fs);
}

/// The device holds each request until the future has been looked at: a future that waits would be seen to.
#[test]
fn a_future_returns_while_the_device_works() {
    let peer = Peer::new(Kind::Strict);
    let data = content(10, LEN);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    let strict = peer.strict();
    strict.misbehave(|request| match request.opcode() {
        op::GETATTR | op::SETUPMAPPING | op::READ | op::WRITE => Act::Hold,
        _ => Act::Serve,
    });
    let mut found = vec![0; LEN];
    let mut held = 0;
    {
        let mut read = pin!(file.read_async(&mut found, 0));
        let deadline = Instant::now() + PATIENCE;
        while look(read.as_mut()).is_pending() {
            assert!(Instant::now() < deadline, "a read that never ends");
            if strict.held() > 0 {
                strict.release(0);
                held += 1;
            }
            fs.poll();
        }
    }
    assert!(held >= 4, "two mappings, attributes or the tail: {held}");
    assert_same(&found, &data, "what the future read");
    strict.behave();
    drop(file);
    peer.finish(fs);
}

/// After its future is dropped, a mapping is finished by whoever comes next, and costs no range.
#[test]
fn a_future_dropped_during_a_set_up_leaves_nothing() {
    let peer = Peer::new(Kind::Strict);
    let data = content(11, LEN);
    peer.put("file", &data);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    // The attributes are known from here on.
    assert_eq!(file.len().unwrap(), LEN as u64);
    let strict = peer.strict();
    strict.misbehave(|request| if request.opcode() == op::SETUPMAPPING { Act::Hold } else { Act::Serve });
    let mut byte = [0];
    {
        // In the last range: nothing is mapped ahead of it.
        let mut read = pin!(file.read_async(&mut byte, 2 * RANGE as u64));
        let deadline = Instant::now() + PATIENCE;
        while strict.held() == 0 {
            assert!(look(read.as_mut()).is_pending() && Instant::now() < deadline, "the mapping is held");
        }
    }
    strict.behave();
    strict.release(0);
    let mut found = vec![0; LEN];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), LEN);
    assert_same(&found, &data, "a call afterwards");
    let window = fs.stats().window.unwrap();
    assert_eq!(window.retired, 0, "{window:?}");
    file.set_len(100).unwrap();
    drop(file);
    peer.finish(fs);
}

/// A server that refuses a request is an error of the future, once.
#[test]
fn an_error_is_the_futures() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(12, 5000));
    let fs = peer.mount_with(peer.config().dax(false)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().misbehave(|request| match request.opcode() {
        op::READ | op::WRITE => Act::Refuse(libc::EIO),
        _ => Act::Serve,
    });
    let mut found = [0; 100];
    for error in [run(&fs, file.read_async(&mut found, 0)), run(&fs, file.write_async(b"lost", 0))] {
        assert!(matches!(error, Err(Error::Os(Errno::EIO))), "{error:?}");
    }
    peer.strict().behave();
    drop(file);
    peer.finish(fs);
}
