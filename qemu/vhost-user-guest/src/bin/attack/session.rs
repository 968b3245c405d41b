//! One daemon, attacked until it falls or the session is over.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;
use vhost_user_guest::guest::{DESCRIPTORS, NEXT, REPLY_ROOM, REQUEST_ROOM, SLOTS, WRITE, buffer, parse};
use vhost_user_guest::{Asked, Descriptor, Guest, Reply, Start, outside};

use crate::generate::{Generator, opcode};

/// What was done, over all sessions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) successes: u64,
    pub(crate) mappings: u64,
}

/// One session, by its numbers.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) daemon: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) seed: u64,
    pub(crate) number: u64,
    /// What the daemon is to do wrong.
    pub(crate) fault: Option<&'a str>,
}

/// Queues that are attacked, the urgent one included.
const QUEUES: usize = 3;
/// How often the host is looked at, in batches.
const LOOK: u64 = 64;
/// Most memory that the daemon may take, in KiB.
const MEMORY: u64 = 512 << 10;

/// A request that is in a queue.
struct Sent {
    opcode: u32,
    node: u64,
    bytes: Vec<u8>,
    expect: Expect,
}

/// What may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A reply, or nothing where there is none.
    Reply,
    /// Nothing: it is no chain.
    Nothing,
    /// Whatever a table of random bytes says.
    Anything,
}

impl Session<'_> {
    /// Attacks. An error is a finding.
    pub(crate) fn run(&self, requests: u64, deadline: Option<Instant>, tally: &mut Tally) -> Result<()> {
        let mixed = (self.seed ^ self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd134_2543_de82_ef95);
        let mut generator = Generator::new(mixed);
        let threads = if self.number.is_multiple_of(2) { "1" } else { "8" };
        // Without a word the daemon confines itself as far as this machine lets it.
        let sandbox: &[&str] = if self.number % 4 < 2 { &["--sandbox", "none"] } else { &[] };
        let arguments = ["--num-request-queues", "2", "--thread-pool-size", threads];
        let wild = ["--map-all", "--allow-setuid", "--xattr", "--max-mappings", "40"];
        let planted: Vec<&str> = self.fault.iter().flat_map(|fault| ["--fault", fault]).collect();
        let wild = if self.number % 3 == 1 { &wild[..] } else { &wild[2..3] };
        let arguments = [&arguments[..], sandbox, wild, &planted].concat();
        let start = Start { program: self.daemon, queues: QUEUES, arguments: &arguments };
        let folder = tempfile::tempdir_in(self.folder)?;
        outside::make(folder.path())?;
        let before = outside::snapshot(folder.path())?;
        let mut guest = Guest::start_in(folder, &start)?;
        guest.show_window()?;
        guest.init()?;
        let mut attack = Attack { guest: &mut guest, generator: &mut generator, tally };
        let outcome = attack.rounds(requests, deadline, &before);
        let log = guest.log();
        outcome.with_context(|| format!("the log ends with: {}", last_lines(&log)))?;
        let pid = guest.daemon.pid();
        ensure!(memory(pid) < MEMORY, "the daemon takes {} KiB", memory(pid));
        let (folder, status, log) = guest.end()?;
        ensure!(status.success(), "the daemon ended with {status}: {}", last_lines(&log));
        ensure!(!log.contains("panicked"), "a panic: {}", last_lines(&log));
        ensure!(outside::snapshot(folder.path())? == before, "something outside the share has changed");
        Ok(())
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Resident memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

struct Attack<'a> {
    guest: &'a mut Guest,
    generator: &'a mut Generator,
    tally: &'a mut Tally,
}

impl Attack<'_> {
    fn rounds(&mut self, requests: u64, deadline: Option<Instant>, before: &[outside::Entry]) -> Result<()> {
        let begin = self.tally.requests;
        let mut round = 0;
        while self.tally.requests - begin < requests && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let outcome = match self.generator.rng.u16(..1000) {
                0 => self.dead_queue(),
                1 => self.reset(),
                _ => self.batch(),
            };
            if let Some(status) = self.guest.daemon.ended()? {
                bail!("the daemon ended with {status}");
            }
            outcome?;
            self.look(round, before)?;
            round += 1;
        }
        Ok(())
    }

    /// What must hold between requests.
    fn look(&mut self, round: u64, before: &[outside::Entry]) -> Result<()> {
        let asked = self.guest.asked();
        self.tally.mappings += asked.iter().filter(|asked| matches!(asked, Asked::Map(..))).count() as u64;
        let mut qemu = self.guest.qemu();
        qemu.check_ends();
        if let Some(violation) = qemu.violations.first() {
            bail!("QEMU: {violation}");
        }
        drop(qemu);
        if round.is_multiple_of(LOOK) {
            ensure!(outside::snapshot(self.guest.folder.path())? == before, "something outside the share has changed");
        }
        Ok(())
    }

    /// A queue of which the index is too far ahead; the others serve on.
    fn dead_queue(&mut self) -> Result<()> {
        let ahead = self.generator.rng.u16(257..0x8000);
        self.guest.jump(1, ahead)?;
        let alive = self.guest.together(2, &[(17, 1, Vec::new())]).context("a dead queue stops another")?;
        ensure!(alive.len() == 1, "no answer");
        self.reset()
    }

    /// As a guest does that starts again. Nothing is in flight: with mappings in flight QEMU would not survive it,
    /// whatever the daemon does.
    fn reset(&mut self) -> Result<()> {
        self.guest.reset()?;
        self.guest.run()?;
        self.generator.forget();
        self.guest.init()?;
        Ok(())
    }

    fn batch(&mut self) -> Result<()> {
        let queue = self.generator.rng.usize(..QUEUES);
        let count = self.generator.rng.usize(1..=SLOTS);
        let mut sent = Vec::with_capacity(count);
        let mut heads = Vec::with_capacity(count);
        for slot in 0..count {
            sent.push(self.send(queue, slot)?);
            heads.push((slot * DESCRIPTORS) as u16);
        }
        self.guest.offer(queue, &heads)?;
        let back = self.guest.wait(queue, count)?;
        self.tally.requests += count as u64;
        for (head, len) in back {
            let slot = head as usize / DESCRIPTORS;
            let request = sent.get(slot).filter(|_| (head as usize).is_multiple_of(DESCRIPTORS));
            let request = request.with_context(|| format!("descriptor {head} came back, which nobody sent"))?;
            let at = buffer(queue, slot) + REQUEST_ROOM as u64;
            ensure!(len as usize <= REPLY_ROOM, "{len} bytes of reply");
            let bytes = self.guest.peek(at, len as usize)?;
            self.check(request, &bytes).with_context(|| format!("request {}", request.opcode))?;
        }
        if sent.iter().any(|request| request.opcode == opcode::DESTROY) {
            // Nothing is answered without an error until a session begins.
            self.generator.forget();
            self.guest.init()?;
        }
        Ok(())
    }

    fn check(&mut self, request: &Sent, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() || request.expect == Expect::Anything {
            return Ok(());
        }
        ensure!(request.expect == Expect::Reply, "{} bytes of reply to what is no chain", bytes.len());
        let reply = parse(&request.bytes, bytes)?;
        if reply.error == 0 {
            self.tally.successes += 1;
            self.learn(request, &reply);
        }
        Ok(())
    }

    fn learn(&mut self, request: &Sent, reply: &Reply) {
        match request.opcode {
            opcode::LOOKUP | opcode::SYMLINK | opcode::MKNOD | opcode::MKDIR | opcode::LINK => {
                self.generator.learn_node(reply.u64(0));
            }
            opcode::CREATE => {
                self.generator.learn_node(reply.u64(0));
                self.generator.learn_handle(reply.u64(0), reply.u64(128));
            }
            opcode::OPEN | opcode::OPENDIR => self.generator.learn_handle(request.node, reply.u64(0)),
            _ => {}
        }
    }

    fn send(&mut self, queue: usize, slot: usize) -> Result<Sent> {
        let made = self.generator.make();
        let mut bytes = self.guest.encode(made.opcode, made.node, &made.body);
        let mut sent = Sent { opcode: made.opcode, node: made.node, bytes: Vec::new(), expect: Expect::Reply };
        if self.generator.rng.u8(..100) < 6 {
            self.generator.spoil(&mut bytes);
            // Nothing is learned from an answer to something else.
            sent.opcode = u32::MAX;
        }
        let silent = matches!(made.opcode, opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT);
        let room = if silent { 0 } else { REPLY_ROOM };
        self.guest.place(queue, slot, &bytes, room)?;
        if self.generator.rng.u8(..100) < 8 {
            sent.expect = self.reshape(queue, slot, bytes.len() as u32)?;
        }
        bytes.resize(bytes.len().max(16), 0);
        sent.bytes = bytes;
        Ok(sent)
    }

    /// Gives a request another chain; returns what may come back.
    fn reshape(&mut self, queue: usize, slot: usize, len: u32) -> Result<Expect> {
        let at = buffer(queue, slot);
        let reply = at + REQUEST_ROOM as u64;
        let first = (slot * DESCRIPTORS) as u16;
        let rng = &mut self.generator.rng;
        let d = |address, len, flags, next: u16| Descriptor { address, len, flags, next: first.wrapping_add(next) };
        let (chain, expect) = shape(rng, (at, len), reply, d);
        for (number, descriptor) in chain.into_iter().enumerate() {
            self.guest.describe(queue, first + number as u16, descriptor)?;
        }
        Ok(expect)
    }
}

/// A chain for a request of `len` bytes at `at` with its reply at `reply`, and what may come back.
fn shape(
    rng: &mut Rng,
    (at, len): (u64, u32),
    reply: u64,
    d: impl Fn(u64, u32, u16, u16) -> Descriptor,
) -> (Vec<Descriptor>, Expect) {
    let room = REPLY_ROOM as u32;
    let cut = rng.u32(..=len);
    let small = rng.u32(..200);
    match rng.u8(..12) {
        // In pieces, the reply too.
        0..4 => {
            let rest = d(at + u64::from(cut), len - cut, NEXT, 2);
            let more = d(reply + u64::from(small), room - small, WRITE, 0);
            (vec![d(at, cut, NEXT, 1), rest, d(reply, small, NEXT | WRITE, 3), more], Expect::Reply)
        }
        // Little room, and none.
        4 => (vec![d(at, len, NEXT, 1), d(reply, small, WRITE, 0)], Expect::Reply),
        5 => (vec![d(at, len, 0, 0)], Expect::Reply),
        // Loops.
        6 => (vec![d(at, len, NEXT, 0)], Expect::Nothing),
        7 => (vec![d(at, len, NEXT, 1), d(reply, 16, NEXT | WRITE, 1)], Expect::Nothing),
        // Outside the memory.
        8 => (vec![d(rng.u64(..), len, NEXT, 1), d(reply, room, WRITE, 0)], Expect::Nothing),
        9 => (vec![d(at, len, NEXT, 1), d(rng.u64(..) | 1 << 40, rng.u32(..), WRITE, 0)], Expect::Nothing),
        // The reply first.
        10 => (vec![d(reply, 64, NEXT | WRITE, 1), d(at, len, 0, 0)], Expect::Nothing),
        // A table where there is none.
        _ => (vec![d(at, rng.u32(..64), 4, 0)], Expect::Anything),
    }
}
