//! Direct access and partitions, flags of mappings, and what platforms allow.

use std::sync::Mutex;
use std::sync::atomic::AtomicU8;

use fs_dax::{
    AccessFlags, Area, AtomicMemory, Backing, Capabilities, DeviceOffset, DirectAccess, DirectRange, Errno, Error,
    Fault, FaultAccess, FaultOutcome, FileMapping, LinearMemory, MapFlags, MappedRun, MemoryDevice, MetadataState,
    PageSizes, Pages, Partition, PhysAddr, Sharing, SyncMode, SyncPolicy, VirtAddr, Wanted, WindowMemory,
};
use proptest::prelude::*;

const PHYS: u64 = 0x1_0000_0000;

fn ask(device: &dyn MemoryDevice, offset: i64, size: i64) -> Result<DirectRange, Error> {
    device.direct_access(&DirectAccess { offset, size, flags: AccessFlags::empty() })
}

fn linear(len: u64) -> LinearMemory {
    LinearMemory::new(PhysAddr(PHYS), Some(VirtAddr(0xffff_8000_0000_0000)), len).unwrap()
}

#[test]
fn rules_of_direct_access() {
    let device = linear(0x10000);
    assert_eq!(ask(&device, -4096, 4096).unwrap_err(), Error::NegativeOffset { offset: -4096 });
    assert_eq!(ask(&device, 0, -1).unwrap_err(), Error::NegativeSize { size: -1 });
    assert_eq!(ask(&device, i64::MIN, 1).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(ask(&device, 0, i64::MIN).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(ask(&device, 1, 4096).unwrap_err(), Error::Unaligned { value: 1, align: 4096 });
    assert_eq!(ask(&device, 4095, 4096).unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(
        ask(&device, 0x10000, 1).unwrap_err(),
        Error::NothingThere { offset: DeviceOffset(0x10000), len: 0x10000 }
    );
    assert_eq!(ask(&device, 0x7fff_ffff_ffff_f000, 1).unwrap_err().errno(), Errno::ERANGE);
    let range = ask(&device, 0xf000, i64::MAX).unwrap();
    assert_eq!(range.len, 0x1000, "clamped to what is there");
    assert_eq!(range.phys, PhysAddr(PHYS + 0xf000));
    assert_eq!(range.addr, Some(VirtAddr(0xffff_8000_0000_f000)));
    assert_eq!(ask(&device, 0x3000, 5).unwrap().len, 5);
    assert_eq!(ask(&device, 0x3000, 0).unwrap().len, 0);
    // The control block is the caller's own, before and after.
    let request = DirectAccess { offset: 0x3000, size: 0x2000, flags: AccessFlags::DIRTY };
    let copy = request;
    device.direct_access(&request).unwrap();
    assert_eq!(request, copy);
}

#[test]
fn partitions_have_bounds() {
    let device = linear(0x10000);
    let part = |start, len| Partition::new(&device, DeviceOffset(start), len).map(|part| part.len());
    assert_eq!(part(0, 0x10000), Ok(0x10000));
    assert_eq!(part(0xf000, 0x1000), Ok(0x1000));
    for (start, len) in [(0, 0x10001), (0xf000, 0x1001), (0x10000, 0), (0x10000, 1), (0, 0), (0x1000, u64::MAX)] {
        let bounds = Error::PartitionBounds { start: DeviceOffset(start), len, device_len: 0x10000 };
        assert_eq!(part(start, len), Err(bounds));
    }
    assert_eq!(part(0x800, 0x1000), Err(Error::Unaligned { value: 0x800, align: 4096 }));
    // Past the partition's end there is nothing, though the device goes on.
    let part = Partition::new(&device, DeviceOffset(0x4000), 0x2800).unwrap();
    assert_eq!(ask(&part, 0x3000, 1).unwrap_err().errno(), Errno::ERANGE);
    assert_eq!(ask(&part, 0x2000, 0x1000).unwrap().len, 0x800);
    assert_eq!(part.start(), DeviceOffset(0x4000));
}

#[test]
fn a_failed_device_fails_with_all_its_partitions() {
    let device = linear(0x10000);
    let part = Partition::new(&device, DeviceOffset(0x4000), 0x4000).unwrap();
    let inner = Partition::new(&part, DeviceOffset(0x1000), 0x1000).unwrap();
    assert!(ask(&inner, 0, 1).is_ok());
    device.failure().unwrap().fail(Errno::EIO);
    for device in [&device as &dyn MemoryDevice, &part, &inner] {
        let error = ask(device, 0, 1).unwrap_err();
        assert_eq!(error.errno(), Errno::EIO);
        assert!(matches!(FaultOutcome::<()>::from(error), FaultOutcome::BusError(Errno::EIO)));
    }
}

/// A device with scripted answers, and remembers the flags.
struct Scripted(Mutex<Vec<AccessFlags>>, Option<DirectRange>);

impl MemoryDevice for Scripted {
    fn len(&self) -> u64 {
        0x10000
    }

    fn locate(&self, _: DeviceOffset, _: u64, flags: AccessFlags) -> Option<DirectRange> {
        self.0.lock().unwrap().push(flags);
        self.1
    }
}

#[test]
fn a_device_is_not_trusted() {
    let answer = |answer| ask(&Scripted(Mutex::default(), answer), 0x1000, 0x2000);
    let range = |phys, len| Some(DirectRange { addr: None, phys: PhysAddr(phys), len });
    assert_eq!(answer(None).unwrap_err().errno(), Errno::ERANGE);
    assert_eq!(answer(range(0x1000, 0)).unwrap_err().errno(), Errno::ERANGE);
    assert_eq!(answer(range(0x1001, 1)).unwrap_err(), Error::BadAnswer { offset: DeviceOffset(0x1000) });
    assert_eq!(answer(range(u64::MAX - 4095, 0x2000)).unwrap_err().errno(), Errno::EIO);
    assert_eq!(answer(range(0x1000, u64::MAX)).unwrap().len, 0x2000, "no more than was asked for");
    assert_eq!(answer(range(0x1000, 0x800)).unwrap().len, 0x800);
}

#[test]
fn dirty_goes_with_writable_mappings_only() {
    let device = Scripted(Mutex::default(), Some(DirectRange { addr: None, phys: PhysAddr(0x1000), len: 0x1000 }));
    let mut expected = Vec::new();
    for access in [FaultAccess::Read, FaultAccess::Write] {
        for sharing in [Sharing::Shared, Sharing::Private] {
            let fault = Fault {
                area: Area::new(VirtAddr(0x40_0000), 0x1000, 0).unwrap(),
                at: VirtAddr(0x40_0000),
                access,
                sharing,
                sync: SyncMode::None,
                wanted: Wanted::Largest,
            };
            let run = MappedRun { file_offset: 0, phys: PhysAddr(0x1000), len: 0x1000 };
            let backing = Backing { eof: 0x1000, run: Some(run), writable: true, metadata: MetadataState::DURABLE };
            let mapping = match fault.resolve(PageSizes::SMALL_4K, &backing, ()) {
                FaultOutcome::Map(mapping) => mapping,
                FaultOutcome::Copy(mapping) => {
                    assert!(fault.is_private_write());
                    mapping
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(mapping.writable, fault.is_shared_write());
            let flags = mapping.access_flags();
            expected.push(if fault.is_shared_write() { AccessFlags::DIRTY } else { AccessFlags::empty() });
            device.direct_access(&DirectAccess { offset: 0, size: 0x1000, flags }).unwrap();
        }
    }
    assert_eq!(*device.0.lock().unwrap(), expected);
    assert_eq!(expected.iter().filter(|flags| flags.contains(AccessFlags::DIRTY)).count(), 1);
    assert_eq!(AccessFlags::DIRTY.bits(), 1);
}

#[test]
fn the_other_outcomes_of_a_fault() {
    let fault = Fault {
        area: Area::new(VirtAddr(0x40_0000), 4 << 20, 0).unwrap(),
        at: VirtAddr(0x40_1000),
        access: FaultAccess::Write,
        sharing: Sharing::Shared,
        sync: SyncMode::None,
        wanted: Wanted::Largest,
    };
    let run = MappedRun { file_offset: 0, phys: PhysAddr(0x20_0000), len: 4 << 20 };
    let good = Backing { eof: 4 << 20, run: Some(run), writable: true, metadata: MetadataState::DURABLE };
    let ask = |fault: Fault, backing: Backing| fault.resolve(PageSizes::SMALL_4K, &backing, ());
    assert!(matches!(ask(fault, Backing { writable: false, ..good }), FaultOutcome::NeedsWritable));
    assert!(matches!(ask(fault, Backing { run: None, ..good }), FaultOutcome::Hole));
    assert!(matches!(ask(fault, Backing { eof: 4096, ..good }), FaultOutcome::BusError(Errno::ERANGE)));
    assert!(matches!(ask(Fault { at: VirtAddr(0), ..fault }, good), FaultOutcome::BusError(Errno::EFAULT)));
    let skewed = Area::new(VirtAddr(0x40_0000), 4 << 20, 5).unwrap();
    assert!(matches!(ask(Fault { area: skewed, ..fault }, good), FaultOutcome::BusError(Errno::EINVAL)));
    let huge = Fault { wanted: Wanted::Huge, ..fault };
    assert!(matches!(ask(huge, Backing { eof: 1 << 20, ..good }), FaultOutcome::SmallerPage));
    // What is read only needs no writable memory.
    let read = Fault { access: FaultAccess::Read, ..fault };
    let read_only = Backing { writable: false, ..good };
    assert!(
        matches!(ask(read, read_only), FaultOutcome::Map(mapping) if !mapping.writable && mapping.page.len == 2 << 20)
    );
    // Where no dirt is tracked it is writable at once, if stores are permitted and would reach the file.
    for (may_store, sharing, writable) in
        [(true, Sharing::Shared, true), (false, Sharing::Shared, false), (true, Sharing::Private, false)]
    {
        let read = Fault { sharing, ..read }.untracked(may_store);
        assert!(matches!(ask(read, good), FaultOutcome::Map(mapping) if mapping.writable == writable), "{sharing:?}");
    }
    let copy = Fault { sharing: Sharing::Private, ..fault };
    assert_eq!(copy.untracked(true), copy);
    assert!(matches!(ask(copy, read_only), FaultOutcome::Copy(mapping) if mapping.page.len == 4096));
    assert!(matches!(ask(Fault { wanted: Wanted::Huge, ..copy }, good), FaultOutcome::SmallerPage));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 64 } else { 4096 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nested_partitions_are_sums(
        cuts in prop::collection::vec((0u64..10, 1u64..10 * 4096), 1..4),
        offset in -2i64..14,
        size in 0i64..20 * 4096,
    ) {
        const LEN: u64 = 10 * 4096;
        nested(&linear(LEN), (0, LEN), &cuts, &mut |part, start, len| {
            prop_assert_eq!(part.len(), len);
            match ask(part, offset * 4096, size) {
                Ok(range) => {
                    let offset = u64::try_from(offset).unwrap() * 4096;
                    prop_assert!(offset < len);
                    prop_assert_eq!(range.phys.0, PHYS + start + offset);
                    prop_assert_eq!(range.len, (size as u64).min(len - offset));
                }
                Err(Error::NegativeOffset { .. }) => prop_assert!(offset < 0),
                Err(error) => {
                    prop_assert_eq!(error.errno(), Errno::ERANGE);
                    prop_assert!(offset as u64 * 4096 >= len);
                }
            }
            Ok(())
        })?;
    }
}

type Check<'a> = dyn FnMut(&dyn MemoryDevice, u64, u64) -> Result<(), TestCaseError> + 'a;

/// Calls `check` with the innermost partition, its true beginning and its length, if all cuts fit.
fn nested(
    whole: &dyn MemoryDevice,
    (start, len): (u64, u64),
    cuts: &[(u64, u64)],
    check: &mut Check<'_>,
) -> Result<(), TestCaseError> {
    let Some(((page, part_len), rest)) = cuts.split_first() else { return check(whole, start, len) };
    let part = Partition::new(whole, DeviceOffset(page * 4096), *part_len);
    prop_assert_eq!(part.is_ok(), page * 4096 + part_len <= len);
    match part {
        Ok(part) => nested(&part, (start + page * 4096, *part_len), rest, check),
        Err(_) => Ok(()),
    }
}

#[test]
fn mapping_flags() {
    let files = [
        FileMapping::NOT_DAX,
        FileMapping::dax(SyncPolicy::Refused),
        FileMapping::dax(SyncPolicy::PersistentHost),
        FileMapping::dax(SyncPolicy::MetadataDurable),
    ];
    let modes = [SyncMode::None, SyncMode::None, SyncMode::Persistent, SyncMode::MetadataDurable];
    const SYNC: u32 = 0x8_0000;
    const UNKNOWN: u32 = 0x4000_0000;
    const POPULATE: u32 = 0x8000;
    for (file, mode) in files.iter().zip(modes) {
        let supports = mode != SyncMode::None;
        for kind in 0..16 {
            for (sync, unknown) in [(0, 0), (SYNC, 0), (0, UNKNOWN), (SYNC, UNKNOWN)] {
                let flags = kind | sync | unknown | POPULATE;
                let result = file.validate(flags);
                match kind {
                    1 | 2 => {
                        let agreed = result.unwrap();
                        assert_eq!(agreed.sharing, if kind == 1 { Sharing::Shared } else { Sharing::Private });
                        assert!(!agreed.is_sync(), "ignored, and said so");
                        assert_eq!(agreed.flags.bits(), kind | POPULATE);
                    }
                    3 => {
                        let unsupported = unknown | if supports { 0 } else { sync };
                        if unsupported != 0 {
                            let error = result.unwrap_err();
                            assert_eq!(error, Error::UnsupportedFlags { unsupported });
                            assert_eq!(error.errno(), Errno::EOPNOTSUPP);
                        } else {
                            let agreed = result.unwrap();
                            assert_eq!(agreed.sharing, Sharing::Shared);
                            assert_eq!(agreed.sync, if sync != 0 { mode } else { SyncMode::None });
                            assert_eq!(agreed.is_sync(), sync != 0);
                        }
                    }
                    _ => {
                        assert_eq!(result.unwrap_err(), Error::MapType { flags });
                        assert_eq!(result.unwrap_err().errno(), Errno::EINVAL);
                    }
                }
            }
        }
    }
    // An embedder can add flags that it handles itself, but not SYNC by the back door.
    let more = FileMapping::dax(SyncPolicy::Refused).with(MapFlags::FIXED_NOREPLACE | MapFlags::SYNC);
    assert!(more.validate(0x10_0003).is_ok());
    assert!(more.validate(0x8_0003).is_err());
    assert_eq!(more.supported().bits() & SYNC, 0);
    assert_eq!((MapFlags::SHARED_VALIDATE.bits(), MapFlags::SYNC.bits()), (3, SYNC));
}

#[test]
fn what_platforms_allow() {
    use fs_dax::Access::{CopiesOnly, LoadsAndStores};
    for (pages, access, slices, faults, pins) in [
        (Pages::Full, LoadsAndStores, true, true, true),
        (Pages::Limited, LoadsAndStores, true, true, false),
        (Pages::None, LoadsAndStores, true, false, false),
        (Pages::Full, CopiesOnly, false, false, false),
        (Pages::Limited, CopiesOnly, false, false, false),
        (Pages::None, CopiesOnly, false, false, false),
    ] {
        let able = Capabilities { pages, access };
        assert_eq!(able.check_slices().is_ok(), slices, "{able:?}");
        assert_eq!(able.check_faults().is_ok(), faults, "{able:?}");
        assert_eq!(able.check_pins().is_ok(), pins, "{able:?}");
    }
    assert_eq!(Capabilities::COPIES_ONLY.check_faults().unwrap_err().errno(), Errno::EOPNOTSUPP);
}

#[test]
fn memory_is_copied_in_and_out_inside_its_bounds() {
    let bytes: Vec<AtomicU8> = (0..=255).map(AtomicU8::new).collect();
    for able in [Capabilities::default(), Capabilities::COPIES_ONLY] {
        let memory = AtomicMemory::new(&bytes, able);
        let mut buffer = [0; 4];
        memory.write(DeviceOffset(252), &[1, 2, 3, 4]).unwrap();
        memory.read(DeviceOffset(251), &mut buffer).unwrap();
        assert_eq!(buffer, [251, 1, 2, 3]);
        for (offset, len) in [(253, 4), (u64::MAX, 4), (256, 1)] {
            let outside = Error::OutOfWindow { offset: DeviceOffset(offset), len, window_len: 256 };
            let len = len as usize;
            assert_eq!(memory.read(DeviceOffset(offset), &mut buffer[..len]), Err(outside));
            assert_eq!(memory.write(DeviceOffset(offset), &buffer[..len]), Err(outside));
            assert_eq!(memory.pointer(DeviceOffset(offset), len as u64), Err(outside));
        }
        assert_eq!(memory.read(DeviceOffset(256), &mut []), Ok(()));
        assert_eq!(memory.pointer(DeviceOffset(0), 256).is_ok(), able.check_slices().is_ok());
    }
}

/// Remembers the hints of the accesses it was asked for.
struct Hinted(Mutex<Vec<(DeviceOffset, AccessFlags)>>);

impl MemoryDevice for Hinted {
    fn len(&self) -> u64 {
        0x10000
    }

    fn locate(&self, offset: DeviceOffset, size: u64, flags: AccessFlags) -> Option<DirectRange> {
        self.0.lock().unwrap().push((offset, flags));
        Some(DirectRange { addr: None, phys: PhysAddr(PHYS + offset.0), len: size })
    }
}

#[test]
fn partitions_hand_hints_on() {
    let device = Hinted(Mutex::new(Vec::new()));
    let part = Partition::new(&device, DeviceOffset(0x4000), 0x4000).unwrap();
    let inner = Partition::new(&part, DeviceOffset(0x1000), 0x1000).unwrap();
    for flags in [AccessFlags::DIRTY, AccessFlags::empty()] {
        for asked in [&device as &dyn MemoryDevice, &part, &inner] {
            asked.direct_access(&DirectAccess { offset: 0, size: 4096, flags }).unwrap();
        }
        let seen = std::mem::take(&mut *device.0.lock().unwrap());
        assert_eq!(seen, [0, 0x4000, 0x5000].map(|offset| (DeviceOffset(offset), flags)));
    }
}
