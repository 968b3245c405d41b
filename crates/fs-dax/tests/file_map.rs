//! File maps against a naive table of bytes, and each rule broken once.

use std::collections::BTreeSet;

use fs_dax::{DeviceIndex, DeviceOffset, Errno, Error, Extent, FileMap, MapError, MapRules, MappedFile, Segment};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn extent(device: u32, offset: u64, len: u64) -> Extent {
    Extent { device: DeviceIndex(device), offset: DeviceOffset(offset), len }
}

const RULES: MapRules = MapRules { unit: 2 * MIB, max_extents: 16, reserved: 2 * MIB };
const DEVICES: [u64; 2] = [64 * MIB, 32 * MIB];

fn simple(extents: &[Extent], size: u64) -> Result<FileMap<&[Extent]>, MapError> {
    FileMap::simple(extents, size, &RULES, &DEVICES)
}

fn interleaved(strips: &[Extent], chunk: u64, size: u64) -> Result<FileMap<&[Extent]>, MapError> {
    FileMap::interleaved(strips, chunk, size, &RULES, &DEVICES)
}

// Long: a table, one row a rule.
#[test]
fn each_rule_has_its_own_error() {
    let good = extent(0, 4 * MIB, 2 * MIB);
    let offset = DeviceOffset;
    let cases: &[(&[Extent], MapError, Errno)] = &[
        (&[], MapError::NoExtents, Errno::ENOSPC),
        (&[good; 17], MapError::TooMany { count: 17, max: 16 }, Errno::E2BIG),
        (&[extent(0, 4 * MIB, 0)], MapError::Empty { index: 0 }, Errno::EINVAL),
        (
            &[extent(0, 3 * MIB, 2 * MIB)],
            MapError::UnalignedOffset { index: 0, offset: offset(3 * MIB), unit: 2 * MIB },
            Errno::EINVAL,
        ),
        (&[extent(0, 4 * MIB, 1), good], MapError::UnalignedLength { index: 0, len: 1, unit: 2 * MIB }, Errno::EINVAL),
        (
            &[good, extent(0, 0, 2 * MIB)],
            MapError::Reserved { index: 1, offset: offset(0), reserved: 2 * MIB },
            Errno::EINVAL,
        ),
        (&[extent(2, 4 * MIB, 1)], MapError::NoDevice { index: 0, device: DeviceIndex(2) }, Errno::ENODEV),
        (&[extent(u32::MAX, 0, 1)], MapError::NoDevice { index: 0, device: DeviceIndex(u32::MAX) }, Errno::ENODEV),
        (
            &[extent(0, 4 * MIB, u64::MAX)],
            MapError::Overflow { index: 0, offset: offset(4 * MIB), len: u64::MAX },
            Errno::EINVAL,
        ),
        (
            &[extent(1, 30 * MIB, 2 * MIB + 1)],
            MapError::PastDevice { index: 0, offset: offset(30 * MIB), len: 2 * MIB + 1, device_len: 32 * MIB },
            Errno::EINVAL,
        ),
        (
            &[extent(0, 4 * MIB, 6 * MIB), extent(0, 8 * MIB, 2 * MIB)],
            MapError::Overlap { first: 0, second: 1 },
            Errno::EINVAL,
        ),
        (&[extent(1, 0, 2 * MIB), good, good], MapError::Overlap { first: 1, second: 2 }, Errno::EINVAL),
    ];
    for (extents, error, errno) in cases {
        assert_eq!(simple(extents, 0).unwrap_err(), *error);
        assert_eq!(interleaved(extents, 2 * MIB, 0).unwrap_err(), *error);
        assert_eq!(error.errno(), *errno);
    }
    assert_eq!(simple(&[good], 2 * MIB + 1).unwrap_err(), MapError::TooShort { capacity: 2 * MIB, size: 2 * MIB + 1 });
    for (chunk, error) in [
        (0, MapError::ZeroChunk),
        (6 * MIB, MapError::ChunkNotPowerOfTwo { chunk: 6 * MIB }),
        (MIB, MapError::ChunkUnaligned { chunk: MIB, unit: 2 * MIB }),
        (1, MapError::ChunkUnaligned { chunk: 1, unit: 2 * MIB }),
    ] {
        assert_eq!(interleaved(&[good], chunk, 1).unwrap_err(), error);
        assert_eq!(error.errno(), Errno::EINVAL);
    }
    let error = FileMap::simple([extent(1, 0, 1)], 1, &RULES, &[64 * MIB, 0]).unwrap_err();
    assert_eq!(error, MapError::NoDevice { index: 0, device: DeviceIndex(1) }, "a length of 0 is no device");
    for unit in [0, 3] {
        let rules = MapRules { unit, ..RULES };
        assert_eq!(FileMap::simple([good], 1, &rules, &DEVICES).unwrap_err(), MapError::BadUnit { unit });
    }
    let endless = [u64::MAX, u64::MAX];
    let huge = [extent(0, 2 * MIB, 1 << 63), extent(1, 0, 1 << 63)];
    assert_eq!(FileMap::simple(huge, 1, &RULES, &endless).unwrap_err(), MapError::SumOverflow);
    assert_eq!(FileMap::interleaved(huge, 2 * MIB, 1, &RULES, &endless).unwrap_err(), MapError::SumOverflow);
}

#[test]
fn what_is_just_allowed() {
    // Neighbours on one device, the same place on two devices, a partial last extent, the device's very end.
    let extents =
        [extent(0, 2 * MIB, 2 * MIB), extent(0, 4 * MIB, 2 * MIB), extent(1, 4 * MIB, 2 * MIB), extent(1, 30 * MIB, 1)];
    let map = simple(&extents, 6 * MIB + 1).unwrap();
    assert_eq!(map.capacity(), 6 * MIB + 1);
    assert_eq!(map.extents(), &extents);
    // The second device has no superblock.
    assert!(simple(&[extent(1, 0, 2 * MIB)], 0).is_ok());
    let spread: Vec<_> = (1..=16).map(|n| extent(0, n * 2 * MIB, 2 * MIB)).collect();
    assert!(simple(&spread, 32 * MIB).is_ok());
    let metadata = MapRules { reserved: 0, ..RULES };
    assert!(FileMap::simple([extent(0, 0, 2 * MIB)], 2 * MIB, &metadata, &DEVICES).is_ok());
}

#[test]
fn one_short_strip_is_too_short_whatever_the_sum() {
    let strips = [extent(0, 4 * MIB, 2 * MIB), extent(0, 16 * MIB, 20 * MIB)];
    assert!(interleaved(&strips, 2 * MIB, 4 * MIB).is_ok());
    let error = interleaved(&strips, 2 * MIB, 4 * MIB + 1).unwrap_err();
    assert_eq!(error, MapError::TooShort { capacity: 4 * MIB, size: 4 * MIB + 1 });
    // A strip that ends inside a chunk still gives what it has of it.
    let strips = [extent(0, 4 * MIB, 6 * MIB), extent(0, 16 * MIB, 20 * MIB)];
    assert_eq!(interleaved(&strips, 4 * MIB, 0).unwrap().capacity(), 10 * MIB);
}

#[test]
fn past_the_end_there_is_nothing() {
    let extents = [extent(1, 4 * MIB, 2 * MIB)];
    let map = simple(&extents, 5000).unwrap();
    assert_eq!(
        map.resolve(4096, 4096),
        Segment { device: DeviceIndex(1), offset: DeviceOffset(4 * MIB + 4096), len: 904 }
    );
    assert_eq!(map.resolve(5000, 1).len, 0);
    assert_eq!(map.resolve(u64::MAX, u64::MAX).len, 0);
    assert_eq!(map.resolve(0, 0).len, 0);
    assert_eq!(map.resolve_capacity(4096, 4096).len, 4096);
    assert_eq!(map.resolve_capacity(2 * MIB, 1).len, 0);
    assert_eq!(map.run_around(2 * MIB), None);
    assert_eq!(map.run_around(u64::MAX), None);
}

#[test]
fn a_file_gets_one_map_and_fails_for_ever_when_its_size_changes() {
    let extents = [extent(0, 4 * MIB, 2 * MIB)];
    let map = simple(&extents, 5000).unwrap();
    let mut file = MappedFile::new();
    assert_eq!(file.map().unwrap_err(), Error::NoMap);
    assert_eq!(Error::NoMap.errno(), Errno::EIO);
    file.install(map.clone()).unwrap();
    assert_eq!(file.install(map).unwrap_err().errno(), Errno::EEXIST);
    assert!(file.map_for_size(5000).is_ok());
    let changed = file.map_for_size(5001).unwrap_err();
    assert_eq!(changed, Error::SizeChanged { expected: 5000, found: 5001 });
    assert_eq!(changed.errno(), Errno::ENXIO);
    assert_eq!(file.map_for_size(5000).unwrap_err(), Error::Failed { errno: Errno::ENXIO });
    assert_eq!(file.map().unwrap_err().errno(), Errno::ENXIO);
}

/// Small numbers, so that every rule is met and broken often.
const UNIT: u64 = 4;
const SMALL: MapRules = MapRules { unit: UNIT, max_extents: 5, reserved: 4 };
const SMALL_DEVICES: [u64; 2] = [64, 40];

fn any_extent() -> impl Strategy<Value = Extent> {
    // Mostly aligned, so that a good part of the maps is valid.
    let length = prop_oneof![4 => (1u64..6).prop_map(|n| n * UNIT), 1 => 0u64..20];
    let offset = prop_oneof![6 => (0u64..17).prop_map(|n| n * UNIT), 1 => 0u64..70];
    (0u32..3, offset, length).prop_map(|(device, offset, len)| extent(device.min(2) % 3, offset, len))
}

/// The bytes of the map in file order, by the definition of each kind.
fn naive_bytes(extents: &[Extent], chunk: Option<u64>) -> Vec<(u32, u64)> {
    let mut bytes = Vec::new();
    match chunk {
        None => {
            for extent in extents {
                bytes.extend((0..extent.len).map(|byte| (extent.device.0, extent.offset.0 + byte)));
            }
        }
        Some(chunk) => {
            for offset in 0.. {
                let number = offset / chunk;
                let strip = extents[(number % extents.len() as u64) as usize];
                let within = number / extents.len() as u64 * chunk + offset % chunk;
                if within >= strip.len {
                    break;
                }
                bytes.push((strip.device.0, strip.offset.0 + within));
            }
        }
    }
    bytes
}

/// Whether the rules are kept, said another way than the crate says it.
fn naive_valid(extents: &[Extent], chunk: Option<u64>, size: u64) -> bool {
    let mut taken = BTreeSet::new();
    let mut good = !extents.is_empty() && extents.len() <= 5;
    for (index, extent) in extents.iter().enumerate() {
        let last = index + 1 == extents.len();
        good &= extent.len > 0 && extent.offset.0 % UNIT == 0 && (last || extent.len % UNIT == 0);
        for byte in extent.offset.0..extent.offset.0 + extent.len {
            good &= taken.insert((extent.device.0, byte));
            good &= SMALL_DEVICES.get(extent.device.0 as usize).is_some_and(|len| byte < *len);
            good &= extent.device.0 != 0 || byte >= 4;
        }
    }
    good &= chunk.is_none_or(|chunk| chunk.is_power_of_two() && chunk % UNIT == 0);
    good && naive_bytes(extents, chunk).len() as u64 >= size
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 4096 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn agrees_with_the_table_of_bytes(
        extents in prop::collection::vec(any_extent(), 0..7),
        chunk in prop::option::of(prop_oneof![4 => Just(4u64), 4 => Just(8u64), 1 => 0u64..20]),
        size in 0u64..60,
        want in 0u64..30,
    ) {
        let map = match chunk {
            None => FileMap::simple(extents.clone(), size, &SMALL, &SMALL_DEVICES),
            Some(chunk) => FileMap::interleaved(extents.clone(), chunk, size, &SMALL, &SMALL_DEVICES),
        };
        prop_assert_eq!(map.is_ok(), naive_valid(&extents, chunk, size), "{:?}", map);
        let Ok(map) = map else { return Ok(()) };
        let bytes = naive_bytes(&extents, chunk);
        prop_assert_eq!(map.capacity(), bytes.len() as u64);
        prop_assert_eq!(map.chunk(), chunk);
        for offset in 0..bytes.len() as u64 + 3 {
            let answers = [(map.resolve(offset, want), size), (map.resolve_capacity(offset, want), map.capacity())];
            for (segment, end) in answers {
                prop_assert_eq!(segment.len > 0, offset < end && want > 0);
                for byte in 0..segment.len {
                    prop_assert_eq!(bytes[(offset + byte) as usize], (segment.device.0, segment.offset.0 + byte));
                }
                // As long as can be, within the extent or chunk.
                let left = match chunk {
                    Some(chunk) => chunk - offset % chunk,
                    None => {
                        let mut start = 0;
                        let mut left = 0;
                        for extent in &extents {
                            if offset >= start && offset < start + extent.len {
                                left = start + extent.len - offset;
                            }
                            start += extent.len;
                        }
                        left
                    }
                };
                if segment.len > 0 {
                    prop_assert_eq!(segment.len, want.min(end - offset).min(left));
                }
            }
            let around = map.run_around(offset);
            prop_assert_eq!(around.is_some(), offset < map.capacity());
            if let Some((start, segment)) = around {
                prop_assert!(start <= offset && offset < start + segment.len);
                prop_assert_eq!(segment, map.resolve_capacity(start, u64::MAX));
                if start > 0 {
                    let before = map.resolve_capacity(start - 1, u64::MAX);
                    prop_assert_eq!(before.len, 1, "the run begins where its extent or chunk does");
                }
            }
        }
    }
}

#[test]
fn extents_of_one_length_are_found_by_division() {
    let unit = 2 * MIB;
    // The last may be shorter; none of the others may.
    for lens in [[2, 2, 2, 1], [2, 2, 2, 2], [2, 2, 2, 3], [2, 1, 2, 2], [1, 2, 2, 2]] {
        let extents: Vec<_> = (0..).zip(lens).map(|(n, len)| extent(0, (4 * n + 2) * unit, len * unit)).collect();
        let capacity = lens.iter().sum::<u64>() * unit;
        let map = FileMap::simple(extents.as_slice(), capacity, &RULES, &[1024 * MIB]).unwrap();
        let (mut start, mut at) = (0, 0);
        for offset in (0..capacity).step_by(4096) {
            if offset - start == extents[at].len {
                start += extents[at].len;
                at += 1;
            }
            let found = map.resolve(offset, u64::MAX);
            let expected = (extents[at].offset.0 + offset - start, extents[at].len - (offset - start));
            assert_eq!((found.offset.0, found.len), expected, "{lens:?} at {offset:#x}");
            assert_eq!(map.run_around(offset).unwrap().0, start);
        }
        assert_eq!(map.resolve(capacity, 1).len, 0);
        assert_eq!(map.run_around(capacity), None);
    }
}
