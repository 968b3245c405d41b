//! Damage by range, against a set of pages; parts of a device.

use std::collections::BTreeSet;

use fs_dax::{
    Damage, DeviceOffset, Errno, Error, FileRange, LinearMemory, MemoryDevice, PAGE_SIZE, Partition, PhysAddr,
};
use proptest::prelude::*;

const NOTHING: FileRange = FileRange::between(0, 0);

fn pages(bytes: FileRange, whole: bool) -> std::ops::Range<u64> {
    if whole {
        bytes.start().div_ceil(PAGE_SIZE)..bytes.end() / PAGE_SIZE
    } else if bytes.is_empty() {
        0..0
    } else {
        bytes.start() / PAGE_SIZE..bytes.end().div_ceil(PAGE_SIZE)
    }
}

proptest! {
    #[test]
    fn damage_agrees_with_a_set_of_pages(
        ops in prop::collection::vec((any::<bool>(), 0..16 * PAGE_SIZE, 0..4 * PAGE_SIZE, any::<bool>()), 1..60),
        places in 1usize..6,
    ) {
        let mut damage = Damage::new(vec![NOTHING; places]);
        let mut model = BTreeSet::new();
        for (mark, start, len, aligned) in ops {
            let round = |value: u64| if aligned { value / PAGE_SIZE * PAGE_SIZE } else { value };
            let bytes = FileRange::between(round(start), round(start) + round(len));
            let before = model.clone();
            let result = if mark {
                model.extend(pages(bytes, false));
                damage.mark(bytes)
            } else {
                model.retain(|page| !pages(bytes, true).contains(page));
                damage.clear(bytes)
            };
            let runs = model.iter().filter(|page| page.checked_sub(1).is_none_or(|last| !model.contains(&last))).count();
            if runs > places {
                prop_assert_eq!(result, Err(Error::DamageFull { places }));
                model = before;
            } else {
                prop_assert_eq!(result, Ok(()));
            }
            for page in 0..24 {
                let bytes = FileRange::between(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
                prop_assert_eq!(damage.check(bytes).is_err(), model.contains(&page), "page {}", page);
            }
            prop_assert!(damage.runs().windows(2).all(|pair| pair[0].end() < pair[1].start()));
            prop_assert_eq!(damage.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn damage_has_a_place() {
    let mut damage = Damage::new([NOTHING; 2]);
    damage.mark(FileRange::between(u64::MAX - 1, u64::MAX)).unwrap();
    let error = damage.check(FileRange::ALL).unwrap_err();
    assert_eq!(error.errno(), Errno::EIO);
    let bytes = FileRange::between(u64::MAX / PAGE_SIZE * PAGE_SIZE, u64::MAX);
    assert_eq!(error, Error::Damaged { bytes });
    damage.clear(FileRange::from(0)).unwrap();
    assert!(damage.is_empty());
    // A write of part of a page makes nothing whole.
    damage.mark(FileRange::between(0, 1)).unwrap();
    damage.clear(FileRange::between(0, 4095)).unwrap();
    assert_eq!(damage.runs(), [FileRange::between(0, 4096)]);
}

#[test]
fn parts_of_a_split_follow_each_other() {
    let device = LinearMemory::new(PhysAddr(0x10_0000), None, 0x10000).unwrap();
    let [a, b, c] = Partition::split(&device, [0x4000, 0x8000, 0x4000]).unwrap();
    assert_eq!([a.start(), b.start(), c.start()], [0, 0x4000, 0xc000].map(DeviceOffset));
    assert_eq!([a.len(), b.len(), c.len()], [0x4000, 0x8000, 0x4000]);
    assert!(Partition::split(&device, [0x8000, 0x8001]).is_err(), "past the end");
    assert!(Partition::split(&device, [0x1000, 0]).is_err(), "an empty part");
    assert!(Partition::split(&device, [0x800, 0x1000]).is_err(), "a part that begins inside a page");
    assert!(Partition::split(&device, [u64::MAX, 0x1000]).is_err());
}
