//! The transport against a device that obeys the specification to the letter, and against one that breaks it in one
//! point. Tests are named after the clause of virtio 1.3.

use transport_mmio::{MAX_REGIONS, MmioError, MmioTransport, model::MmioModel};
use virtio_shm::{FixedRegions, Neighbour, ShmError, ShmId, ShmRegion, ShmTransport, WithFixedRegions};
use virtio_transport::{
    DeviceStatus, Transport, conformance,
    conformance::{Subject, VERSION_1, clean, negotiate},
    model::{Device, Manners, Spec},
    sequence::ResetTimeout,
};

struct Mmio;

fn timeout(error: MmioError) -> ResetTimeout {
    match error {
        MmioError::Reset { status, polls } => ResetTimeout { status, polls },
        other => panic!("{other}"),
    }
}

impl Subject for Mmio {
    type Transport = MmioTransport<MmioModel>;

    // The tag and the number of request queues: the model's register block ends there.
    const CONFIG_LEN: usize = 40;
    const STOPS_QUEUES: bool = true;

    fn open(device: &Device) -> Self::Transport {
        MmioTransport::new(MmioModel::new(device)).expect("a good device")
    }

    fn set_poll_limit(transport: &mut Self::Transport, polls: u32) {
        transport.set_poll_limit(polls);
    }

    fn reset(transport: &mut Self::Transport) -> Result<(), ResetTimeout> {
        transport.reset().map_err(timeout)
    }

    fn reset_while(
        transport: &mut Self::Transport,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<(), ResetTimeout> {
        transport.reset_while(keep_waiting).map_err(timeout)
    }
}

conformance!(Mmio);

fn new(spec: Spec) -> (Device, MmioTransport<MmioModel>) {
    let device = Device::new(spec);
    let transport = Mmio::open(&device);
    (device, transport)
}

#[test]
fn s_4_2_2_identification() {
    let model = |change: fn(&mut MmioModel), spec: Spec| {
        let device = Device::new(spec);
        let mut model = MmioModel::new(&device);
        change(&mut model);
        let outcome = MmioTransport::new(model).map(drop);
        clean(&device);
        outcome
    };
    let spec = || Spec::file_system("tag", 1);
    assert_eq!(model(|_| {}, spec()), Ok(()));
    assert_eq!(model(|m| m.magic = 0xffff_ffff, spec()), Err(MmioError::BadMagic { magic: 0xffff_ffff }));
    assert_eq!(model(|m| m.version = 1, spec()), Err(MmioError::Legacy));
    assert_eq!(model(|m| m.version = 3, spec()), Err(MmioError::UnknownVersion { version: 3 }));
    assert_eq!(model(|m| m.version = 1, Spec::new(0)), Err(MmioError::NoDevice));
    assert_eq!(model(|_| {}, Spec::new(0)), Err(MmioError::NoDevice));
}

#[test]
fn nothing_is_written_before_the_driver_asks() {
    let device = Device::new(Spec::new(26));
    let transport = MmioTransport::new(MmioModel::new(&device)).expect("a good device");
    assert_eq!(device.resets(), 0);
    drop(transport);
    assert_eq!(device.resets(), 0);
    let mut transport = MmioTransport::new(MmioModel::new(&device)).expect("a good device");
    transport.set_status(DeviceStatus::ACKNOWLEDGE);
    drop(transport);
    assert_eq!(device.resets(), 1);
    clean(&device);
}

#[test]
fn s_5_device_ids_of_16_bits() {
    let (device, transport) = new(Spec::new(u16::MAX));
    assert_eq!(transport.device_id(), u16::MAX);
    clean(&device);
}

#[test]
fn s_4_2_2_2_a_queue_stop_is_waited_for_but_not_for_ever() {
    let slow = Manners { stop_reads: 100, ..Manners::default() };
    let (device, mut transport) = new(Spec::file_system("tag", 1).with_manners(slow));
    negotiate(&mut transport, VERSION_1);
    transport.queue_set(0, 8, 0x1000, 0x2000, 0x3000);
    transport.stop_queue(0).expect("it stops after a while");
    transport.set_poll_limit(50);
    transport.queue_set(1, 8, 0x1000, 0x2000, 0x3000);
    assert_eq!(transport.stop_queue(1), Err(MmioError::QueueStop { queue: 1, polls: 50 }));
    assert!(transport.queue_used(1), "a failed stop shows");
    clean(&device);
}

#[test]
fn the_model_sees_mistakes() {
    let (device, mut transport) = new(Spec::file_system("tag", 1));
    transport.notify(0);
    transport.queue_set(0, 100, 0x1008, 0x2001, 0x3002);
    transport.write_driver_features(1);
    transport.set_status(DeviceStatus::DRIVER);
    transport.set_status(DeviceStatus::DEVICE_NEEDS_RESET);
    let mistakes = device.mistakes();
    assert!(mistakes[0].starts_with("notification of queue 0"), "{mistakes:?}");
    for part in ["size 100", "at 0x1008", "at 0x2001", "at 0x3002", "features written", "out of order", "go one"] {
        assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{part}: {mistakes:?}");
    }
}

fn regions(transport: &mut impl ShmTransport) -> Vec<Result<ShmRegion, ShmError>> {
    let mut found = Vec::new();
    transport.for_each_shm_region(&mut |region| found.push(region));
    found
}

fn region(id: u8, addr: u64, len: u64) -> ShmRegion {
    ShmRegion::new(ShmId(id), addr, len).expect("a good region")
}

#[test]
fn s_2_10_absent_regions_are_told_by_their_length() {
    for absent_base in [u64::MAX, 0, 0x1000] {
        let manners = Manners { absent_base, ..Manners::default() };
        let (device, mut transport) = new(Spec::new(26).with_manners(manners));
        assert_eq!(transport.shm_region(ShmId::FS_DAX_WINDOW), Ok(None));
        assert_eq!(regions(&mut transport), []);
        clean(&device);
    }
}

#[test]
fn s_2_10_several_regions_above_4_gib() {
    let spec = Spec::new(26)
        .with_region(0, 0x12_3456_7000, 8 << 30)
        .with_region(7, 0x1000, 0x1000)
        .with_region(255, 0x3000, 0x2000);
    let (device, mut transport) = new(spec);
    assert_eq!(transport.shm_region(ShmId(0)), Ok(Some(region(0, 0x12_3456_7000, 8 << 30))));
    assert_eq!(transport.shm_region(ShmId(1)), Ok(None));
    assert_eq!(
        regions(&mut transport),
        [Ok(region(0, 0x12_3456_7000, 8 << 30)), Ok(region(7, 0x1000, 0x1000)), Ok(region(255, 0x3000, 0x2000))]
    );
    clean(&device);
}

#[test]
fn s_2_10_ids_with_one_base_are_one_region() {
    let spec = Spec::new(26).with_region(0, 0x10_0000, 0x1000).with_region(1, 0x10_0000, 0x1000);
    let (_, mut transport) = new(spec);
    assert_eq!(regions(&mut transport), [Ok(region(0, 0x10_0000, 0x1000))]);
}

#[test]
fn s_2_10_malformed_regions() {
    let spec = Spec::new(26)
        .with_region(0, 0x1000, 0)
        .with_region(1, u64::MAX - 0xfff, 0x1000)
        .with_region(2, 0x10_0000, 0x2000)
        .with_region(3, 0x10_1000, 0x1000)
        .with_region(4, 0x10_2000, 0x1000);
    let (device, mut transport) = new(spec);
    let zero = ShmError::ZeroLength { id: ShmId(0), addr: 0x1000 };
    let overflow = ShmError::AddressOverflow { id: ShmId(1), addr: u64::MAX - 0xfff, len: 0x1000 };
    assert_eq!(transport.shm_region(ShmId(0)), Err(zero));
    assert_eq!(transport.shm_region(ShmId(1)), Err(overflow));
    let overlap = region(3, 0x10_1000, 0x1000).overlap(Neighbour::Region(ShmId(2)), 0x10_0000..0x10_2000);
    assert_eq!(
        regions(&mut transport),
        [Err(zero), Err(overflow), Ok(region(2, 0x10_0000, 0x2000)), Err(overlap), Ok(region(4, 0x10_2000, 0x1000))]
    );
    clean(&device);
}

#[test]
fn s_2_10_more_regions_than_are_kept() {
    let spec = (0..=255).fold(Spec::new(26), |spec, id| spec.with_region(id, u64::from(id) << 20, 4096));
    let (_, mut transport) = new(spec);
    let found = regions(&mut transport);
    assert_eq!(found.len(), MAX_REGIONS + 1);
    assert!(found[..MAX_REGIONS].iter().all(Result::is_ok));
    assert_eq!(found[MAX_REGIONS], Err(ShmError::TooManyRegions { id: ShmId(MAX_REGIONS as u8), limit: MAX_REGIONS }));
}

#[test]
fn fixed_regions_win() {
    let fixed = FixedRegions::new([region(0, 0x10_0000, 0x1000)]).expect("good regions");
    let spec = Spec::file_system("tag", 1)
        .with_region(0, 0x5000, 0x1000)
        .with_region(1, 0x10_0000, 0x1000)
        .with_region(2, 0x7000, 0x1000);
    let (device, transport) = new(spec);
    let mut transport = WithFixedRegions::new(transport, fixed);
    assert_eq!(transport.shm_region(ShmId(0)), Ok(Some(region(0, 0x10_0000, 0x1000))));
    assert!(matches!(transport.shm_region(ShmId(1)), Err(ShmError::Overlap { .. })));
    let found = regions(&mut transport);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], Ok(region(0, 0x10_0000, 0x1000)));
    assert_eq!(found[2], Ok(region(2, 0x7000, 0x1000)));
    // It is a transport as before.
    negotiate(&mut transport, VERSION_1);
    assert_eq!(transport.max_queue_size(1), 128);
    assert_eq!(Transport::device_id(&transport), 26);
    clean(&device);
}
