//! The transport as drivers of virtio-drivers see it, by the adaptor.

use transport_mmio::{MmioTransport, model::MmioModel};
use virtio_drivers::{
    Error,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use virtio_shm::{FixedRegions, ShmId, ShmRegion, ShmTransport, WithFixedRegions};
use virtio_transport::{
    ConfigError, ConfigSpace,
    conformance::{clean, negotiate},
    model::{Device, Manners, Spec},
    virtio_drivers_0_13::{ForDrivers, FromDrivers},
};

const VERSION_1: u64 = 1 << 32;

fn new(spec: Spec) -> (Device, ForDrivers<MmioTransport<MmioModel>>) {
    let device = Device::new(spec);
    let transport = MmioTransport::new(MmioModel::new(&device)).expect("a good device");
    (device, ForDrivers(transport))
}

#[test]
fn device_ids_beyond_those_virtio_drivers_knows() {
    for (id, kind) in [
        (26, DeviceType::SignalDistributionModule),
        (16, DeviceType::GPU),
        (u16::MAX, DeviceType::SignalDistributionModule),
    ] {
        let (device, transport) = new(Spec::new(id));
        assert_eq!(transport.device_type(), kind);
        clean(&device);
    }
}

#[test]
fn a_driver_sets_several_status_bits_at_once() {
    let (device, mut transport) = new(Spec::file_system("tag", 1));
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.read_device_features(), VERSION_1);
    transport.write_driver_features(VERSION_1);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
    assert_eq!(transport.max_queue_size(1), 128);
    transport.queue_set(1, 64, 0x1000, 0x2000, 0x3000);
    assert!(transport.queue_used(1));
    transport.finish_init();
    assert_eq!(transport.get_status().bits(), 15);
    transport.notify(1);
    device.interrupt(3);
    assert_eq!(transport.ack_interrupt().bits(), InterruptStatus::all().bits());
    transport.queue_unset(1);
    assert!(!transport.queue_used(1));
    clean(&device);
}

#[test]
fn the_configuration() {
    let (device, mut transport) = new(Spec::file_system("a tag", 3));
    assert_eq!(transport.read_config_space::<u32>(36), Ok(3));
    transport.write_config_space(36, 0x0102_0304u32).expect("inside");
    assert_eq!(device.config()[36..], [4, 3, 2, 1]);
    assert_eq!(transport.read_config_space::<u32>(40), Err(Error::ConfigSpaceTooSmall));
    assert_eq!(transport.write_config_space(1, 0u16), Err(Error::InvalidParam));
    let refused = || -> Result<u8, Error> { Err(Error::Unsupported) };
    assert_eq!(transport.read_consistent(refused), Err(Error::Unsupported));
    clean(&device);

    let never = Manners { config_changes: u32::MAX, ..Manners::default() };
    let (_, transport) = new(Spec::file_system("tag", 3).with_manners(never));
    assert_eq!(transport.read_consistent(|| transport.read_config_space::<u32>(36)), Err(Error::NotReady));
}

#[test]
fn there_and_back_again() {
    let (device, transport) = new(Spec::file_system("tag", 3));
    let window = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0x1_0000_0000, 1 << 30).expect("a good region");
    let fixed = FixedRegions::new([window]).expect("one region");
    let mut transport = WithFixedRegions::new(FromDrivers::new(transport, 26), fixed);
    negotiate(&mut transport, VERSION_1);
    assert_eq!(virtio_transport::Transport::device_id(&transport), 26);
    assert_eq!(transport.shm_region(ShmId::FS_DAX_WINDOW), Ok(Some(window)));
    assert_eq!(transport.shm_region(ShmId(1)), Ok(None));
    assert_eq!(ConfigSpace::read_config_space::<u32>(&transport, 36), Ok(3));
    assert_eq!(ConfigSpace::read_config_space::<u64>(&transport, 32), Ok(3 << 32));
    ConfigSpace::write_config_space(&mut transport, 34, 0xabcdu16).expect("inside");
    assert_eq!(device.config()[34..36], [0xcd, 0xab]);
    let outside = ConfigError::Outside { offset: 40, len: 4, size: 0 };
    assert_eq!(ConfigSpace::read_config_space::<u32>(&transport, 40), Err(outside));
    clean(&device);
}
