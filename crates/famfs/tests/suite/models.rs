//! Allocator, maps and replay against models that are too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use famfs::layout::{DirRecord, ExtentList, FileRecord, Format, Path, Piece, RawMap, Record, Superblock, Uuid};
use famfs::{FormatOptions, Interleave, MapContext, Room, Tree};
use fs_dax::DeviceIndex;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fixture::{LOG_LEN, MIB, SYSTEM};
use crate::hosts::Host;

const UNIT: u64 = 2 * MIB;
/// A device of 64 units; superblock and log take two.
const UNITS: u64 = 64;
const LEN: u64 = UNITS * UNIT;

fn superblock() -> Superblock {
    static MADE: LazyLock<Superblock> = LazyLock::new(|| {
        let options = FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), SYSTEM, LEN);
        famfs::format(&Host::new(LEN, 1 << 40), &FormatOptions { log_len: LOG_LEN, ..options }).unwrap()
    });
    *MADE
}

fn file(path: &str, size: u64, map: RawMap) -> Record {
    let path = Path::new(path.as_bytes()).unwrap().field();
    Record::File(FileRecord { size, flags: 2, uid: 0, gid: 0, mode: 0o644, path, map })
}

/// The pieces that a map uses.
fn pieces(map: &RawMap) -> (Vec<Piece>, Option<u64>) {
    match map {
        RawMap::Simple { count, extents } => (extents[..*count as usize].to_vec(), None),
        RawMap::Interleaved { count, chunk, strips, .. } => (strips[..*count as usize].to_vec(), Some(*chunk)),
        RawMap::Unknown { .. } => panic!(),
    }
}

/// The lowest run of `units` free units in `from..to`.
fn first_fit(used: &BTreeSet<u64>, from: u64, to: u64, units: u64) -> Option<u64> {
    (from..to).find(|start| start + units <= to && (*start..start + units).all(|unit| !used.contains(&unit)))
}

#[derive(Clone, Debug)]
enum Request {
    Simple(u64),
    Strips { size: u64, strips: usize, chunk: u64, buckets: u64, order: Vec<u64> },
}

fn request() -> impl Strategy<Value = Request> {
    let size = prop_oneof![1..UNIT, 1..20 * UNIT];
    let strips = (size.clone(), 1..6_usize, prop_oneof![Just(UNIT), Just(2 * UNIT)], 1..9_u64, any::<u64>());
    prop_oneof![
        size.prop_map(Request::Simple),
        strips.prop_map(|(size, strips, chunk, buckets, turn)| {
            let order = (0..buckets).map(|n| (n + turn % buckets) % buckets).collect();
            Request::Strips { size, strips, chunk, buckets, order }
        }),
    ]
}

/// Where a naive allocator over a set of units puts it, as units.
fn naive(used: &BTreeSet<u64>, request: &Request) -> Option<Vec<(u64, u64)>> {
    let reserved = 2;
    match request {
        Request::Strips { size, strips, chunk, buckets, order } if size >= chunk => {
            let units = size.div_ceil(*chunk).div_ceil(*strips as u64) * chunk / UNIT;
            let bucket = UNITS / buckets;
            let fits = order.iter().filter_map(|number| {
                first_fit(used, (number * bucket).max(reserved), (number + 1) * bucket, units).map(|at| (at, units))
            });
            let places: Vec<_> = fits.take(*strips).collect();
            (places.len() == *strips).then_some(places)
        }
        Request::Simple(size) | Request::Strips { size, .. } => {
            let units = size.div_ceil(UNIT);
            first_fit(used, reserved, UNITS, units).map(|at| vec![(at, units)])
        }
    }
}

/// The device offset of a byte of a file, found by counting chunks one by one.
fn naive_offset(pieces: &[Piece], chunk: Option<u64>, offset: u64) -> Option<u64> {
    let Some(chunk) = chunk else {
        let mut within = offset;
        for piece in pieces {
            if within < piece.len {
                return Some(piece.offset + within);
            }
            within -= piece.len;
        }
        return None;
    };
    let mut next = vec![0; pieces.len()];
    let mut at = 0;
    for strip in (0..pieces.len()).cycle() {
        if offset < at + chunk {
            let within = next[strip] + offset - at;
            return (within < pieces[strip].len).then(|| pieces[strip].offset + within);
        }
        next[strip] += chunk;
        at += chunk;
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 200 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_go_where_a_naive_allocator_puts_them(requests in vec(request(), 1..24)) {
        let mut tree = Tree::new(&superblock());
        let mut used = BTreeSet::new();
        for (index, request) in (0..).zip(&requests) {
            let room = Room::new(&tree, LEN);
            prop_assert_eq!(room.free(), (UNITS - 2 - used.len() as u64) * UNIT);
            let (map, size) = match request {
                Request::Simple(size) => (room.simple(*size), *size),
                Request::Strips { size, strips, chunk, buckets, order } => {
                    let how = Interleave { strips: *strips, chunk: *chunk, buckets: *buckets, order };
                    (room.interleaved(*size, &how), *size)
                }
            };
            let expected = naive(&used, request);
            let found = map.map(|map| pieces(&map).0.iter().map(|p| (p.offset / UNIT, p.len / UNIT)).collect::<Vec<_>>());
            prop_assert_eq!(&found, &expected);
            if let (Some(map), Some(places)) = (map, expected) {
                let entry = famfs::layout::Entry { index, record: Ok(file(&index.to_string(), size, map)) };
                // What the allocator gives is what a reader accepts.
                prop_assert!(tree.apply(&entry, &[LEN]).is_ok());
                used.extend(places.iter().flat_map(|(at, units)| *at..at + units));
            }
        }
    }

    #[test]
    fn bytes_are_where_counting_chunks_puts_them(
        lens in vec(1..4_u64, 1..16),
        interleaved in any::<bool>(),
        chunk in prop_oneof![Just(UNIT), Just(2 * UNIT)],
        cut in 0..3 * UNIT,
        probes in vec(any::<u64>(), 1..50),
    ) {
        let superblock = Superblock { device_len: 1 << 40, ..superblock() };
        let mut list = [Piece::default(); 16];
        for (index, len) in lens.iter().enumerate() {
            // Backwards, with holes between.
            list[index] = Piece { device: 0, offset: (200 - 5 * index as u64) * UNIT, len: len * UNIT };
        }
        let count = lens.len();
        let map = if interleaved {
            RawMap::Interleaved { maps: 1, count: count as u64, chunk, strips: list }
        } else {
            RawMap::Simple { count: count as u32, extents: list }
        };
        let used = &list[..count];
        let chunk = interleaved.then_some(chunk);
        let capacity = (0..).step_by(UNIT as usize).find(|at| naive_offset(used, chunk, *at).is_none()).unwrap();
        let context = MapContext { superblock: &superblock, devices: &[1_u64 << 40] };
        let check = |size| context.check::<ExtentList>(&map, size, |_| None);
        prop_assert_eq!(check(capacity + 1).unwrap_err().to_string().contains("hold"), true);
        let size = capacity.saturating_sub(cut);
        let map = check(size).unwrap();
        for probe in probes {
            let offset = probe % (capacity + UNIT);
            let segment = map.resolve(offset, u64::MAX);
            if offset >= size {
                prop_assert_eq!(segment.len, 0);
                continue;
            }
            prop_assert_eq!(Some(segment.offset.0), naive_offset(used, chunk, offset));
            prop_assert!(segment.len > 0 && offset + segment.len <= size);
            let last = offset + segment.len - 1;
            prop_assert_eq!(Some(segment.offset.0 + segment.len - 1), naive_offset(used, chunk, last));
            prop_assert_eq!(segment.device, DeviceIndex(0));
        }
    }

    #[test]
    fn replay_keeps_what_a_model_of_paths_keeps(steps in vec((any::<bool>(), 0..4_u8, 0..4_u8, 0..3_usize, 2..12_u64), 1..60)) {
        let mut tree = Tree::new(&superblock());
        let mut model: BTreeMap<String, bool> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (index, (is_dir, a, b, depth, unit)) in (0..).zip(steps) {
            let path = [format!("{a}"), format!("{a}/{b}"), format!("{a}/{b}/{a}")][depth].clone();
            let record = if is_dir {
                let path = Path::new(path.as_bytes()).unwrap().field();
                Record::Mkdir(DirRecord { uid: 1, gid: 2, mode: 0o7755, path })
            } else {
                let mut extents = [Piece::default(); 16];
                extents[0] = Piece { device: 0, offset: unit * UNIT, len: UNIT };
                file(&path, 1, RawMap::Simple { count: 1, extents })
            };
            let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
            let parent_ok = parent.is_none_or(|parent| model.get(&parent) == Some(&true));
            let expected = match (parent_ok, model.get(&path)) {
                (false, _) => Err("path_parent"),
                (true, Some(true)) if is_dir => Ok(()),
                (true, Some(_)) => Err("path_exists"),
                (true, None) if !is_dir && taken.contains(&unit) => Err("map_overlap_file"),
                (true, None) => Ok(()),
            };
            let entry = famfs::layout::Entry { index, record: Ok(record) };
            let found = tree.apply(&entry, &[LEN]).map(|_| ()).map_err(|flaw| flaw.name());
            prop_assert_eq!(found, expected, "{}", path);
            if expected.is_ok() && model.insert(path, is_dir).is_none() && !is_dir {
                taken.insert(unit);
            }
        }
        let nodes = tree.nodes().filter(|(id, _)| *id > famfs::NodeId::LOG);
        let found: BTreeMap<_, _> = nodes
            .map(|(_, node)| (String::from_utf8(node.path.as_bytes().to_vec()).unwrap(), node.file().is_none()))
            .collect();
        prop_assert_eq!(found, model);
    }

    /// Whatever the bytes are, and whatever changes meanwhile, nothing but an error comes of it.
    #[test]
    fn records_survive_any_bytes(version in prop_oneof![Just(Format::V46), Just(Format::V48)], bytes in vec(any::<u8>(), 0..600)) {
        let _ = Superblock::parse(&bytes, bytes.len() as u64);
        let _ = famfs::layout::Entry::parse(version, 0, &bytes);
    }
}
