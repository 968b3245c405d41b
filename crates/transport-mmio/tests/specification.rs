//! The transport against a device that obeys the specification to the letter, and against one that breaks it in one
//! point. Tests are named after the clause of virtio 1.3.

use transport_mmio::{
    MAX_REGIONS, MmioError, MmioTransport,
    model::{Area, Device, Manners, MmioModel, Spec},
};
use virtio_drivers::{
    Error,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use virtio_shm::{DeviceId, FixedRegions, Neighbour, ShmError, ShmId, ShmRegion, ShmTransport, WithFixedRegions};

const VERSION_1: u64 = 1 << 32;
const READY: DeviceStatus = DeviceStatus::ACKNOWLEDGE.union(DeviceStatus::DRIVER).union(DeviceStatus::FEATURES_OK);

fn new(spec: Spec) -> (Device, MmioTransport<MmioModel>) {
    let device = Device::new(spec);
    let transport = MmioTransport::new(MmioModel::new(&device)).expect("a good device");
    (device, transport)
}

fn clean(device: &Device) {
    assert_eq!(device.mistakes(), [""; 0]);
}

/// The initialisation up to FEATURES_OK, as virtio-drivers' drivers do it: several bits at once.
fn negotiate(transport: &mut impl Transport, features: u64) {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.read_device_features() & features, features);
    transport.write_driver_features(features);
    transport.set_status(READY);
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
fn s_5_device_ids_beyond_those_virtio_drivers_knows() {
    let (device, transport) = new(Spec::new(26));
    assert_eq!(transport.device_id(), 26);
    assert_eq!(DeviceId::device_id(&transport), 26);
    assert_eq!(transport.device_type(), DeviceType::SignalDistributionModule);
    clean(&device);
    let (_, transport) = new(Spec::new(16));
    assert_eq!(transport.device_type(), DeviceType::GPU);
    let (_, transport) = new(Spec::new(u16::MAX));
    assert_eq!(transport.device_type(), DeviceType::SignalDistributionModule);
}

#[test]
fn s_2_1_1_status_bits_go_one_at_a_time_and_stay() {
    let (device, mut transport) = new(Spec::new(26));
    negotiate(&mut transport, VERSION_1);
    assert_eq!(transport.get_status(), READY);
    transport.finish_init();
    assert_eq!(transport.get_status(), READY | DeviceStatus::DRIVER_OK);
    // Bits that the caller leaves out stay set.
    transport.set_status(DeviceStatus::FAILED);
    assert_eq!(transport.get_status(), READY | DeviceStatus::DRIVER_OK | DeviceStatus::FAILED);
    transport.reset().expect("the device resets");
    negotiate(&mut transport, VERSION_1);
    assert_eq!(device.driver_features(), VERSION_1);
    clean(&device);
}

#[test]
fn s_3_1_1_features_that_the_device_refuses() {
    let refuses = Manners { refuses_features: true, ..Manners::default() };
    let (device, mut transport) = new(Spec::new(26).with_manners(refuses));
    negotiate(&mut transport, VERSION_1);
    assert!(!transport.get_status().contains(DeviceStatus::FEATURES_OK));
    transport.finish_init();
    assert_eq!(transport.get_status(), DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FAILED);
    clean(&device);
}

#[test]
fn s_6_1_a_driver_without_version_1_is_refused() {
    let (device, mut transport) = new(Spec::new(26));
    negotiate(&mut transport, 0);
    assert!(!transport.get_status().contains(DeviceStatus::FEATURES_OK));
    clean(&device);
}

#[test]
fn s_4_2_2_1_a_reset_is_waited_for_but_not_for_ever() {
    let slow = Manners { reset_reads: 100, ..Manners::default() };
    let (device, mut transport) = new(Spec::new(26).with_manners(slow));
    negotiate(&mut transport, VERSION_1);
    transport.reset().expect("it resets after a while");
    negotiate(&mut transport, VERSION_1);
    transport.set_poll_limit(50);
    assert_eq!(transport.reset(), Err(MmioError::Reset { status: 0xb, polls: 50 }));
    clean(&device);

    let stuck = Manners { reset_reads: u32::MAX, ..Manners::default() };
    let (device, mut transport) = new(Spec::new(26).with_manners(stuck));
    negotiate(&mut transport, VERSION_1);
    let mut left = 7;
    let deadline = || {
        left -= 1;
        left > 0
    };
    assert_eq!(transport.reset_while(deadline), Err(MmioError::Reset { status: 0xb, polls: 7 }));
    transport.set_poll_limit(10);
    transport.set_status(DeviceStatus::empty());
    assert!(!transport.get_status().is_empty(), "a failed reset shows");
    clean(&device);
}

#[test]
fn s_4_2_3_2_queues() {
    let (device, mut transport) = new(Spec::file_system("tag", 1));
    negotiate(&mut transport, VERSION_1);
    assert_eq!(transport.max_queue_size(1), 128);
    assert_eq!(transport.max_queue_size(2), 0);
    assert!(!transport.queue_used(1));
    let addresses = [0x1_2345_6000, 0x2_3456_7010, 0xf_ffff_f004];
    transport.queue_set(1, 64, addresses[0], addresses[1], addresses[2]);
    assert!(transport.queue_used(1));
    assert!(!transport.queue_used(0));
    let queue = device.queue(1).expect("there is one");
    assert_eq!((queue.size, queue.areas, queue.ready), (64, addresses, true));
    assert_eq!(queue.areas[Area::Device as usize], addresses[2]);
    transport.finish_init();
    transport.notify(1);
    transport.queue_unset(1);
    assert!(!transport.queue_used(1));
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
fn s_2_9_notifications_reach_the_queue() {
    let (device, mut transport) = new(Spec::file_system("tag", 2));
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (teller, interrupter) = (told.clone(), device.clone());
    device.on_notify(move |queue| {
        teller.lock().expect("no panic").push(queue);
        interrupter.interrupt(1);
    });
    negotiate(&mut transport, VERSION_1);
    for queue in 0..3 {
        transport.queue_set(queue, 128, 0x1000, 0x2000, 0x3000);
    }
    transport.finish_init();
    for queue in [2, 0, 1, 1] {
        transport.notify(queue);
    }
    assert_eq!(*told.lock().expect("no panic"), [2, 0, 1, 1]);
    let pending = |transport: &mut MmioTransport<_>| transport.ack_interrupt().bits();
    assert_eq!(pending(&mut transport), InterruptStatus::QUEUE_INTERRUPT.bits());
    assert_eq!(device.pending(), 0);
    assert_eq!(pending(&mut transport), 0);
    device.interrupt(3);
    assert_eq!(pending(&mut transport), 3);
    assert_eq!(device.pending(), 0);
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

#[test]
fn s_2_5_configuration() {
    let (device, mut transport) = new(Spec::file_system("a tag", 3));
    let tag: [u8; 36] = transport.read_config_space(0).expect("there is a tag");
    assert!(tag.starts_with(b"a tag\0"));
    assert_eq!(transport.read_config_space::<u32>(36), Ok(3));
    assert_eq!(transport.read_config_space::<u16>(36), Ok(3));
    assert_eq!(transport.read_config_space::<u64>(32), Ok(3 << 32));
    transport.write_config_space(36, 0x0102_0304u32).expect("inside");
    transport.write_config_space(0, [b'b', b'c']).expect("inside");
    transport.write_config_space(34, 0xabcdu16).expect("inside");
    assert_eq!(device.config()[..2], *b"bc");
    assert_eq!(device.config()[34..], [0xcd, 0xab, 4, 3, 2, 1]);
    assert_eq!(transport.read_config_space::<u32>(40), Err(Error::ConfigSpaceTooSmall));
    assert_eq!(transport.read_config_space::<u32>(38), Err(Error::InvalidParam));
    assert_eq!(transport.read_config_space::<u64>(36), Err(Error::ConfigSpaceTooSmall));
    assert_eq!(transport.read_config_space::<u8>(usize::MAX), Err(Error::ConfigSpaceTooSmall));
    assert_eq!(transport.write_config_space(usize::MAX - 3, 0u32), Err(Error::ConfigSpaceTooSmall));
    assert_eq!(transport.write_config_space(1, 0u16), Err(Error::InvalidParam));
    clean(&device);
}

#[test]
fn s_2_5_1_a_configuration_that_changes_is_read_anew_but_not_for_ever() {
    let restless = Manners { config_changes: 5, ..Manners::default() };
    let (device, transport) = new(Spec::file_system("tag", 3).with_manners(restless));
    let reads = std::cell::Cell::new(0);
    let read = || {
        reads.set(reads.get() + 1);
        transport.read_config_space::<u32>(36)
    };
    assert_eq!(transport.read_consistent(read), Ok(3));
    assert_eq!(reads.get(), 3);
    clean(&device);

    let never = Manners { config_changes: u32::MAX, ..Manners::default() };
    let (device, transport) = new(Spec::file_system("tag", 3).with_manners(never));
    assert_eq!(transport.read_consistent(|| transport.read_config_space::<u32>(36)), Err(Error::NotReady));
    clean(&device);
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
    assert_eq!(DeviceId::device_id(&transport), 26);
    clean(&device);
}
