//! A queue as a device sees it: what the driver made available, and what the device says it used.

use virtio_fs::PhysAddr;

use crate::memory::Ram;
use crate::rules;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Descriptors of a chain that are looked at.
const LONGEST: usize = 16;
/// Bytes of a request that are looked at.
const MOST: usize = 1 << 20;

/// A queue that the driver has set up.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) size: u16,
    /// Descriptors, driver area, device area.
    pub(crate) areas: [PhysAddr; 3],
    seen: u16,
    used: u16,
}

/// A request that the driver made available.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) head: u16,
    pub(crate) request: Vec<u8>,
    /// What the device may write: addresses and lengths.
    pub(crate) room: Vec<(PhysAddr, u32)>,
}

impl Chain {
    /// How many bytes the device may write.
    pub(crate) fn capacity(&self) -> u64 {
        self.room.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    /// Writes a reply, as much as there is room for. Returns how much.
    pub(crate) fn fill(&self, ram: &Ram, mut bytes: &[u8]) -> u32 {
        let mut written = 0;
        for (paddr, len) in &self.room {
            let (now, rest) = bytes.split_at(bytes.len().min(*len as usize));
            // What is not there is nobody's: the chain was read when it came.
            ram.write(*paddr, now);
            written += now.len() as u32;
            bytes = rest;
        }
        written
    }
}

fn u16_at(ram: &Ram, paddr: PhysAddr) -> Option<u16> {
    let mut bytes = [0; 2];
    ram.read(paddr, &mut bytes).then_some(u16::from_le_bytes(bytes))
}

impl Queue {
    pub(crate) fn new(size: u16, areas: [PhysAddr; 3]) -> Self {
        Self { size, areas, seen: 0, used: 0 }
    }

    /// The next chain, if there is one. `strict`: what is wrong with it is the driver's mistake.
    pub(crate) fn take(&mut self, ram: &Ram, strict: bool) -> Option<Chain> {
        let blame = |what: &str| {
            if strict {
                rules::broken(|| format!("the driver's mistake: {what}"));
            }
        };
        let Some(index) = u16_at(ram, self.areas[1] + 2) else {
            blame("an available ring outside its memory");
            return None;
        };
        if index == self.seen {
            return None;
        }
        if index.wrapping_sub(self.seen) > self.size {
            blame("more made available than the queue holds");
            return None;
        }
        let place = self.areas[1] + 4 + 2 * u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        let head = u16_at(ram, place).unwrap_or(u16::MAX);
        let chain = self.chain(ram, head);
        if chain.is_none() {
            blame("a chain that leads outside its memory");
        }
        chain
    }

    fn chain(&self, ram: &Ram, head: u16) -> Option<Chain> {
        let mut chain = Chain { head, request: Vec::new(), room: Vec::new() };
        let (mut table, mut count, mut index) = (self.areas[0], self.size, head);
        for _ in 0..LONGEST {
            if index >= count {
                return None;
            }
            let mut bytes = [0; 16];
            if !ram.read(table + 16 * u64::from(index), &mut bytes) {
                return None;
            }
            let [address, rest] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte])));
            let (len, flags, next) = (rest as u32, (rest >> 32) as u16, (rest >> 48) as u16);
            ram.show(address);
            if flags & INDIRECT != 0 {
                (table, count, index) = (address, u16::try_from(len / 16).unwrap_or(u16::MAX), 0);
                continue;
            }
            if flags & WRITE != 0 {
                // Looked at, not read: it has to be there.
                if !is_there(ram, address, len) {
                    return None;
                }
                chain.room.push((address, len));
            } else {
                let begin = chain.request.len();
                let end = begin.checked_add(len as usize).filter(|end| *end <= MOST)?;
                chain.request.resize(end, 0);
                if !ram.read(address, &mut chain.request[begin..]) {
                    return None;
                }
            }
            if flags & NEXT == 0 {
                return Some(chain);
            }
            index = next;
        }
        None
    }

    /// Says that a chain is used, by whatever id and length.
    pub(crate) fn give(&mut self, ram: &Ram, id: u32, len: u32) {
        let place = self.areas[2] + 4 + 8 * u64::from(self.used % self.size);
        ram.write(place, &[id.to_le_bytes(), len.to_le_bytes()].concat());
        self.leap(ram, 1);
    }

    /// Moves the used index.
    pub(crate) fn leap(&mut self, ram: &Ram, by: u16) {
        self.used = self.used.wrapping_add(by);
        ram.write(self.areas[2] + 2, &self.used.to_le_bytes());
    }
}

fn is_there(ram: &Ram, address: PhysAddr, len: u32) -> bool {
    let last = address.checked_add(u64::from(len).saturating_sub(1));
    len > 0 && len as usize <= MOST && ram.read(address, &mut [0]) && last.is_some_and(|last| ram.read(last, &mut [0]))
}
