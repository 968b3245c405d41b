//! Hit, allocate, map and evict, next to `BTreeMap` and `rangemap` doing the same job.
//!
//! All three do the same job: given (inode, file offset), find the range that holds the byte, see whether it may be
//! used, take a reference and give it back; map a chunk in two steps (reserve, so that a second caller would wait, then
//! complete); evict in two steps, by a clock that spares what is referenced. Around `BTreeMap` and `rangemap` that is
//! written in the plainest way: a record for each range, a stack of free ones, a queue. They have no tickets that may be
//! dropped, no upgrades, truncations, write-backs, unknown outcomes, read-ahead or guard; the window has.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dax_window::{Access, Config, HostRules, InodeId, Outcome, Request, Stream, Window};
use rangemap::RangeMap;

const RANGE: u64 = 2 << 20;
const SIZES: [u64; 3] = [32, 512, 65536];
/// Files that the ranges belong to.
const INODES: u64 = 8;

/// Every chunk once, in a fixed disorder.
fn shuffled(n: u64) -> Vec<(u64, u64)> {
    let mut keys: Vec<(u64, u64)> = (0..n).map(|i| (i % INODES, i / INODES)).collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for i in (1..keys.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(i, (state % (i as u64 + 1)) as usize);
    }
    keys
}

/// What each contender can do. Byte offsets go in, window offsets come out.
trait Contender {
    fn new(ranges: u64) -> Self;
    /// Finds, takes a reference, gives it back.
    fn hit(&mut self, inode: u64, offset: u64) -> u64;
    /// A chunk that is not there, into a free range.
    fn map(&mut self, inode: u64, offset: u64) -> u64;
    /// A chunk that is not there, into a range that another must leave.
    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64;
}

struct Ours {
    window: Window,
    /// One for each open file.
    streams: [Stream; INODES as usize],
}

impl Contender for Ours {
    fn new(ranges: u64) -> Self {
        let mut config = Config::new(ranges * RANGE);
        config.host = HostRules::STRICT;
        config.guard = None;
        // The others neither read ahead nor remove in batches.
        config.read_ahead.max_ranges = 0;
        config.max_batch = 1;
        Self { window: Window::on_heap(config).unwrap(), streams: [Stream::new(); INODES as usize] }
    }

    fn hit(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        let Access::Hit(hold) = self.window.access(&mut self.streams[inode as usize], &req) else { panic!("no hit") };
        let hold = black_box(hold);
        let at = hold.window_offset().0;
        self.window.release(hold);
        at
    }

    fn map(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        let Access::Setup(mut ticket) = self.window.access(&mut Stream::new(), &req) else { panic!("no set-up") };
        let hold = self.window.report_setup(&mut ticket, 0, Outcome::Done).unwrap();
        let at = hold.window_offset().0;
        self.window.release(hold);
        at
    }

    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        let Access::Evict(ticket) = self.window.access(&mut Stream::new(), &req) else { panic!("no eviction") };
        self.window.complete_remove(ticket, Outcome::Done);
        self.map(inode, offset)
    }
}

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
    inode: u64,
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
        let free = Record { state: State::Free, inode: 0, start: 0, len: 0, refs: 0, visits: 0, writable: false };
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

    fn reserve(&mut self, inode: u64, start: u64) -> u32 {
        self.misses += 1;
        let range = self.free.pop().unwrap();
        self.records[range as usize] =
            Record { state: State::SettingUp, inode, start, len: 0, refs: 0, visits: 0, writable: false };
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

/// A map from (inode, bytes) to the number of a range.
trait Index {
    fn new() -> Self;
    fn find(&self, inode: u64, offset: u64) -> Option<u32>;
    fn insert(&mut self, inode: u64, start: u64, range: u32);
    fn remove(&mut self, inode: u64, start: u64);
}

/// (inode, first byte) to (end, range): one map, as the window has one tree.
struct Btree(BTreeMap<(u64, u64), (u64, u32)>);

impl Index for Btree {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn find(&self, inode: u64, offset: u64) -> Option<u32> {
        let (key, (end, range)) = self.0.range(..=(inode, offset)).next_back()?;
        (key.0 == inode && offset < *end).then_some(*range)
    }

    fn insert(&mut self, inode: u64, start: u64, range: u32) {
        self.0.insert((inode, start), (start + RANGE, range));
    }

    fn remove(&mut self, inode: u64, start: u64) {
        self.0.remove(&(inode, start));
    }
}

/// One map for each inode, since it knows one axis only. It merges equal neighbours, so the value is the number of the
/// range, which is never equal.
struct Rangemap(Vec<RangeMap<u64, u32>>);

impl Index for Rangemap {
    fn new() -> Self {
        Self((0..INODES).map(|_| RangeMap::new()).collect())
    }

    fn find(&self, inode: u64, offset: u64) -> Option<u32> {
        self.0[inode as usize].get(&offset).copied()
    }

    fn insert(&mut self, inode: u64, start: u64, range: u32) {
        self.0[inode as usize].insert(start..start + RANGE, range);
    }

    fn remove(&mut self, inode: u64, start: u64) {
        self.0[inode as usize].remove(start..start + RANGE);
    }
}

struct Plain<I> {
    index: I,
    books: Books,
}

impl<I: Index> Contender for Plain<I> {
    fn new(ranges: u64) -> Self {
        Self { index: I::new(), books: Books::new(ranges) }
    }

    fn hit(&mut self, inode: u64, offset: u64) -> u64 {
        let range = self.index.find(inode, offset).unwrap();
        let (range, at, _, _) = black_box(self.books.take(range, offset).unwrap());
        self.books.release(range);
        at
    }

    fn map(&mut self, inode: u64, offset: u64) -> u64 {
        assert!(self.index.find(inode, offset).is_none());
        let start = offset - offset % RANGE;
        let range = black_box(self.books.reserve(inode, start));
        self.index.insert(inode, start, range);
        self.books.complete(range);
        let (range, at, _, _) = black_box(self.books.take(range, offset).unwrap());
        self.books.release(range);
        at
    }

    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64 {
        assert!(self.index.find(inode, offset).is_none());
        let range = black_box(self.books.victim());
        let Record { inode: old, start, .. } = self.books.records[range as usize];
        self.index.remove(old, start);
        self.books.removed(range);
        self.map(inode, offset)
    }
}

fn filled<C: Contender>(n: u64, keys: &[(u64, u64)]) -> C {
    let mut contender = C::new(n);
    for (inode, chunk) in keys {
        contender.map(*inode, chunk * RANGE);
    }
    contender
}

fn bench<C: Contender>(c: &mut Criterion, name: &str) {
    for n in SIZES {
        let keys = shuffled(n);

        let mut contender: C = filled(n, &keys);
        let mut next = 0;
        c.benchmark_group("hit").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter(|| {
                let (inode, chunk) = keys[next];
                next = (next + 1) % keys.len();
                black_box(contender.hit(inode, chunk * RANGE + 4096))
            });
        });

        let mut next = 0;
        c.benchmark_group("hit_sequential").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            let chunks = n / INODES;
            b.iter(|| {
                next = (next + 4096) % (chunks * RANGE);
                black_box(contender.hit(3, next))
            });
        });
        drop(contender);

        // An empty window is filled; what is measured is the time for one mapping.
        c.benchmark_group("map").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter_custom(|iters| {
                let (mut done, mut took) = (0, Duration::ZERO);
                while done < iters {
                    let mut contender = C::new(n);
                    let count = (iters - done).min(n);
                    let begin = Instant::now();
                    for (inode, chunk) in &keys[..count as usize] {
                        black_box(contender.map(*inode, chunk * RANGE));
                    }
                    took += begin.elapsed();
                    done += count;
                }
                took
            });
        });

        c.benchmark_group("map_sequential").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter_custom(|iters| {
                let (mut done, mut took) = (0, Duration::ZERO);
                while done < iters {
                    let mut contender = C::new(n);
                    let count = (iters - done).min(n);
                    let begin = Instant::now();
                    for chunk in 0..count {
                        black_box(contender.map(1, chunk * RANGE));
                    }
                    took += begin.elapsed();
                    done += count;
                }
                took
            });
        });

        let mut contender: C = filled(n, &keys);
        let mut next = 0;
        c.benchmark_group("evict").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter(|| {
                let (inode, chunk) = keys[next % keys.len()];
                // Chunks that were never there before, in the same disorder.
                let round = 1 + next as u64 / n;
                next += 1;
                black_box(contender.evict_and_map(inode, (chunk + round * n) * RANGE))
            });
        });
    }
}

fn all(c: &mut Criterion) {
    bench::<Ours>(c, "window");
    bench::<Plain<Btree>>(c, "BTreeMap");
    bench::<Plain<Rangemap>>(c, "rangemap");
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = all
}
criterion_main!(benches);
