//! Hit, allocate, map and evict, next to `BTreeMap` and `rangemap` doing the same job.
//!
//! The job of a look-up structure here is: given (inode, file offset), find the range that holds the byte and take a
//! reference to it. The two others get the simplest sound set-up around them: a map from (inode, byte interval) to the
//! number of a range, a vector of reference counts, a stack of free ranges, and a queue in insertion order for
//! evictions: no states, no tickets, no policy. They do less than the window does; where they are slower all the same,
//! it is for the structure.

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
    stream: Stream,
}

impl Contender for Ours {
    fn new(ranges: u64) -> Self {
        let mut config = Config::new(ranges * RANGE);
        config.host = HostRules::STRICT;
        config.guard = None;
        config.max_batch = 1;
        Self { window: Window::on_heap(config).unwrap(), stream: Stream::new() }
    }

    fn hit(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        let Access::Hit(hold) = self.window.access(&mut self.stream, &req) else { panic!("no hit") };
        let at = hold.window_offset().0;
        self.window.release(hold);
        at
    }

    fn map(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        // A stream of its own each time: no read-ahead, which the others would not do either.
        let Access::Setup(mut ticket) = self.window.access(&mut Stream::new(), &req) else { panic!("no set-up") };
        let hold = self.window.report_setup(&mut ticket, 0, Outcome::Done).unwrap();
        let at = hold.window_offset().0;
        self.window.release(hold);
        for entry in 1..ticket.entries().len() {
            self.window.report_setup(&mut ticket, entry, Outcome::Done);
        }
        at
    }

    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64 {
        let req = Request::read(InodeId(inode), offset, 4096, u64::MAX);
        let Access::Evict(ticket) = self.window.access(&mut Stream::new(), &req) else { panic!("no eviction") };
        self.window.complete_remove(ticket, Outcome::Done);
        self.map(inode, offset)
    }
}

/// The books around a plain map.
struct Books {
    refs: Vec<u32>,
    free: Vec<u32>,
    queue: VecDeque<(u64, u64, u32)>,
}

impl Books {
    fn new(ranges: u64) -> Self {
        Self { refs: vec![0; ranges as usize], free: (0..ranges as u32).rev().collect(), queue: VecDeque::new() }
    }

    fn touch(&mut self, range: u32, offset: u64) -> u64 {
        self.refs[range as usize] += 1;
        let at = u64::from(range) * RANGE + offset % RANGE;
        self.refs[black_box(range) as usize] -= 1;
        at
    }

    fn victim(&mut self) -> (u64, u64, u32) {
        loop {
            let oldest = self.queue.pop_front().unwrap();
            if self.refs[oldest.2 as usize] == 0 {
                return oldest;
            }
            self.queue.push_back(oldest);
        }
    }
}

struct Btree {
    /// (inode, first byte) to (end, range): one map, as the window has one tree.
    map: BTreeMap<(u64, u64), (u64, u32)>,
    books: Books,
}

impl Contender for Btree {
    fn new(ranges: u64) -> Self {
        Self { map: BTreeMap::new(), books: Books::new(ranges) }
    }

    fn hit(&mut self, inode: u64, offset: u64) -> u64 {
        let (key, (end, range)) = self.map.range(..=(inode, offset)).next_back().unwrap();
        assert!(key.0 == inode && offset < *end);
        let range = *range;
        self.books.touch(range, offset)
    }

    fn map(&mut self, inode: u64, offset: u64) -> u64 {
        let start = offset - offset % RANGE;
        if let Some((key, (end, _))) = self.map.range(..=(inode, offset)).next_back() {
            assert!(key.0 != inode || *end <= start);
        }
        let range = self.books.free.pop().unwrap();
        self.map.insert((inode, start), (start + RANGE, range));
        self.books.queue.push_back((inode, start, range));
        self.books.touch(range, offset)
    }

    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64 {
        let (old, start, range) = self.books.victim();
        self.map.remove(&(old, start));
        self.books.free.push(range);
        self.map(inode, offset)
    }
}

struct Rangemap {
    /// One for each inode, since it knows one axis only. It merges equal neighbours, so the number of the range is part
    /// of the value, and never equal.
    maps: Vec<RangeMap<u64, u32>>,
    books: Books,
}

impl Contender for Rangemap {
    fn new(ranges: u64) -> Self {
        Self { maps: (0..INODES).map(|_| RangeMap::new()).collect(), books: Books::new(ranges) }
    }

    fn hit(&mut self, inode: u64, offset: u64) -> u64 {
        let range = *self.maps[inode as usize].get(&offset).unwrap();
        self.books.touch(range, offset)
    }

    fn map(&mut self, inode: u64, offset: u64) -> u64 {
        let start = offset - offset % RANGE;
        let map = &mut self.maps[inode as usize];
        assert!(map.get(&offset).is_none());
        let range = self.books.free.pop().unwrap();
        map.insert(start..start + RANGE, range);
        self.books.queue.push_back((inode, start, range));
        self.books.touch(range, offset)
    }

    fn evict_and_map(&mut self, inode: u64, offset: u64) -> u64 {
        let (old, start, range) = self.books.victim();
        self.maps[old as usize].remove(start..start + RANGE);
        self.books.free.push(range);
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
    bench::<Btree>(c, "BTreeMap");
    bench::<Rangemap>(c, "rangemap");
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = all
}
criterion_main!(benches);
