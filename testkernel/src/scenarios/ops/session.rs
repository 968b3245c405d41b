//! Sessions: what is given back at their end, and many requests at a time.

use crate::{
    arch::clock::Clock,
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        files,
        operations::{READ, end, holds},
    },
};
use alloc::{format, vec, vec::Vec};
use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use fuse_proto::{Errno, List, LockOwner, NodeId, OpenExtraFlags, OpenFlags, Operation, ReadFlags, ReleaseFlags, ops};
use testkernel_protocol::content::{Content, stream};
use virtio_fs::{Answer, Config, Error, InFlight};

/// How long requests may take together.
const PATIENCE: Duration = Duration::from_secs(30);

type Flight<O> = InFlight<O>;

/// With room for 64 inodes, hundreds of names are looked up, listed and opened. The driver gives back the rest while it
/// goes, and at the end the daemon counts no look-up that wasn't given back.
pub(crate) fn forget_balance(machine: &Machine) -> Outcome {
    let fs = mount::mount(machine, Config::default().max_inodes(64).max_entries(100))?;
    for round in 0..2 {
        for index in 0..300 {
            let name = format!("dirs/many/entry-{index:03}");
            let size = fs.attr(&name)?.size;
            ensure!(size == index, "round {round}: {name} has {size} bytes");
        }
        let listed = fs.read_dir("dirs/many")?.with_attributes().count();
        ensure!(listed == 311, "{listed} entries");
    }
    let nodes =
        (0..100).map(|index| fs.lookup(format!("dirs/many/entry-{index:03}"))).collect::<Result<Vec<_>, _>>()?;
    let file = fs.open("dirs/many/entry-299", READ)?;
    let half_listed = fs.read_dir("dirs/many")?.with_attributes().next();
    ensure!(half_listed.is_some_and(|entry| entry.is_ok()), "no entry");
    let forgets = fs.stats().forgets;
    ensure!(forgets >= 500, "only {forgets} inodes were given back while 64 are kept");
    drop((nodes, file));
    end(&fs)
}

/// The file system is unmounted while files, a listing, nodes and requests are open. They get errors from then on and can be
/// dropped; at the daemon no mapping and no look-up is left.
pub(crate) fn unmount_with_open_files(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-5243003";
    let fs = mount::mount(machine, Config::default())?;
    let file = fs.open(NAME, READ)?;
    let mut buffer = vec![0; 100_000];
    file.read_exact_at(&mut buffer, 0)?;
    files::check(NAME, Content::of(NAME), 0, &buffer)?;
    let node = fs.lookup("dirs/many")?;
    let mut listing = node.read_dir()?;
    ensure!(listing.next().is_some_and(|entry| entry.is_ok()), "no entry");
    let mut flights: Vec<Flight<ops::Getattr>> = Vec::new();
    for _ in 0..10 {
        flights.push(fs.submit(ops::Getattr { node: NodeId::ROOT, fh: None })?);
    }
    fs.unmount()?;
    let unmounted = |what: &str, error: Option<Error>| match error {
        Some(Error::Unmounted) => Ok(()),
        other => Err(Stop::Fail(format!("{what} after the unmount: {other:?}"))),
    };
    unmounted("reading", file.read_at(&mut buffer, 0).err())?;
    unmounted("attributes", node.attr().err())?;
    unmounted("mapping", file.map(0, 4096).err())?;
    unmounted("unmounting", fs.unmount().err())?;
    unmounted("submitting", fs.submit(ops::Getattr { node: NodeId::ROOT, fh: None }).err())?;
    for mut flight in flights {
        // Answered before the end, or given up by it: both are right, waiting for ever is not.
        let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
        while let Ok(None) = flight.poll_answer(None) {
            ensure!(Clock::now_ns() < deadline, "a request of a session that has ended stays under way");
        }
    }
    drop((file, listing, node));
    mount::report(&fs);
    Ok(())
}

/// Many requests are under way at once and are looked at in the order in which they come back, the last first, through a
/// future, or never. Each answer is that of its own request.
pub(crate) fn pipelined(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-5243003";
    const BLOCK: u32 = 3000;
    let fs = mount::mount(machine, Config::default())?;
    let node = fs.lookup(NAME)?.node_id();
    let opened = fs.submit(ops::Open { node, flags: OpenFlags::RDONLY, extra: OpenExtraFlags::empty() })?;
    let fh = finish(&fs, opened)?.reply()?.fh;
    let read = |index: u64| ops::Read {
        node,
        fh,
        offset: index * 300_001,
        size: BLOCK,
        read_flags: ReadFlags::empty(),
        lock_owner: LockOwner(0),
        flags: OpenFlags::RDONLY,
    };
    let check = |index: u64, answer: &Answer<ops::Read>| -> Outcome {
        let bytes = answer.reply()?;
        ensure!(bytes.len() == BLOCK as usize, "{} bytes of block {index}", bytes.len());
        files::check(NAME, Content::of(NAME), index * 300_001, bytes)
    };
    for round in 0..10 {
        // Reads that nobody waits for, attributes, and reads, all under way together; eight is what there are buffers for.
        let ignored = [send(&fs, read(0))?, send(&fs, read(1))?];
        let attributes = (0..20).map(|_| send(&fs, ops::Getattr { node, fh: None })).collect::<Result<Vec<_>, _>>()?;
        let reads = (2..8).map(|index| send(&fs, read(index))).collect::<Result<Vec<_>, _>>()?;
        drop(ignored);
        if round % 2 == 0 {
            for (place, flight) in reads.into_iter().enumerate().rev() {
                check(place as u64 + 2, &finish(&fs, flight)?)?;
            }
        } else {
            as_they_come(&fs, reads, |place, answer| check(place as u64 + 2, answer))?;
        }
        as_they_come(&fs, attributes, |_, answer| {
            let size = answer.reply()?.attr.size;
            ensure!(size == 5_243_003, "{NAME} has {size} bytes");
            Ok(())
        })?;
    }
    let statfs = wait_as_future(&fs, fs.submit(ops::Statfs { node: NodeId::ROOT })?)?;
    ensure!(statfs.reply()?.blocks > 0, "the file system has no blocks");
    let release = ops::Release {
        node,
        fh,
        flags: OpenFlags::RDONLY,
        release_flags: ReleaseFlags::empty(),
        lock_owner: LockOwner(0),
    };
    finish(&fs, fs.submit(release)?)?.reply()?;
    let refused = fs.submit(ops::Removemapping { node, ranges: List::default() });
    ensure!(refused.is_err(), "a request that pulls the window away is sent");
    holds(&fs, "files/size-4097", &stream("files/size-4097", 4097))?;
    let timeouts = fs.stats().timeouts;
    ensure!(timeouts == 0, "{timeouts} requests got no answer");
    end(&fs)
}

/// Sends a request; where the queue is full or the buffers of given-up requests are not back yet, a little later.
fn send<O: Operation + Clone>(fs: &mount::Fs, op: O) -> Result<Flight<O>, Error> {
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    loop {
        match fs.submit(op.clone()) {
            Err(error) if error.errno() == Errno::EAGAIN && Clock::now_ns() < deadline => drop(fs.poll()),
            sent => return sent,
        }
    }
}

/// Looks at requests again and again and takes each answer when it is there.
fn as_they_come<O: Operation>(
    fs: &mount::Fs,
    flights: Vec<Flight<O>>,
    mut check: impl FnMut(usize, &Answer<O>) -> Outcome,
) -> Outcome {
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    let mut flights: Vec<_> = flights.into_iter().enumerate().collect();
    while !flights.is_empty() {
        ensure!(Clock::now_ns() < deadline, "{} requests have no answer", flights.len());
        fs.poll();
        let mut rest = Vec::new();
        for (place, mut flight) in flights {
            match flight.poll_answer(None)? {
                Some(answer) => check(place, &answer)?,
                None => rest.push((place, flight)),
            }
        }
        flights = rest;
    }
    Ok(())
}

/// Waits for one answer.
fn finish<O: Operation>(fs: &mount::Fs, mut flight: Flight<O>) -> Result<Answer<O>, Stop> {
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    loop {
        fs.poll();
        if let Some(answer) = flight.poll_answer(None)? {
            return Ok(answer);
        }
        ensure!(Clock::now_ns() < deadline, "no answer");
    }
}

/// As an executor does.
fn wait_as_future<O: Operation + Unpin>(fs: &mount::Fs, flight: Flight<O>) -> Result<Answer<O>, Stop> {
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    let mut flight = pin!(flight);
    loop {
        if let Poll::Ready(answer) = flight.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Ok(answer?);
        }
        fs.poll();
        ensure!(Clock::now_ns() < deadline, "no answer");
    }
}
