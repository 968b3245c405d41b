//! Hit, allocate, map and evict, next to `BTreeMap` and `rangemap` doing the same job.
//!
//! All three do the same job: given (file, file offset), find the range that holds the byte, see whether it may be
//! used, take a reference and give it back; map a chunk in two steps (reserve, so that a second caller would wait, then
//! complete); evict in two steps, by a clock that spares what is referenced. Bypass `BTreeMap` and `rangemap` that is
//! written in the plainest way: a record for each range, a stack of free ones, a queue. They have no tickets that may be
//! dropped, no upgrades, truncations, write-backs, unknown outcomes, read-ahead or guard; the window has.
//!
//! `cargo bench -p dax-window --features alloc` runs it with criterion; with `-- --table` it prints the table of
//! `POLICIES.md`, in which contenders take turns and the smallest of many short runs counts.

mod contenders;
mod plain;
mod table;

use std::hint::black_box;
use std::time::{Duration, Instant};

use contenders::{Contender, INODES, Ours, RANGE, SIZES, filled, shuffled};
use criterion::{BenchmarkId, Criterion};
use plain::{Btree, Plain, Rangemap};

/// How long so many mappings take, each into a window that is being filled with these chunks from nothing.
fn filling<C: Contender>(iters: u64, keys: &[(u64, u64)]) -> Duration {
    let n = keys.len() as u64;
    let (mut done, mut took) = (0, Duration::ZERO);
    while done < iters {
        let mut contender = C::new(n);
        let count = (iters - done).min(n);
        let begin = Instant::now();
        for (file, chunk) in &keys[..count as usize] {
            black_box(contender.map(*file, chunk * RANGE));
        }
        took += begin.elapsed();
        done += count;
    }
    took
}

fn bench<C: Contender>(c: &mut Criterion, name: &str) {
    for n in SIZES {
        let keys = shuffled(n);

        let mut contender: C = filled(n, &keys);
        let mut next = 0;
        c.benchmark_group("hit").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter(|| {
                let (file, chunk) = keys[next];
                next = (next + 1) % keys.len();
                black_box(contender.hit(file, chunk * RANGE + 4096))
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

        c.benchmark_group("map").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter_custom(|iters| filling::<C>(iters, &keys));
        });

        let in_order: Vec<(u64, u64)> = (0..n).map(|chunk| (1, chunk)).collect();
        c.benchmark_group("map_sequential").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter_custom(|iters| filling::<C>(iters, &in_order));
        });

        let mut contender: C = filled(n, &keys);
        let mut next = 0;
        c.benchmark_group("evict").bench_with_input(BenchmarkId::new(name, n), &n, |b, _| {
            b.iter(|| {
                let (file, chunk) = keys[next % keys.len()];
                // Chunks that were never there before, in the same disorder.
                let round = 1 + next as u64 / n;
                next += 1;
                black_box(contender.evict_and_map(file, (chunk + round * n) * RANGE))
            });
        });
    }
}

fn all(c: &mut Criterion) {
    bench::<Ours<false>>(c, "window");
    bench::<Ours<true>>(c, "window on a host that replaces");
    bench::<Plain<Btree>>(c, "BTreeMap");
    bench::<Plain<Rangemap>>(c, "rangemap");
}

fn main() {
    if std::env::args().any(|arg| arg == "--table") {
        return table::print();
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    all(&mut criterion);
    criterion.final_summary();
}
