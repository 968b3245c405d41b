//! How fast a log is replayed and an offset is resolved: medians of a few rounds, printed.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use famfs::layout::{DirRecord, FileRecord, Format, LogHeader, Path, Piece, RawMap, Record, Uuid};
use famfs::{FormatOptions, Log, Tree, format};
use fs_dax::{DeviceIndex, DeviceOffset, Extent, FileMap, MapRules, MappedMemory, WindowMemory};

const MIB: u64 = 1 << 20;
const UNIT: u64 = 2 * MIB;
const ROUNDS: usize = 7;
/// What a log of 8 MiB has room for.
const FULL: u64 = 15_420;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn path(text: &str) -> famfs::layout::PathField {
    Path::new(text.as_bytes()).expect("a short path").field()
}

/// Directories of 99 files each, every file one unit behind the one before.
fn record(index: u64) -> Record {
    let dir = format!("d{}", index / 100);
    if index.is_multiple_of(100) {
        return Record::Mkdir(DirRecord { uid: 0, gid: 0, mode: 0o755, path: path(&dir) });
    }
    let mut extents = [Piece::default(); 16];
    extents[0] = Piece { device: 0, offset: (5 + index) * UNIT, len: UNIT };
    Record::File(FileRecord {
        size: UNIT,
        flags: 2,
        uid: 0,
        gid: 0,
        mode: 0o644,
        path: path(&format!("{dir}/f{index}")),
        map: RawMap::Simple { count: 1, extents },
    })
}

/// Nanoseconds an entry: of walking the log alone, and of replay into a tree.
fn replay(entries: u64) -> (f64, f64) {
    const DEVICE: u64 = 64 << 30;
    let words: Vec<AtomicU64> = (0..12 * MIB / 8).map(|_| AtomicU64::new(0)).collect();
    let memory = MappedMemory::of_words(&words);
    let options = FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), Uuid([3; 16]), 12 * MIB);
    let mut superblock = format(&memory, &options).expect("room for a file system");
    // Only superblock and log are here; what files would be on is not.
    superblock.device_len = DEVICE;
    memory.write(DeviceOffset(0), &superblock.encode()).expect("inside");
    for index in 0..entries {
        let bytes = record(index).encode(Format::V48, index).expect("format 48 has such records");
        memory.write(DeviceOffset(superblock.entry_offset(index)), &bytes).expect("inside");
    }
    let mut header = LogHeader::encode_empty(&superblock);
    header[32..40].copy_from_slice(&entries.to_le_bytes());
    header[40..48].copy_from_slice(&entries.to_le_bytes());
    memory.write(DeviceOffset(superblock.log_offset), &header).expect("inside");
    let measure = |work: &dyn Fn(&Log<'_, MappedMemory<'_>>)| {
        let repeat = (20_000 / entries).max(1);
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            for _ in 0..repeat {
                work(&Log::open(&memory).expect("readable"));
            }
            start.elapsed().as_nanos() as f64 / (repeat * entries) as f64
        });
        median(times.collect())
    };
    let walk = measure(&|log| {
        assert_eq!(
            log.entries(0).filter(|entry| entry.as_ref().is_ok_and(|entry| entry.record.is_ok())).count() as u64,
            entries
        );
    });
    let tree = measure(&|log| {
        let mut tree = Tree::new(log.superblock());
        for entry in log.entries(0) {
            tree.apply(&entry.expect("whole"), &[DEVICE]).expect("right");
        }
        black_box(tree);
    });
    (walk, tree)
}

/// Nanoseconds to resolve an offset.
fn resolve(map: &FileMap<Vec<Extent>>) -> f64 {
    const TIMES: u64 = 200_000;
    let step = map.size() / 1009;
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        for turn in 0..TIMES {
            black_box(map.resolve(black_box(turn * step % map.size()), 4096));
        }
        start.elapsed().as_nanos() as f64 / TIMES as f64
    });
    median(times.collect())
}

fn extents(count: u64, len: impl Fn(u64) -> u64) -> Vec<Extent> {
    let extent = |n| Extent { device: DeviceIndex(0), offset: DeviceOffset((1 + 4 * n) * UNIT), len: len(n) * UNIT };
    (0..count).map(extent).collect()
}

fn main() {
    // Cargo runs benchmarks as tests, too: then a short log is enough.
    let full = if std::env::args().any(|arg| arg == "--bench") { FULL } else { 500 };
    for entries in [100, 1000, full] {
        let (walk, tree) = replay(entries);
        println!(
            "replay of {entries} entries: {walk:.0} ns an entry to walk, {tree:.0} ns into a tree ({:.0} a second)",
            1e9 / tree
        );
    }
    let rules = MapRules { unit: UNIT, max_extents: usize::MAX, reserved: 0 };
    let devices = [u64::MAX];
    let map = |extents: Vec<Extent>, chunk: Option<u64>| {
        let size = extents.iter().map(|extent| extent.len).sum();
        match chunk {
            None => FileMap::simple(extents, size, &rules, &devices),
            Some(chunk) => FileMap::interleaved(extents, chunk, size, &rules, &devices),
        }
        .expect("a right map")
    };
    println!("resolve, 16 strips: {:.1} ns", resolve(&map(extents(16, |_| 2), Some(UNIT))));
    println!("resolve, 16 extents of one length: {:.1} ns", resolve(&map(extents(16, |_| 2), None)));
    println!("resolve, 16 extents of several lengths: {:.1} ns", resolve(&map(extents(16, |n| 1 + n % 3), None)));
    let many = if full == FULL { 100_000 } else { 1000 };
    println!("resolve, {many} extents of one length: {:.1} ns", resolve(&map(extents(many, |_| 2), None)));
}
