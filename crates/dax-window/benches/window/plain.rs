//! The same around `BTreeMap` and `rangemap`, in the plainest way.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;

use rangemap::RangeMap;

use crate::contenders::{Contender, INODES, RANGE};

#[derive(Clone, Copy, PartialEq)]
enum State {
    Free,
    SettingUp,
    Mapped,
    Removing,
}

#[derive(Clone, Copy)]
struct Record {
    state: State,
    file: u64,
    start: u64,
    len: u64,
    refs: u32,
    visits: u8,
    writable: bool,
}

/// What a plain map needs around it to do the job.
struct Books {
    records: Vec<Record>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
    hits: u64,
    misses: u64,
    evictions: u64,
}

impl Books {
    fn new(ranges: u64) -> Self {
        let free = Record { state: State::Free, file: 0, start: 0, len: 0, refs: 0, visits: 0, writable: false };
        Self {
            records: vec![free; ranges as usize],
            free: (0..ranges as u32).rev().collect(),
            queue: VecDeque::new(),
            hits: 0,
            misses: 0,
            evictions: 0,
        }
    }

    /// Takes a reference if the range may be used: (range, window offset, length, writable).
    fn take(&mut self, range: u32, offset: u64) -> Option<(u32, u64, u64, bool)> {
        let record = &mut self.records[range as usize];
        let within = offset - record.start;
        if record.state != State::Mapped || within >= record.len {
            return None;
        }
        record.refs += 1;
        record.visits = (record.visits + 1).min(3);
        self.hits += 1;
        Some((range, u64::from(range) * RANGE + within, record.len - within, record.writable))
    }

    fn release(&mut self, range: u32) {
        self.records[range as usize].refs -= 1;
    }

    fn reserve(&mut self, file: u64, start: u64) -> u32 {
        self.misses += 1;
        let range = self.free.pop().unwrap();
        self.records[range as usize] =
            Record { state: State::SettingUp, file, start, len: 0, refs: 0, visits: 0, writable: false };
        range
    }

    fn complete(&mut self, range: u32) {
        let record = &mut self.records[range as usize];
        record.state = State::Mapped;
        record.len = RANGE;
        self.queue.push_back(range);
    }

    fn victim(&mut self) -> u32 {
        self.misses += 1;
        loop {
            let range = self.queue.pop_front().unwrap();
            let record = &mut self.records[range as usize];
            if record.refs == 0 && record.visits == 0 {
                record.state = State::Removing;
                self.evictions += 1;
                return range;
            }
            record.visits = record.visits.saturating_sub(1);
            self.queue.push_back(range);
        }
    }

    fn removed(&mut self, range: u32) {
        self.records[range as usize].state = State::Free;
        self.free.push(range);
    }
}

/// A map from (file, bytes) to the number of a range.
pub(crate) trait Index {
    fn new() -> Self;
    fn find(&self, file: u64, offset: u64) -> Option<u32>;
    fn insert(&mut self, file: u64, start: u64, range: u32);
    fn remove(&mut self, file: u64, start: u64);
}

/// (file, first byte) to (end, range): one map, as the window has one tree.
pub(crate) struct Btree(BTreeMap<(u64, u64), (u64, u32)>);

impl Index for Btree {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn find(&self, file: u64, offset: u64) -> Option<u32> {
        let (key, (end, range)) = self.0.range(..=(file, offset)).next_back()?;
        (key.0 == file && offset < *end).then_some(*range)
    }

    fn insert(&mut self, file: u64, start: u64, range: u32) {
        self.0.insert((file, start), (start + RANGE, range));
    }

    fn remove(&mut self, file: u64, start: u64) {
        self.0.remove(&(file, start));
    }
}

/// One map for each file, since it knows one axis only. It merges equal neighbours, so the value is the number of the
/// range, which is never equal.
pub(crate) struct Rangemap(Vec<RangeMap<u64, u32>>);

impl Index for Rangemap {
    fn new() -> Self {
        Self((0..INODES).map(|_| RangeMap::new()).collect())
    }

    fn find(&self, file: u64, offset: u64) -> Option<u32> {
        self.0[file as usize].get(&offset).copied()
    }

    fn insert(&mut self, file: u64, start: u64, range: u32) {
        self.0[file as usize].insert(start..start + RANGE, range);
    }

    fn remove(&mut self, file: u64, start: u64) {
        self.0[file as usize].remove(start..start + RANGE);
    }
}

pub(crate) struct Plain<I> {
    index: I,
    books: Books,
}

impl<I: Index> Contender for Plain<I> {
    fn new(ranges: u64) -> Self {
        Self { index: I::new(), books: Books::new(ranges) }
    }

    fn hit(&mut self, file: u64, offset: u64) -> u64 {
        let range = self.index.find(file, offset).unwrap();
        let (range, at, _, _) = black_box(self.books.take(range, offset).unwrap());
        self.books.release(range);
        at
    }

    fn map(&mut self, file: u64, offset: u64) -> u64 {
        assert!(self.index.find(file, offset).is_none());
        let start = offset - offset % RANGE;
        let range = black_box(self.books.reserve(file, start));
        self.index.insert(file, start, range);
        self.books.complete(range);
        let (range, at, _, _) = black_box(self.books.take(range, offset).unwrap());
        self.books.release(range);
        at
    }

    fn evict_and_map(&mut self, file: u64, offset: u64) -> u64 {
        assert!(self.index.find(file, offset).is_none());
        let range = black_box(self.books.victim());
        let Record { file: old, start, .. } = self.books.records[range as usize];
        self.index.remove(old, start);
        self.books.removed(range);
        self.map(file, offset)
    }
}
