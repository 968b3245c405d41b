//! What is found in configuration spaces: those of real devices, and ones that are wrong in one point.

use transport_pci::{Note, PciError, PciTransport, Structure, StructureFault, model::PciModel, model::StructureModel};
use virtio_shm::{BarFault, Neighbour, ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::{
    ConfigError, ConfigSpace, PciFunction,
    model::{Device, Spec},
};

const FS: &[u8; 256] = include_bytes!("../testdata/qemu-virtio-fs-64MiB.bin");
const GPU: &[u8; 256] = include_bytes!("../testdata/qemu-virtio-gpu-256MiB.bin");
const GPU_8G: &[u8; 256] = include_bytes!("../testdata/qemu-virtio-gpu-8GiB.bin");

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FS_BARS: [u64; 6] = [0, 0x1000, 0x4000, 0, 64 * MIB, 0];

/// Where the file system's shared-memory capability is, and fields of it.
const SHM: u8 = 0xa4;
const SHM_BAR: u8 = SHM + 4;
const SHM_OFFSET: u8 = SHM + 8;
const SHM_LEN: u8 = SHM + 12;
const SHM_OFFSET_HIGH: u8 = SHM + 16;
const SHM_LEN_HIGH: u8 = SHM + 20;
/// Where its other capabilities are.
const COMMON: u8 = 0x40;
const DEVICE: u8 = 0x60;
const NOTIFY: u8 = 0x70;
const MSIX: u8 = 0x98;

fn region(id: u8, addr: u64, len: u64) -> ShmRegion {
    ShmRegion::new(ShmId(id), addr, len).expect("a good region")
}

fn regions(transport: &mut impl ShmTransport) -> Vec<Result<ShmRegion, ShmError>> {
    let mut found = Vec::new();
    transport.for_each_shm_region(&mut |region| found.push(region));
    found
}

fn file_system() -> (Device, PciModel) {
    let device = Device::new(Spec::file_system("tag", 1));
    let model = PciModel::from_image(&device, FS, FS_BARS);
    (device, model)
}

/// Opens the real file system device with these bytes patched in, by a driver that makes no mistakes.
fn patched(patches: &[(u8, &[u8])]) -> Result<PciTransport<StructureModel>, PciError> {
    let (device, mut model) = file_system();
    for (offset, bytes) in patches {
        model.patch(*offset, bytes);
    }
    let before = model.image();
    let opened = model.open();
    assert_eq!(device.mistakes(), [""; 0], "{patches:x?}");
    // Of all of configuration space only the command may have changed.
    let mut after = model.image();
    after[4..6].copy_from_slice(&before[4..6]);
    assert_eq!(after, before, "{patches:x?}");
    opened
}

/// The error of the window when these bytes are patched in; the device can be opened all the same.
fn window_error(patches: &[(u8, &[u8])]) -> ShmError {
    let mut transport = patched(patches).expect("a device that can be driven");
    let error = transport.shm_region(ShmId::FS_DAX_WINDOW).expect_err("a malformed region");
    assert_eq!(regions(&mut transport), [Err(error)]);
    assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::MalformedRegion(error)]);
    error
}

fn word(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

#[test]
fn the_real_file_system_device() {
    let (device, mut model) = file_system();
    let mut transport = model.open().expect("a good device");
    // The firmware has enabled all of it already.
    assert_eq!(model.image(), *FS);
    assert_eq!(transport.device_id(), 26);
    assert_eq!(transport.msix_vectors(), 1);
    assert_eq!(transport.queue_count(), 2);
    let window = region(0, 0xf800_0000, 64 * MIB);
    assert_eq!(transport.shm_region(ShmId::FS_DAX_WINDOW), Ok(Some(window)));
    assert_eq!(transport.shm_region(ShmId(1)), Ok(None));
    assert_eq!(regions(&mut transport), [Ok(window)]);
    assert_eq!(transport.notes().count(), 0);
    // Mapped are the structures, by what is used of them, and the MSI-X table; the window isn't.
    let mapped = model.mapped();
    assert_eq!(
        mapped,
        [
            0xfd00_0000..0xfd00_0038,
            0xfd00_3000..0xfd00_4000,
            0xfd00_1000..0xfd00_1001,
            0xfd00_2000..0xfd00_3000,
            0xfebd_5000..0xfebd_5010
        ]
    );
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn the_real_gpus() {
    for (image, len, addr) in [(GPU, 256 * MIB, 0xe000_0000), (GPU_8G, 8 * GIB, 0xfc_0000_0000)] {
        let device = Device::new(Spec::new(16));
        let mut model = PciModel::from_image(&device, image, [0, 0x1000, 0x4000, 0, len, 0]);
        let mut transport = model.open().expect("a good device");
        assert_eq!(transport.device_id(), 16);
        assert_eq!(transport.msix_vectors(), 3);
        assert_eq!(transport.shm_region(ShmId::GPU_HOST_VISIBLE), Ok(Some(region(1, addr, len))));
        assert_eq!(transport.shm_region(ShmId(0)), Ok(None));
        assert_eq!(regions(&mut transport), [Ok(region(1, addr, len))]);
        assert_eq!(transport.notes().count(), 0);
        assert_eq!(device.mistakes(), [""; 0]);
        assert_eq!(model.image()[..4], image[..4]);
        assert_eq!(model.image()[6..], image[6..]);
    }
}

#[test]
fn memory_is_decoded_and_the_bus_is_mastered_afterwards() {
    let (device, mut model) = file_system();
    model.patch(4, &[0, 0]);
    let transport = model.open().expect("a good device");
    let image = model.image();
    assert_eq!(u16::from_le_bytes([image[4], image[5]]), 1 << 1 | 1 << 2, "memory space and bus master");
    assert_eq!(device.resets(), 1);
    drop(transport);
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn several_regions() {
    let spec = Spec::new(26).with_region(0, 0x20_0000_0000, 8 * GIB).with_region(5, 0x22_0000_0000, GIB).with_region(
        255,
        0x22_4000_0000,
        MIB,
    );
    let device = Device::new(spec);
    let mut transport = PciModel::with_vectors(&device, 0).open().expect("a good device");
    let expected =
        [region(0, 0x20_0000_0000, 8 * GIB), region(5, 0x22_0000_0000, GIB), region(255, 0x22_4000_0000, MIB)];
    for region in expected {
        assert_eq!(transport.shm_region(region.id()), Ok(Some(region)));
    }
    // The last one is first in the list, as QEMU has it.
    assert_eq!(regions(&mut transport), [Ok(expected[2]), Ok(expected[1]), Ok(expected[0])]);
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn no_region() {
    let device = Device::new(Spec::file_system("tag", 1));
    let mut transport = PciModel::new(&device).open().expect("a good device");
    assert_eq!(transport.shm_region(ShmId::FS_DAX_WINDOW), Ok(None));
    assert_eq!(regions(&mut transport), []);
}

#[test]
fn the_identity() {
    let outcome = |patches: &[(u8, &[u8])]| patched(patches).map(|transport| transport.device_id());
    assert_eq!(outcome(&[]), Ok(26));
    assert_eq!(outcome(&[(0, &[0xff, 0xff, 0xff, 0xff])]), Err(PciError::NoFunction));
    assert_eq!(outcome(&[(0, &[0x86, 0x80])]), Err(PciError::Vendor { vendor: 0x8086 }));
    for device in [0x1000u16, 0x1001, 0x1009, 0x103f] {
        assert_eq!(outcome(&[(2, &device.to_le_bytes())]), Err(PciError::Transitional { device }));
    }
    for device in [0x0001u16, 0x0fff, 0x1040, 0x1080, 0xffff] {
        assert_eq!(outcome(&[(2, &device.to_le_bytes())]), Err(PciError::NotVirtio { device }));
    }
    assert_eq!(outcome(&[(2, &0x107fu16.to_le_bytes())]), Ok(63));
    assert_eq!(outcome(&[(2, &0x1041u16.to_le_bytes())]), Ok(1));
    assert_eq!(outcome(&[(0x0e, &[0x80])]), Ok(26));
    assert_eq!(outcome(&[(0x0e, &[0x81])]), Err(PciError::HeaderType { header: 1 }));
    assert_eq!(outcome(&[(6, &[0])]), Err(PciError::NoCapabilities));
}

#[test]
fn another_function_is_none() {
    let (_, mut model) = file_system();
    let elsewhere = PciFunction { bus: 0, device: 4, function: 0 };
    let other = model.clone();
    let opened = PciTransport::with_mapper(&mut model, elsewhere, 1, |s, addr, len| Ok(other.map(s, addr, len)));
    assert_eq!(opened.map(drop), Err(PciError::NoFunction));
}

#[test]
fn capability_lists() {
    let outcome = |patches: &[(u8, &[u8])]| patched(patches).map(drop);
    assert_eq!(outcome(&[(0x34, &[0x3c])]), Err(PciError::CapabilityPointer { at: 0x34, next: 0x3c }));
    assert_eq!(outcome(&[(0x34, &[0])]), Err(PciError::Missing { structure: Structure::CommonConfig }));
    assert_eq!(outcome(&[(NOTIFY + 1, &[0x10])]), Err(PciError::CapabilityPointer { at: 0x71, next: 0x10 }));
    // The two low bits of a pointer don't count.
    let mut transport = patched(&[(0x34, &[SHM | 3])]).expect("a good device");
    assert_eq!(regions(&mut transport), [Ok(region(0, 0xf800_0000, 64 * MIB))]);
    assert_eq!(outcome(&[(COMMON + 1, &[COMMON])]), Err(PciError::CapabilityLoop { capability: 0x40, after: 0x40 }));
    assert_eq!(outcome(&[(COMMON + 1, &[SHM])]), Err(PciError::CapabilityLoop { capability: SHM, after: 0x40 }));
    assert_eq!(outcome(&[(DEVICE + 1, &[MSIX])]), Err(PciError::CapabilityLoop { capability: MSIX, after: DEVICE }));
    assert_eq!(
        outcome(&[(COMMON + 1, &[0xf0]), (0xf0, &[9, 0, 20, 8])]),
        Err(PciError::CapabilityPastEnd { capability: 0xf0, len: 20 })
    );
    assert_eq!(
        outcome(&[(COMMON + 1, &[0xf8]), (0xf8, &[0x11, 0])]),
        Err(PciError::CapabilityPastEnd { capability: 0xf8, len: 12 })
    );
    assert_eq!(outcome(&[(COMMON + 1, &[0xfc]), (0xfc, &[1, 0])]), Ok(()));
    assert_eq!(
        outcome(&[(COMMON + 2, &[20])]),
        Err(PciError::CapabilityOverlap { capability: COMMON, len: 20 }),
        "it reaches into the next one, which comes before it in the list"
    );
    assert_eq!(
        outcome(&[(SHM + 1, &[SHM + 4])]),
        Err(PciError::CapabilityOverlap { capability: SHM + 4, len: 4 }),
        "it lies inside the previous one"
    );
}

#[test]
fn a_list_that_takes_every_word_ends() {
    let (device, mut model) = file_system();
    for offset in (0x40..=0xfcu8).step_by(4) {
        model.patch(offset, &[1, offset.wrapping_add(4), 0, 0]);
    }
    model.patch(0x34, &[0x40]);
    assert_eq!(model.open().map(drop), Err(PciError::Missing { structure: Structure::CommonConfig }));
    model.patch(0xfd, &[0x40]);
    assert_eq!(model.open().map(drop), Err(PciError::CapabilityLoop { capability: 0x40, after: 0xfc }));
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn a_window_capability_that_is_too_short() {
    let short = |cap_len| ShmError::CapabilityTooShort { capability: SHM, cap_len, need: 24 };
    assert_eq!(window_error(&[(SHM + 2, &[23])]), short(23));
    assert_eq!(window_error(&[(SHM + 2, &[16])]), short(16));
    assert_eq!(window_error(&[(SHM + 2, &[6])]), short(6));
    // Too short to have an id: it may be any region.
    assert_eq!(window_error(&[(SHM + 2, &[5])]), short(5));
    for (cap_len, other) in [(0, Err(short(0))), (5, Err(short(5))), (6, Ok(None)), (23, Ok(None))] {
        let mut transport = patched(&[(SHM + 2, &[cap_len])]).expect("a device that can be driven");
        assert_eq!(transport.shm_region(ShmId(9)), other);
    }
    // Longer is fine.
    assert!(patched(&[(SHM + 2, &[28])]).expect("good").shm_region(ShmId(0)).is_ok());
}

#[test]
fn the_windows_bar() {
    let fault = |patches: &[(u8, &[u8])], bar: u8, fault: BarFault| {
        let mut patches = patches.to_vec();
        let index = [bar];
        patches.push((SHM_BAR, &index));
        let expected = ShmError::Bar { id: ShmId(0), capability: SHM, bar, fault };
        assert_eq!(window_error(&patches), expected);
    };
    fault(&[], 6, BarFault::NoSuchBar);
    fault(&[], 255, BarFault::NoSuchBar);
    fault(&[], 0, BarFault::Unimplemented);
    fault(&[], 3, BarFault::UpperHalf { lower: 2 });
    fault(&[], 5, BarFault::UpperHalf { lower: 4 });
    fault(&[(0x20, &[0x0d])], 4, BarFault::Io);
    fault(&[(0x20, &[0x0c, 0, 0, 0])], 4, BarFault::Unassigned);
    fault(&[(0x20, &[0x02])], 4, BarFault::ReservedType { kind: 1 });
    fault(&[(0x20, &[0x0e])], 4, BarFault::ReservedType { kind: 3 });
    // An address bit below the size, which can't be written.
    fault(&[(0x20, &word(0xf810_000c))], 4, BarFault::Size { size: 63 * MIB });
    fault(&[(0x20, &[0; 4]), (0x24, &[0x0c])], 5, BarFault::NoUpperHalf);
}

#[test]
fn a_bar_at_the_end_of_the_address_space_or_with_a_broken_size() {
    let fault = |set: fn(&PciModel), fault: BarFault| {
        let (device, mut model) = file_system();
        set(&model);
        let mut transport = model.open().expect("a device that can be driven");
        let expected = ShmError::Bar { id: ShmId(0), capability: SHM, bar: 4, fault };
        assert_eq!(transport.shm_region(ShmId(0)), Err(expected));
        assert_eq!(device.mistakes(), [""; 0]);
    };
    fault(
        |model| model.patch(0x20, &[0x0c, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0xff]),
        BarFault::Address { addr: 0xffff_ffff_fc00_0000, size: 64 * MIB },
    );
    fault(|model| model.set_writable(0x20, 0xf000_f000), BarFault::Size { size: 0x07ff_1000 });
    fault(
        |model| {
            model.patch(0x20, &word(0xc));
            model.set_writable(0x20, 0);
            model.set_writable(0x24, 0);
        },
        BarFault::Unimplemented,
    );
}

#[test]
fn a_bar_of_all_the_upper_half() {
    let (device, mut model) = file_system();
    // 2^63 bytes, the largest BAR of all.
    model.set_writable(0x20, 0);
    model.set_writable(0x24, 0x8000_0000);
    model.patch(0x20, &[0x0c, 0, 0, 0, 0, 0, 0, 0x80]);
    let mut transport = model.open().expect("a device that can be driven");
    let expected = ShmError::Bar {
        id: ShmId(0),
        capability: SHM,
        bar: 4,
        fault: BarFault::Address { addr: 1 << 63, size: 1 << 63 },
    };
    assert_eq!(transport.shm_region(ShmId(0)), Err(expected), "its end is 2^64");
    assert_eq!(device.mistakes(), [""; 0]);
}

#[test]
fn the_windows_offset_and_length() {
    let (id, capability, bar, bar_len) = (ShmId(0), SHM, 4, 64 * MIB);
    assert_eq!(window_error(&[(SHM_LEN, &[0; 4])]), ShmError::ZeroLength { id, addr: 0 });
    assert_eq!(
        window_error(&[(SHM_LEN, &word(0x0400_0001))]),
        ShmError::PastBarEnd { id, capability, bar, offset: 0, len: 0x0400_0001, bar_len }
    );
    assert_eq!(
        window_error(&[(SHM_OFFSET, &word(0x1000))]),
        ShmError::PastBarEnd { id, capability, bar, offset: 0x1000, len: 64 * MIB, bar_len }
    );
    // With 32 bits these two would wrap around to something good.
    assert_eq!(
        window_error(&[(SHM_OFFSET, &word(0xffff_f000)), (SHM_LEN, &word(0x2000))]),
        ShmError::PastBarEnd { id, capability, bar, offset: 0xffff_f000, len: 0x2000, bar_len }
    );
    assert_eq!(
        window_error(&[(SHM_LEN_HIGH, &word(2))]),
        ShmError::PastBarEnd { id, capability, bar, offset: 0, len: 8 * GIB + 64 * MIB, bar_len }
    );
    assert_eq!(
        window_error(&[(SHM_OFFSET, &[0xff; 4]), (SHM_OFFSET_HIGH, &[0xff; 4])]),
        ShmError::OffsetOverflow { id, capability, offset: u64::MAX, len: 64 * MIB }
    );
    let mut transport = patched(&[(SHM_OFFSET, &word(0x10_0000)), (SHM_LEN, &word(0x1000))]).expect("good");
    assert_eq!(transport.shm_region(id), Ok(Some(region(0, 0xf810_0000, 0x1000))));
}

#[test]
fn a_window_over_another_structure() {
    let over = |bar: u8, offset: u32, len: u32, other: Neighbour, range: core::ops::Range<u64>| {
        let error = window_error(&[(SHM_BAR, &[bar]), (SHM_OFFSET, &word(offset)), (SHM_LEN, &word(len))]);
        let base = if bar == 1 { 0xfebd_5000 } else { 0xfd00_0000 };
        assert_eq!(error, region(0, base + u64::from(offset), len.into()).overlap(other, range));
    };
    over(2, 0, 0x4000, Neighbour::CommonConfig, 0xfd00_0000..0xfd00_1000);
    over(2, 0xfff, 1, Neighbour::CommonConfig, 0xfd00_0000..0xfd00_1000);
    over(2, 0x1000, 1, Neighbour::Isr, 0xfd00_1000..0xfd00_2000);
    over(2, 0x2fff, 1, Neighbour::DeviceConfig, 0xfd00_2000..0xfd00_3000);
    over(2, 0x3000, 0x1000, Neighbour::Notify, 0xfd00_3000..0xfd00_4000);
    over(1, 0, 8, Neighbour::MsixTable, 0xfebd_5000..0xfebd_5010);
    over(1, 0x807, 0x10, Neighbour::MsixPba, 0xfebd_5800..0xfebd_5808);
}

#[test]
fn bars_at_the_same_place() {
    // BAR 4 over BAR 2: the offsets don't overlap, the addresses do.
    let error = window_error(&[(0x20, &word(0xfc00_000c))]);
    let expected = region(0, 0xfc00_0000, 64 * MIB).overlap(Neighbour::CommonConfig, 0xfd00_0000..0xfd00_1000);
    assert_eq!(error, expected);
}

#[test]
fn regions_over_each_other() {
    let device = Device::new(Spec::new(26).with_region(0, 0x1_0000_0000, MIB).with_region(1, 0x1_0010_0000, MIB));
    let mut model = PciModel::with_vectors(&device, 0);
    let second = model.image()[0x34];
    model.patch(second + 8, &word(0xf_f000));
    let mut transport = model.open().expect("a device that can be driven");
    let first = region(1, 0x1_000f_f000, MIB);
    let error = region(0, 0x1_0000_0000, MIB).overlap(Neighbour::Region(ShmId(1)), first.range());
    assert_eq!(regions(&mut transport), [Ok(first), Err(error)]);
}

#[test]
fn regions_with_one_id() {
    let device = Device::new(Spec::new(26).with_region(0, 0x1_0000_0000, MIB).with_region(1, 0x1_0010_0000, MIB));
    let mut model = PciModel::with_vectors(&device, 0);
    let first = model.image()[0x34];
    let second = model.image()[usize::from(first) + 1];
    model.patch(first + 5, &[0]);
    let mut transport = model.open().expect("a device that can be driven");
    let taken = region(0, 0x1_0010_0000, MIB);
    assert_eq!(transport.shm_region(ShmId(0)), Ok(Some(taken)));
    assert_eq!(transport.shm_region(ShmId(1)), Ok(None));
    assert_eq!(regions(&mut transport), [Ok(taken)]);
    assert_eq!(
        transport.notes().collect::<Vec<_>>(),
        [&Note::DuplicateRegion { id: ShmId(0), capability: second, taken: first }]
    );
}

#[test]
fn a_good_region_after_a_malformed_one_with_the_same_id() {
    // What is wrong with the first capability: which bytes of it, and what they are.
    type Case = (&'static str, Vec<(u8, Vec<u8>)>, fn(u8) -> ShmError);
    let id = ShmId(0);
    let cases: [Case; 7] = [
        ("too short", vec![(2, vec![23])], |capability| ShmError::CapabilityTooShort {
            capability,
            cap_len: 23,
            need: 24,
        }),
        ("no such BAR", vec![(4, vec![6])], |capability| ShmError::Bar {
            id: ShmId(0),
            capability,
            bar: 6,
            fault: BarFault::NoSuchBar,
        }),
        ("a BAR that isn't there", vec![(4, vec![0])], |capability| ShmError::Bar {
            id: ShmId(0),
            capability,
            bar: 0,
            fault: BarFault::Unimplemented,
        }),
        ("no length", vec![(12, vec![0; 4])], |_| ShmError::ZeroLength { id: ShmId(0), addr: 0x10_0000 }),
        ("an offset that overflows", vec![(8, vec![0xff; 4]), (16, vec![0xff; 4])], |capability| {
            ShmError::OffsetOverflow { id: ShmId(0), capability, offset: u64::MAX, len: MIB }
        }),
        ("past its BAR's end", vec![(16, vec![1, 0, 0, 0])], |capability| ShmError::PastBarEnd {
            id: ShmId(0),
            capability,
            bar: 4,
            offset: 0x1_0010_0000,
            len: MIB,
            bar_len: 2 * MIB,
        }),
        ("over a structure", vec![(4, vec![2]), (8, vec![0; 4]), (12, vec![0, 0x10, 0, 0])], |_| {
            region(0, 0xfd00_0000, 0x1000).overlap(Neighbour::CommonConfig, 0xfd00_0000..0xfd00_1000)
        }),
    ];
    for (what, patches, error) in cases {
        // The list has region 1 first, and then region 0: both become id 0.
        let device = Device::new(Spec::new(26).with_region(0, 0x1_0000_0000, MIB).with_region(1, 0x1_0010_0000, MIB));
        let mut model = PciModel::with_vectors(&device, 0);
        let first = model.image()[0x34];
        model.patch(first + 5, &[0]);
        for (offset, bytes) in patches {
            model.patch(first + offset, &bytes);
        }
        let mut transport = model.open().expect("a device that can be driven");
        let good = region(0, 0x1_0000_0000, MIB);
        assert_eq!(transport.shm_region(id), Ok(Some(good)), "{what}");
        assert_eq!(regions(&mut transport), [Ok(good)], "{what}");
        assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::MalformedRegion(error(first))], "{what}");
        assert_eq!(device.mistakes(), [""; 0], "{what}");
    }
}

#[test]
fn of_malformed_regions_with_one_id_the_first_error_counts() {
    let device = Device::new(Spec::new(26).with_region(0, 0x1_0000_0000, MIB).with_region(1, 0x1_0010_0000, MIB));
    let mut model = PciModel::with_vectors(&device, 0);
    let first = model.image()[0x34];
    let second = model.image()[usize::from(first) + 1];
    model.patch(first + 5, &[0]);
    model.patch(first + 12, &[0; 4]);
    model.patch(second + 4, &[6]);
    let mut transport = model.open().expect("a device that can be driven");
    let zero = ShmError::ZeroLength { id: ShmId(0), addr: 0x10_0000 };
    let bar = ShmError::Bar { id: ShmId(0), capability: second, bar: 6, fault: BarFault::NoSuchBar };
    assert_eq!(transport.shm_region(ShmId(0)), Err(zero));
    assert_eq!(regions(&mut transport), [Err(zero)]);
    assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::MalformedRegion(zero), &Note::MalformedRegion(bar)]);
}

#[test]
fn structures_that_are_needed() {
    let outcome = |patches: &[(u8, &[u8])]| patched(patches).map(drop).expect_err("a malformed device");
    let cases = [
        (COMMON, Structure::CommonConfig, 16, 56u64, 4u64),
        (0x50, Structure::Isr, 16, 1, 1),
        (NOTIFY, Structure::Notify, 20, 2, 2),
    ];
    for (capability, structure, need, need_len, align) in cases {
        let wrap = |fault| PciError::Structure { capability, structure, fault };
        // A type that the specification reserves.
        assert_eq!(outcome(&[(capability + 3, &[0x7f])]), PciError::Missing { structure });
        let cap_len = need - 1;
        assert_eq!(
            outcome(&[(capability + 2, &[cap_len])]),
            wrap(StructureFault::CapabilityTooShort { cap_len, need })
        );
        assert_eq!(
            outcome(&[(capability + 4, &[6])]),
            wrap(StructureFault::Bar { bar: 6, fault: BarFault::NoSuchBar })
        );
        assert_eq!(
            outcome(&[(capability + 4, &[0])]),
            wrap(StructureFault::Bar { bar: 0, fault: BarFault::Unimplemented })
        );
        let len = need_len - 1;
        assert_eq!(
            outcome(&[(capability + 12, &word(len as u32))]),
            wrap(StructureFault::TooShort { len, need: need_len })
        );
        if align > 1 {
            assert_eq!(outcome(&[(capability + 8, &word(1))]), wrap(StructureFault::Unaligned { offset: 1, align }));
        }
        // virtio-drivers adds these in 32 bits.
        assert_eq!(
            outcome(&[(capability + 8, &word(0xffff_f000))]),
            wrap(StructureFault::PastBarEnd { bar: 2, offset: 0xffff_f000, len: 0x1000, bar_len: 0x4000 })
        );
    }
    assert_eq!(outcome(&[(NOTIFY + 16, &word(3))]), PciError::NotifyMultiplier { capability: NOTIFY, multiplier: 3 });
    assert_eq!(
        outcome(&[(NOTIFY + 8, &word(0x1ffe))]),
        PciError::Overlap {
            structure: Structure::Isr,
            addr: 0xfd00_1000,
            len: 0x1000,
            other: Structure::Notify,
            other_addr: 0xfd00_1ffe,
            other_len: 0x1000
        }
    );
}

#[test]
fn the_device_configuration_is_not_needed() {
    let transport = patched(&[(DEVICE + 8, &word(2))]).expect("a device that can be driven");
    let error = PciError::Structure {
        capability: DEVICE,
        structure: Structure::DeviceConfig,
        fault: StructureFault::Unaligned { offset: 2, align: 4 },
    };
    assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::Skipped(error)]);
    assert_eq!(transport.read_config_space::<u32>(0), Err(ConfigError::Missing));
}

#[test]
fn the_first_usable_structure_is_taken() {
    // QEMU with `modern-pio-notify=on` offers notification in I/O space first.
    let more: &[(u8, &[u8])] = &[
        (0x34, &[0xc0]),
        (0xc0, &[9, SHM, 20, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]),
        (0x10, &word(0xc041)),
    ];
    let transport = patched(more).expect("a good device");
    let error = PciError::Structure {
        capability: 0xc0,
        structure: Structure::Notify,
        fault: StructureFault::Bar { bar: 0, fault: BarFault::Io },
    };
    assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::Skipped(error)]);
    // Of two usable ones the first counts.
    let (_, mut model) = file_system();
    for (offset, bytes) in more {
        model.patch(*offset, bytes);
    }
    model.patch(0xc4, &[4]);
    model.patch(SHM_OFFSET, &word(0x1000));
    model.patch(SHM_LEN, &word(0x1000));
    let transport = model.open().expect("a good device");
    assert_eq!(transport.notes().count(), 0);
    assert!(model.mapped().contains(&(0xf800_0000..0xf800_0004)));
}

#[test]
fn msix_that_cannot_be_used() {
    let no_msix = |patches: &[(u8, &[u8])], expected: PciError| {
        let transport = patched(patches).expect("a device that can be driven");
        assert_eq!(transport.notes().collect::<Vec<_>>(), [&Note::NoMsix(expected)]);
        assert_eq!(transport.msix_vectors(), 0);
    };
    let wrap = |structure, fault| PciError::Structure { capability: MSIX, structure, fault };
    no_msix(
        &[(MSIX + 4, &[7])],
        wrap(Structure::MsixTable, StructureFault::Bar { bar: 7, fault: BarFault::NoSuchBar }),
    );
    no_msix(
        &[(MSIX + 2, &[0xff, 0x07])],
        wrap(Structure::MsixTable, StructureFault::PastBarEnd { bar: 1, offset: 0, len: 2048 * 16, bar_len: 0x1000 }),
    );
    no_msix(
        &[(MSIX + 8, &word(0x1001))],
        wrap(Structure::MsixPba, StructureFault::PastBarEnd { bar: 1, offset: 0x1000, len: 8, bar_len: 0x1000 }),
    );
    no_msix(
        &[(MSIX + 8, &word(0x0009))],
        PciError::Overlap {
            structure: Structure::MsixPba,
            addr: 0xfebd_5008,
            len: 8,
            other: Structure::MsixTable,
            other_addr: 0xfebd_5000,
            other_len: 16,
        },
    );
    no_msix(
        &[(MSIX + 4, &word(0x1002))],
        PciError::Overlap {
            structure: Structure::MsixTable,
            addr: 0xfd00_1000,
            len: 16,
            other: Structure::Isr,
            other_addr: 0xfd00_1000,
            other_len: 0x1000,
        },
    );
}

#[test]
fn notes_beyond_those_kept_are_counted() {
    let (_, mut model) = file_system();
    // Ten shared-memory capabilities of four bytes, which have no id.
    for (index, offset) in (0xc0..0xe8u8).step_by(4).enumerate() {
        let next = if index == 9 { SHM } else { offset + 4 };
        model.patch(offset, &[9, next, 4, 8]);
    }
    model.patch(0x34, &[0xc0]);
    let mut transport = model.open().expect("a device that can be driven");
    assert_eq!(transport.notes().count(), 8);
    assert_eq!(transport.notes_dropped(), 2);
    // Malformed ones, however many, don't keep a good one out.
    assert_eq!(transport.shm_region(ShmId(0)), Ok(Some(region(0, 0xf800_0000, 64 * MIB))));
    let error = ShmError::CapabilityTooShort { capability: 0xc0, cap_len: 4, need: 24 };
    assert_eq!(transport.shm_region(ShmId(1)), Err(error));
    assert_eq!(regions(&mut transport), [Ok(region(0, 0xf800_0000, 64 * MIB)), Err(error)]);
}
