//! The table of `POLICIES.md`: nanoseconds an operation, the smallest of many short runs in which contenders take turns.

use std::hint::black_box;
use std::time::Instant;

use crate::contenders::{Contender, INODES, Ours, RANGE, SIZES, filled, shuffled};
use crate::plain::{Btree, Plain, Rangemap};

/// The fewest operations of one run; a run goes through the whole window at least once.
const RUN: u64 = 4096;
/// Runs of each contender.
const TURNS: u32 = 150;

const OPERATIONS: [&str; 5] = ["hit, random", "hit, sequential 4 KiB", "map, random", "map, in order", "evict and map"];

/// A run of one operation; returns nanoseconds for each.
type Run = Box<dyn FnMut() -> f64>;

/// Prints it.
pub(crate) fn print() {
    println!("| operation | ranges | this crate | on a host that replaces | `BTreeMap` | `rangemap` |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (operation, name) in OPERATIONS.iter().enumerate() {
        for n in SIZES {
            let mut runs = [
                run::<Ours<false>>(operation, n),
                run::<Ours<true>>(operation, n),
                run::<Plain<Btree>>(operation, n),
                run::<Plain<Rangemap>>(operation, n),
            ];
            let mut best = [f64::MAX; 4];
            // Filling a large window takes long.
            for _ in 0..if n > RUN { TURNS / 8 } else { TURNS } {
                for (best, run) in best.iter_mut().zip(&mut runs) {
                    *best = best.min(run());
                }
            }
            let cells: Vec<String> = best.iter().map(|best| format!("{best:.1}")).collect();
            println!("| {name} | {n} | {} |", cells.join(" | "));
        }
    }
}

fn each(count: u64, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_nanos() as f64 / count as f64
}

fn run<C: Contender + 'static>(operation: usize, n: u64) -> Run {
    let count = n.max(RUN);
    let keys = shuffled(n);
    let mut next = 0;
    match operation {
        0 => {
            let mut contender: C = filled(n, &keys);
            Box::new(move || {
                each(count, || {
                    for _ in 0..count {
                        let (file, chunk) = keys[next];
                        next = (next + 1) % keys.len();
                        black_box(contender.hit(file, chunk * RANGE + 4096));
                    }
                })
            })
        }
        1 => {
            let mut contender: C = filled(n, &keys);
            let (mut offset, end) = (0, n / INODES * RANGE);
            Box::new(move || {
                each(count, || {
                    for _ in 0..count {
                        offset = (offset + 4096) % end;
                        black_box(contender.hit(3, offset));
                    }
                })
            })
        }
        2 | 3 => {
            let in_order: Vec<(u64, u64)> = (0..n).map(|chunk| (1, chunk)).collect();
            let keys = if operation == 2 { keys } else { in_order };
            Box::new(move || {
                let mut contenders: Vec<C> = (0..(RUN / n).max(1)).map(|_| C::new(n)).collect();
                each(n * contenders.len() as u64, || {
                    for contender in &mut contenders {
                        for (file, chunk) in &keys {
                            black_box(contender.map(*file, chunk * RANGE));
                        }
                    }
                })
            })
        }
        _ => {
            let mut contender: C = filled(n, &keys);
            Box::new(move || {
                each(count, || {
                    for _ in 0..count {
                        // Chunks that were never there before, in the same disorder.
                        let (file, chunk) = keys[next % keys.len()];
                        let round = 1 + next as u64 / n;
                        next += 1;
                        black_box(contender.evict_and_map(file, (chunk + round * n) * RANGE));
                    }
                })
            })
        }
    }
}
