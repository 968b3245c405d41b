//! The device: takes requests from its queues, has them answered, and lies about it.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::character::{Character, WINDOW};
use crate::clock::Clock;
use crate::lies::{Answer, EDGES};
use crate::limits::SHORT;
use crate::memory::Ram;
use crate::queue::{Chain, Queue};
use crate::server::{self, Server, op};

/// Pages of the window, as it is mapped.
const PAGE: u64 = 4096;

/// A request that the device has and has not answered.
#[derive(Debug)]
struct Kept {
    queue: usize,
    chain: Chain,
    /// When it is answered; never, if there is no such time.
    due: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) character: Character,
    pub(crate) rng: Rng,
    pub(crate) ram: Ram,
    pub(crate) queues: Vec<Option<Queue>>,
    /// How many requests it took.
    pub(crate) requests: u64,
    /// What it did, in one number: the same for the same seed.
    pub(crate) trace: u64,
    server: Server,
    clock: Arc<Clock>,
    kept: Vec<Kept>,
    mapped: Vec<bool>,
    /// Whether mistakes in the rings can be its own.
    scribbled: bool,
}

impl Device {
    pub(crate) fn new(mut rng: Rng, ram: Ram, clock: Arc<Clock>) -> Self {
        let character = Character::draw(&mut rng);
        let server = Character::server(&mut rng);
        ram.limit(character.blocks);
        Self {
            character,
            rng,
            ram,
            queues: Vec::new(),
            requests: 0,
            trace: 0,
            server,
            clock,
            kept: Vec::new(),
            mapped: vec![false; (WINDOW.1 / PAGE) as usize],
            scribbled: false,
        }
    }

    /// So often, of 1000.
    pub(crate) fn chance(&mut self, rate: u16) -> bool {
        rate > 0 && self.rng.u16(..1000) < rate
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    /// After a reset: there are no queues, and nothing is kept.
    pub(crate) fn reset(&mut self) {
        self.queues.clear();
        self.kept.clear();
        self.ram.hide_all();
    }

    /// Whether all of these bytes of the window were mapped by an answer.
    pub(crate) fn is_mapped(&self, offset: u64, len: u64) -> bool {
        let pages = (offset / PAGE) as usize..offset.saturating_add(len).div_ceil(PAGE) as usize;
        self.mapped.get(pages).is_some_and(|pages| pages.iter().all(|mapped| *mapped))
    }

    /// Takes what a queue holds.
    pub(crate) fn serve(&mut self, queue: usize) {
        loop {
            let strict = !self.scribbled;
            let Some(ring) = self.queues.get_mut(queue).and_then(Option::as_mut) else { return };
            let Some(chain) = ring.take(&self.ram, strict) else { return };
            self.take(queue, chain);
        }
    }

    fn take(&mut self, queue: usize, chain: Chain) {
        if chain.request.is_empty() {
            // A buffer for notifications.
            self.kept.push(Kept { queue, chain, due: None });
            return;
        }
        self.requests += 1;
        self.note(u64::from(server::opcode(&chain.request)) ^ self.requests);
        let now = self.clock.now();
        let (delays, keeps) = (self.character.delays, self.character.keeps);
        let honest = self.requests <= self.character.honest;
        let slow = self.character.slow;
        let due = match slow {
            _ if honest => Some(now),
            Some(slow) => Some(now + slow),
            None if self.chance(keeps) => None,
            None if self.chance(delays) => {
                Some(now + Duration::from_micros(self.rng.u64(..SHORT.as_micros() as u64 * 2)))
            }
            None => Some(now),
        };
        let kept = Kept { queue, chain, due };
        if due == Some(now) { self.finish(kept) } else { self.kept.push(kept) }
    }

    /// Does what is due, or something unasked. Whether something was done.
    pub(crate) fn step(&mut self) -> bool {
        for queue in 0..self.queues.len() {
            self.serve(queue);
        }
        if self.chance(self.character.scribbles) {
            self.scribble();
        }
        if self.rng.u8(..8) == 0 {
            self.notify();
        }
        let now = self.clock.now();
        let due: Vec<usize> =
            (0..self.kept.len()).filter(|at| self.kept[*at].due.is_some_and(|due| due <= now)).collect();
        if due.is_empty() {
            return false;
        }
        // In any order.
        let kept = self.kept.remove(due[self.rng.usize(..due.len())]);
        self.finish(kept);
        true
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.kept.iter().filter_map(|kept| kept.due).min()
    }

    fn finish(&mut self, kept: Kept) {
        let Kept { queue, chain, .. } = kept;
        let opcode = server::opcode(&chain.request);
        let honest = self.requests <= self.character.honest;
        let answer = match self.server.answer(&chain.request) {
            _ if !honest && self.chance(self.character.refuses) => {
                Some(Err([1, 2, 4, 5, 11, 12, 13, 17, 20, 21, 28, 38, 61, 95, 110][self.rng.usize(..15)]))
            }
            Some(Ok(body)) => Some(Ok(self.twist(opcode, body))),
            other => other,
        };
        let mut answer = match answer {
            Some(answer) if chain.capacity() > 0 => Answer::new(chain.head, server::unique(&chain.request), answer),
            _ => Answer { bytes: Vec::new(), used: vec![(chain.head.into(), 0)], leap: 0 },
        };
        if !honest && self.chance(self.character.lies) {
            answer.lie(&mut self.rng);
        }
        self.map(&chain.request, &answer);
        self.note(answer.bytes.len() as u64);
        chain.fill(&self.ram, &answer.bytes);
        let Some(ring) = self.queues.get_mut(queue).and_then(Option::as_mut) else { return };
        for (id, len) in answer.used {
            ring.give(&self.ram, id, len);
        }
        ring.leap(&self.ram, answer.leap);
    }

    /// Bodies that are well-formed and lead nowhere: little at a time, listings without an end.
    fn twist(&mut self, opcode: u32, mut body: Vec<u8>) -> Vec<u8> {
        match (opcode, self.character.most) {
            (op::READ, Some(most)) => body.truncate(most),
            (op::WRITE, Some(most)) => body[..4].copy_from_slice(&(most as u32).to_le_bytes()),
            (op::READDIR, _) if self.character.endless => {
                let name: &[u8] = if self.rng.bool() { b"." } else { b"again" };
                let mut entry = [5, self.requests].map(u64::to_le_bytes).concat();
                entry.extend([name.len() as u32, 4].map(u32::to_le_bytes).concat());
                entry.extend(name);
                entry.resize(entry.len().next_multiple_of(8), 0);
                return entry;
            }
            _ => {}
        }
        body
    }

    /// Keeps account of what the driver may believe to be mapped.
    fn map(&mut self, request: &[u8], answer: &Answer) {
        if !answer.is_success() {
            return;
        }
        let mapped = server::opcode(request) == op::SETUPMAPPING;
        for (offset, len) in server::mappings(request) {
            let pages = (offset / PAGE) as usize..offset.saturating_add(len).div_ceil(PAGE) as usize;
            if let Some(pages) = self.mapped.get_mut(pages) {
                pages.fill(mapped);
            }
        }
    }

    /// Writes over memory that it shares with the driver.
    fn scribble(&mut self) {
        let count = self.ram.len();
        if count == 0 || self.queues.is_empty() {
            return;
        }
        self.scribbled = true;
        let Some((paddr, len)) = self.ram.block(self.rng.usize(..count)) else { return };
        let mut noise = [0; 8];
        self.rng.fill(&mut noise);
        if self.rng.bool() {
            noise = EDGES[self.rng.usize(..EDGES.len())].to_le_bytes();
        }
        let width = [1, 2, 4, 8][self.rng.usize(..4)];
        let at = self.rng.usize(..len / width) * width;
        self.ram.write(paddr + at as u64, &noise[..width]);
    }

    /// Says something without being asked.
    fn notify(&mut self) {
        let Some(at) = self.kept.iter().position(|kept| kept.chain.request.is_empty()) else { return };
        let Kept { queue, chain, .. } = self.kept.remove(at);
        let code = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1000][self.rng.usize(..10)];
        let mut body = vec![0; self.rng.usize(..64)];
        self.rng.fill(&mut body);
        if self.rng.bool() && body.len() >= 8 {
            body[..8].copy_from_slice(&self.rng.u64(..40).to_le_bytes());
        }
        let mut answer = Answer::new(chain.head, 0, Ok(body));
        if let Some(error) = answer.bytes.get_mut(4..8) {
            error.copy_from_slice(&i32::to_le_bytes(code));
        }
        if self.chance(self.character.lies) {
            answer.lie(&mut self.rng);
        }
        chain.fill(&self.ram, &answer.bytes);
        let Some(ring) = self.queues.get_mut(queue).and_then(Option::as_mut) else { return };
        for (id, len) in answer.used {
            ring.give(&self.ram, id, len);
        }
        ring.leap(&self.ram, answer.leap);
    }
}
