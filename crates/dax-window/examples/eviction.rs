//! Which range goes when the window is full: policies compared on traces, and what the guard saves.
//!
//! `cargo run -p dax-window --release --features alloc --example eviction [ranges]` prints the tables of `POLICIES.md`.
//! An access here is a visit: many small accesses to one range in a row count once. Traces are made from seeds, or were
//! recorded (`testdata/traces`); two runs print the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use dax_window::{Access, Config, FileKey, HostRules, Outcome, Request, Stream, Window};

const RANGE: u64 = 2 << 20;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

/// Ranks with a probability in proportion to 1 / rank^s.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: u64, s: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=n)
            .map(|rank| {
                sum += (rank as f64).powf(-s);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|x| *x /= sum);
        Self(cumulative)
    }

    fn next(&self, rng: &mut Rng) -> u64 {
        let at = (rng.next() >> 11) as f64 / (1u64 << 53) as f64;
        self.0.partition_point(|x| *x < at) as u64
    }
}

/// Popular chunks are not neighbours.
fn scatter(rank: u64) -> u64 {
    rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// Chunks in the order of their visits, for a window of `c` ranges.
fn traces(c: u64) -> Vec<(&'static str, Vec<u64>)> {
    const SCAN: u64 = 1 << 30;
    let n = c * 200;
    let popular = Zipf::new(4 * c, 0.9);
    let flatter = Zipf::new(4 * c, 0.7);
    let mut rng = Rng(1);
    let mut scanned = 0;
    let mut scan = move |period: u64| {
        scanned += 1;
        SCAN + scanned % period
    };
    let mut mixed = |rng: &mut Rng, scans: u64, period: u64| -> Vec<u64> {
        (0..n).map(|_| if rng.below(10) < scans { scan(period) } else { scatter(popular.next(rng)) }).collect()
    };
    vec![
        ("sequential, once", (0..4 * c).collect()),
        ("loop of 1.1 windows", (0..n).map(|i| i % (c * 11 / 10)).collect()),
        ("loop of 2 windows", (0..n).map(|i| i % (c * 2)).collect()),
        ("loop of 4 windows", (0..n).map(|i| i % (c * 4)).collect()),
        ("strided, 7 of 9 windows", (0..n).map(|i| (i * 7) % (c * 9 + 1)).collect()),
        ("Zipf 0.9", (0..n).map(|_| scatter(popular.next(&mut rng))).collect()),
        ("Zipf 0.7", (0..n).map(|_| scatter(flatter.next(&mut rng))).collect()),
        ("uniform over 4 windows", (0..n).map(|_| rng.below(4 * c)).collect()),
        ("mixed: Zipf 0.9 and 30 % scan", mixed(&mut rng, 3, u64::MAX >> 32)),
        ("mixed: Zipf 0.9 and 50 % loop", mixed(&mut rng, 5, 2 * c)),
        (
            "Zipf 0.9, popularity moves",
            (0..n).map(|i| scatter(popular.next(&mut rng) + i / (c * 20) * 100_000)).collect(),
        ),
        (
            "alternating loop and Zipf",
            (0..n)
                .map(|i| {
                    if (i / (c * 10)).is_multiple_of(2) { SCAN + i % (2 * c) } else { scatter(popular.next(&mut rng)) }
                })
                .collect(),
        ),
        (
            "working set that drifts",
            (0..n)
                .map(|i| if rng.below(10) < 9 { i / 20 + rng.below(c / 2) } else { SCAN + rng.below(c * 100) })
                .collect(),
        ),
    ]
}

/// What real programs asked for: see `testdata/traces/README.md`.
const RECORDED: [(&str, &str); 3] = [
    ("recorded: PostgreSQL", include_str!("../testdata/traces/postgresql.txt")),
    ("recorded: SQLite", include_str!("../testdata/traces/sqlite.txt")),
    ("recorded: a build", include_str!("../testdata/traces/build.txt")),
];

/// The visits of a recorded trace, all files side by side.
fn recorded(text: &str) -> Vec<u64> {
    let visit = |word: &str| {
        let (file, chunk) = word.split_once(':')?;
        Some(file.parse::<u64>().ok()? << 32 | chunk.parse::<u64>().ok()?)
    };
    text.split_whitespace().map(|word| visit(word).unwrap_or_else(|| panic!("no visit: {word}"))).collect()
}

trait Policy {
    /// Whether the chunk was there; it is afterwards.
    fn visit(&mut self, chunk: u64) -> bool;
}

/// Insertion order, as Linux evicts.
struct Fifo {
    size: usize,
    queue: VecDeque<u64>,
    set: HashSet<u64>,
}

impl Policy for Fifo {
    fn visit(&mut self, chunk: u64) -> bool {
        if self.set.contains(&chunk) {
            return true;
        }
        if self.queue.len() == self.size
            && let Some(old) = self.queue.pop_front()
        {
            self.set.remove(&old);
        }
        self.queue.push_back(chunk);
        self.set.insert(chunk);
        false
    }
}

struct Lru {
    size: usize,
    now: u64,
    last: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Policy for Lru {
    fn visit(&mut self, chunk: u64) -> bool {
        self.now += 1;
        let there = self.last.insert(chunk, self.now);
        match there {
            Some(then) => {
                self.order.remove(&then);
            }
            None if self.order.len() == self.size => {
                if let Some((_, old)) = self.order.pop_first() {
                    self.last.remove(&old);
                }
            }
            None => {}
        }
        self.order.insert(self.now, chunk);
        there.is_some()
    }
}

struct Random {
    size: usize,
    chunks: Vec<u64>,
    set: HashSet<u64>,
    rng: Rng,
}

impl Policy for Random {
    fn visit(&mut self, chunk: u64) -> bool {
        if !self.set.insert(chunk) {
            return true;
        }
        if self.chunks.len() == self.size {
            let place = self.rng.below(self.size as u64) as usize;
            self.set.remove(&self.chunks[place]);
            self.chunks[place] = chunk;
        } else {
            self.chunks.push(chunk);
        }
        false
    }
}

/// A clock that counts up to `most` visits; `newest_first` makes newcomers the next to go.
struct Clock {
    size: usize,
    most: u8,
    newest_first: bool,
    queue: VecDeque<u64>,
    visits: HashMap<u64, u8>,
}

impl Policy for Clock {
    fn visit(&mut self, chunk: u64) -> bool {
        if let Some(visits) = self.visits.get_mut(&chunk) {
            *visits = (*visits + 1).min(self.most);
            return true;
        }
        while self.queue.len() == self.size {
            let Some(old) = self.queue.pop_front() else { break };
            match self.visits.get_mut(&old) {
                Some(visits) if *visits > 0 => {
                    *visits -= 1;
                    self.queue.push_back(old);
                }
                _ => {
                    self.visits.remove(&old);
                }
            }
        }
        self.visits.insert(chunk, 0);
        if self.newest_first {
            self.queue.push_front(chunk)
        } else {
            self.queue.push_back(chunk)
        }
        false
    }
}

/// SIEVE: a hand that moves from old to new and leaves what it spares in place.
struct Sieve {
    size: usize,
    queue: Vec<u64>,
    visited: HashMap<u64, bool>,
    hand: usize,
}

impl Policy for Sieve {
    fn visit(&mut self, chunk: u64) -> bool {
        if let Some(visited) = self.visited.get_mut(&chunk) {
            *visited = true;
            return true;
        }
        while self.queue.len() == self.size {
            self.hand %= self.queue.len();
            let old = self.queue[self.hand];
            if self.visited.insert(old, false) == Some(true) {
                self.hand += 1;
            } else {
                self.visited.remove(&old);
                self.queue.remove(self.hand);
            }
        }
        self.queue.push(chunk);
        self.visited.insert(chunk, false);
        false
    }
}

/// The window itself.
struct Ours {
    window: Window,
}

impl Ours {
    fn new(size: u64) -> Self {
        let mut config = Config::new(size * RANGE);
        config.host = HostRules::REPLACING;
        config.guard = None;
        config.read_ahead.max_ranges = 0;
        Self { window: Window::on_heap(config).expect("a valid configuration") }
    }
}

impl Policy for Ours {
    fn visit(&mut self, chunk: u64) -> bool {
        let req = Request::read(FileKey(chunk >> 32), (chunk & 0xffff_ffff) * RANGE, 4096, u64::MAX);
        match self.window.access(&mut Stream::new(), &req) {
            Access::Hit(hold) => {
                self.window.release(hold);
                true
            }
            Access::Setup(ticket) => {
                if let Ok(Some(hold)) = self.window.complete_setup(ticket, &[Outcome::Done]) {
                    self.window.release(hold);
                }
                false
            }
            answer => panic!("nobody else is there: {answer:?}"),
        }
    }
}

/// What nobody can beat: the one that is needed again last goes first.
fn best(size: usize, trace: &[u64]) -> usize {
    let mut next = vec![usize::MAX; trace.len()];
    let mut seen = HashMap::new();
    for (i, chunk) in trace.iter().enumerate().rev() {
        next[i] = seen.insert(*chunk, i).unwrap_or(usize::MAX);
    }
    let (mut set, mut due, mut hits) = (BTreeSet::new(), HashMap::new(), 0);
    for (i, chunk) in trace.iter().enumerate() {
        if let Some(then) = due.remove(chunk) {
            hits += 1;
            set.remove(&(then, *chunk));
        } else if set.len() == size
            && let Some((_, old)) = set.pop_last()
        {
            due.remove(&old);
        }
        set.insert((next[i], *chunk));
        due.insert(*chunk, next[i]);
    }
    hits
}

fn policies(ranges: u64) {
    let size = ranges as usize;
    let clock = |most, newest_first| Clock { size, most, newest_first, queue: VecDeque::new(), visits: HashMap::new() };
    println!("Hits in per cent, window of {ranges} ranges:\n");
    println!(
        "| trace | insertion order | random | LRU | clock, 1 visit | clock, 3 visits | clock, newest first | SIEVE | **this crate** | best possible |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let recorded = RECORDED.iter().map(|(name, text)| (*name, recorded(text)));
    for (name, trace) in traces(ranges).into_iter().chain(recorded) {
        let mut contenders: Vec<Box<dyn Policy>> = vec![
            Box::new(Fifo { size, queue: VecDeque::new(), set: HashSet::new() }),
            Box::new(Random { size, chunks: Vec::new(), set: HashSet::new(), rng: Rng(7) }),
            Box::new(Lru { size, now: 0, last: HashMap::new(), order: BTreeMap::new() }),
            Box::new(clock(1, false)),
            Box::new(clock(3, false)),
            Box::new(clock(3, true)),
            Box::new(Sieve { size, queue: Vec::new(), visited: HashMap::new(), hand: 0 }),
            Box::new(Ours::new(ranges)),
        ];
        let share = |hits: usize| 100.0 * hits as f64 / trace.len() as f64;
        print!("| {name} |");
        let last = contenders.len() - 1;
        for (n, policy) in contenders.iter_mut().enumerate() {
            let hits = share(trace.iter().filter(|chunk| policy.visit(**chunk)).count());
            if n == last { print!(" **{hits:.1}** |") } else { print!(" {hits:.1} |") }
        }
        println!(" {:.1} |", share(best(size, &trace)));
    }
    println!();
}

/// Costs in READ requests: a range that is brought in while nothing is free, and an access that hits.
const REMAP: f64 = 10.0;
const HIT: f64 = 0.05;

/// Offset, length, number of the reader.
type Accesses = Vec<(u64, u64, usize)>;

// Long: a table of access patterns.
fn workloads(c: u64) -> Vec<(&'static str, Accesses)> {
    let n = c * 2000;
    let mut rng = Rng(3);
    let popular = Zipf::new(4 * c, 1.1);
    let anywhere = |rng: &mut Rng, chunk: u64| chunk * RANGE + rng.below(RANGE / 4096) * 4096;
    vec![
        (
            "random 4 KiB over 4 windows",
            (0..n)
                .map(|_| {
                    let chunk = rng.below(4 * c);
                    (anywhere(&mut rng, chunk), 4096, 0)
                })
                .collect(),
        ),
        (
            "random 4 KiB over 1.1 windows",
            (0..n)
                .map(|_| {
                    let chunk = rng.below(c * 11 / 10);
                    (anywhere(&mut rng, chunk), 4096, 0)
                })
                .collect(),
        ),
        (
            "random 4 KiB over half a window",
            (0..n)
                .map(|_| {
                    let chunk = rng.below(c / 2);
                    (anywhere(&mut rng, chunk), 4096, 0)
                })
                .collect(),
        ),
        (
            "Zipf 1.1, 4 KiB, over 4 windows",
            (0..n)
                .map(|_| {
                    let chunk = scatter(popular.next(&mut rng)) % (4 * c);
                    (anywhere(&mut rng, chunk), 4096, 0)
                })
                .collect(),
        ),
        ("sequential 4 KiB, loop of 2 windows", (0..n * 4).map(|i| (i * 4096 % (2 * c * RANGE), 4096, 0)).collect()),
        (
            "sequential 1 MiB, loop of 2 windows",
            (0..n / 10).map(|i| (i * (1 << 20) % (2 * c * RANGE), 1 << 20, 0)).collect(),
        ),
        (
            "random 4 KiB over 4 windows, then over half a window",
            (0..n)
                .map(|i| {
                    let chunk = if i < n / 2 { rng.below(4 * c) } else { rng.below(c / 2) };
                    (anywhere(&mut rng, chunk), 4096, 0)
                })
                .collect(),
        ),
        (
            "random 4 KiB over 4 windows beside sequential 64 KiB",
            (0..n)
                .map(|i| {
                    if i % 2 == 0 {
                        let chunk = rng.below(4 * c);
                        (anywhere(&mut rng, chunk), 4096, 0)
                    } else {
                        ((1 << 40) + i / 2 * 65536, 65536, 1)
                    }
                })
                .collect(),
        ),
    ]
}

/// The cost of an access, on average, in READ requests; and how often the guard tripped.
fn cost(ranges: u64, guard: bool, accesses: &[(u64, u64, usize)]) -> (f64, u64) {
    let mut config = Config::new(ranges * RANGE);
    config.host = HostRules::REPLACING;
    if let Some(guard) = &mut config.guard {
        guard.ratio = REMAP as u32;
    }
    if !guard {
        config.guard = None;
    }
    let mut window = Window::on_heap(config).expect("a valid configuration");
    let mut streams = [Stream::new(); 2];
    let mut sum = 0.0;
    for (offset, len, reader) in accesses {
        let req = Request::read(FileKey(1), *offset, *len, u64::MAX);
        match window.access(&mut streams[*reader], &req) {
            Access::Hit(hold) => {
                window.release(hold);
                sum += HIT;
            }
            Access::Setup(ticket) => {
                let outcomes = vec![Outcome::Done; ticket.len()];
                if let Ok(Some(hold)) = window.complete_setup(ticket, &outcomes) {
                    window.release(hold);
                }
                sum += REMAP;
            }
            Access::Bypass(_) => sum += 1.0,
            answer => panic!("nobody else is there: {answer:?}"),
        }
    }
    (sum / accesses.len() as f64, window.stats().guard_trips)
}

fn guard(ranges: u64) {
    println!(
        "Cost of an access in READ requests (bringing a range in: {REMAP}, a hit: {HIT}), window of {ranges} ranges:\n"
    );
    println!("| accesses | always through the window | always round it | **with the guard** | tripped |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, accesses) in workloads(ranges) {
        let (without, _) = cost(ranges, false, &accesses);
        let (with, trips) = cost(ranges, true, &accesses);
        println!("| {name} | {without:.2} | 1.00 | **{with:.2}** | {trips} |");
    }
    println!();
}

fn main() {
    let given = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    for ranges in given.map_or(vec![32, 256], |ranges: u64| vec![ranges.max(8)]) {
        policies(ranges);
        guard(ranges);
    }
}
