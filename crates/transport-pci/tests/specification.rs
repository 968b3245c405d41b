//! The transport against a device that obeys the specification to the letter, and against one that breaks it in one
//! point. Tests are named after the clause of virtio 1.3, or of PCI 3.0.

use transport_pci::{
    MsixMessage, PciError, PciTransport, QueueVectors,
    model::{FUNCTION, PciModel, StructureModel},
};
use virtio_transport::{
    ConfigError, ConfigSpace, ConfigurationAccess, DeviceStatus, Transport, conformance,
    conformance::{Subject, VERSION_1, clean, negotiate},
    model::{Device, Manners, Spec},
    sequence::ResetTimeout,
};

struct Pci;

fn timeout(error: PciError) -> ResetTimeout {
    match error {
        PciError::Reset { status, polls } => ResetTimeout { status: status.into(), polls },
        other => panic!("{other}"),
    }
}

impl Subject for Pci {
    type Transport = PciTransport<StructureModel>;

    // The model's structure, whatever the device makes of it.
    const CONFIG_LEN: usize = 0x1000;
    const STOPS_QUEUES: bool = false;

    fn open(device: &Device) -> Self::Transport {
        PciModel::new(device).open().expect("a good device")
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

conformance!(Pci);

fn new(spec: Spec) -> (Device, PciModel, PciTransport<StructureModel>) {
    let device = Device::new(spec);
    let mut model = PciModel::with_vectors(&device, 3);
    let transport = model.open().expect("a good device");
    (device, model, transport)
}

#[test]
fn a_device_in_use_is_reset_before_it_masters_the_bus() {
    let device = Device::new(Spec::file_system("tag", 1));
    let mut model = PciModel::new(&device);
    let mut transport = model.open().expect("a good device");
    negotiate(&mut transport, VERSION_1);
    transport.queue_set(0, 8, 0x1000, 0x2000, 0x3000);
    transport.finish_init();
    core::mem::forget(transport);
    // As after a change of kernels, without an end in between.
    let mut model = PciModel::from_image(&device, &model.image(), [0, 0x1000, 0x4000, 0, 0, 0]);
    model.patch(4, &[0, 0]);
    let transport = model.open().expect("a good device");
    assert_eq!(device.status(), 0);
    assert_eq!(device.queue(0).map(|queue| queue.ready), Some(false));
    drop(transport);
    clean(&device);

    let stuck = Device::new(Spec::new(26).with_manners(Manners { reset_reads: u32::MAX, ..Manners::default() }));
    stuck.set_status(1);
    let mut model = PciModel::new(&stuck);
    assert_eq!(model.open().map(drop), Err(PciError::Reset { status: 1, polls: 100 }));
    assert_eq!(model.image()[4] & 4, 0, "it is no bus master");
    clean(&stuck);
}

#[test]
fn s_4_1_4_4_a_queue_whose_place_of_notification_is_outside() {
    let device = Device::new(Spec { queues: vec![8; 1200], ..Spec::file_system("tag", 1) });
    let mut transport = PciModel::new(&device).open().expect("a good device");
    negotiate(&mut transport, VERSION_1);
    // 0x1000 bytes of it, four for each queue.
    assert_eq!(transport.check_queue(1023), Ok(8));
    let outside = PciError::QueueNotify { queue: 1024, offset: 0x1000, len: 0x1000 };
    assert_eq!(transport.check_queue(1024), Err(outside));
    assert_eq!(transport.max_queue_size(1024), 0);
    transport.queue_set(1024, 8, 0x1000, 0x2000, 0x3000);
    assert!(!transport.queue_used(1024));
    transport.queue_set(0, 0x1_0008, 0x1000, 0x2000, 0x3000);
    assert!(!transport.queue_used(0));
    transport.queue_set(1023, 8, 0x1000, 0x2000, 0x3000);
    transport.finish_init();
    transport.notify(1024);
    clean(&device);
    transport.notify(1023);
    clean(&device);
}

#[test]
fn s_4_1_4_6_a_device_without_configuration() {
    let (_, _, mut transport) = new(Spec::new(26));
    assert_eq!(transport.read_config_space::<u8>(0), Err(ConfigError::Missing));
    assert_eq!(transport.write_config_space(0, 0u8), Err(ConfigError::Missing));
}

#[test]
fn a_monitor_that_takes_16_bits_of_the_command_only() {
    let device = Device::new(Spec::file_system("tag", 1));
    let mut model = PciModel::new(&device);
    model.patch(4, &[0, 0]);
    model.ignore_wide_commands();
    let transport = model.open().expect("a good device");
    assert_eq!(model.image()[4] & 6, 6, "it decodes memory and masters the bus");
    drop(transport);
    clean(&device);
}

/// The bits of the MSI-X capability's message control that say "enabled" and "all masked".
fn msix_control(model: &PciModel) -> u8 {
    let image = model.image();
    let mut at = usize::from(image[0x34]);
    while image[at] != 0x11 {
        at = usize::from(image[at + 1]);
    }
    image[at + 3] & 0xc0
}

#[test]
fn s_4_1_5_1_2_msix() {
    let (device, mut model, mut transport) = new(Spec::file_system("tag", 2));
    assert_eq!(transport.msix_vectors(), 3);
    let message = |vector: u16| MsixMessage { address: 0x1_fee0_1000, data: 0x40 + u32::from(vector) };
    for vector in 0..3 {
        assert_eq!(model.msix_entry(vector), Some((0, 0, true)));
        transport.set_msix_message(vector, message(vector)).expect("there is one");
        assert_eq!(model.msix_entry(vector), Some((0x1_fee0_1000, 0x40 + u32::from(vector), false)));
    }
    // Changing one again goes by way of its mask.
    transport.set_msix_message(1, message(7)).expect("there is one");
    transport.mask_msix(1, true).expect("there is one");
    assert_eq!(model.msix_entry(1), Some((0x1_fee0_1000, 0x47, true)));
    transport.mask_msix(1, false).expect("there is one");
    assert_eq!(model.msix_entry(1), Some((0x1_fee0_1000, 0x47, false)));

    negotiate(&mut transport, VERSION_1);
    transport.set_config_vector(Some(0)).expect("there is one");
    transport.set_queue_vector(1, Some(2)).expect("there is one");
    assert_eq!(device.config_vector(), Some(0));
    assert_eq!(device.queue(1).and_then(|queue| queue.vector), Some(2));
    assert_eq!(device.queue(0).and_then(|queue| queue.vector), None);
    transport.set_queue_vector(1, None).expect("none is always possible");
    assert_eq!(device.queue(1).and_then(|queue| queue.vector), None);

    assert_eq!(msix_control(&model), 0);
    model.patch(model.image()[0x34] + 3, &[0x40]);
    transport.enable_msix(&mut model).expect("there is MSI-X");
    assert_eq!(msix_control(&model), 0x80);
    transport.disable_msix(&mut model).expect("there is MSI-X");
    assert_eq!(msix_control(&model), 0);

    let none = PciError::NoVector { vector: 3, vectors: 3 };
    assert_eq!(transport.set_msix_message(3, message(3)), Err(none));
    assert_eq!(transport.mask_msix(3, true), Err(none));
    assert_eq!(transport.set_config_vector(Some(3)), Err(none));
    assert_eq!(transport.set_queue_vector(0, Some(3)), Err(none));
    model.refuse_vectors();
    let refused = PciError::VectorRefused { vector: 1, answer: 0xffff };
    assert_eq!(transport.set_config_vector(Some(1)), Err(refused));
    assert_eq!(transport.set_queue_vector(0, Some(1)), Err(refused));
    clean(&device);
}

#[test]
fn s_4_1_5_1_2_vectors_that_stay_assigned() {
    let vectors = |device: &Device| {
        let queues = [0, 1, 2, 3].map(|queue| device.queue(queue).and_then(|queue| queue.vector));
        (device.config_vector(), queues)
    };
    let bring_up = |transport: &mut PciTransport<StructureModel>| {
        negotiate(transport, VERSION_1);
        for queue in 0..4 {
            transport.queue_set(queue, 8, 0x1000, 0x2000, 0x3000);
        }
        transport.finish_init();
    };
    let (device, model, mut transport) = new(Spec::file_system("tag", 3));
    bring_up(&mut transport);
    assert_eq!(vectors(&device), (None, [None; 4]));
    transport.assign_vectors(Some(0), QueueVectors::From(1)).expect("there are three");
    for _ in 0..2 {
        // As a driver does, which starts with a reset.
        bring_up(&mut transport);
        assert_eq!(vectors(&device), (Some(0), [Some(1), Some(2), Some(2), Some(2)]));
    }
    transport.assign_vectors(None, QueueVectors::Shared(2)).expect("there are three");
    bring_up(&mut transport);
    assert_eq!(vectors(&device), (None, [Some(2); 4]));
    let none = PciError::NoVector { vector: 3, vectors: 3 };
    assert_eq!(transport.assign_vectors(Some(3), QueueVectors::None), Err(none));
    assert_eq!(transport.assign_vectors(Some(0), QueueVectors::From(3)), Err(none));
    bring_up(&mut transport);
    assert_eq!(vectors(&device), (None, [Some(2); 4]));
    clean(&device);

    model.refuse_vectors();
    transport.assign_vectors(Some(0), QueueVectors::Shared(0)).expect("there are three");
    bring_up(&mut transport);
    assert!((0..4).all(|queue| !transport.queue_used(queue)));
    assert!(transport.get_status().contains(DeviceStatus::DRIVER_OK));
    clean(&device);
}

#[test]
fn no_msix() {
    let device = Device::new(Spec::file_system("tag", 2));
    let mut model = PciModel::with_vectors(&device, 0);
    let mut transport = model.open().expect("a good device");
    assert_eq!(transport.msix_vectors(), 0);
    let message = MsixMessage { address: 0xfee0_0000, data: 0x40 };
    assert_eq!(transport.set_msix_message(0, message), Err(PciError::NoMsix));
    assert_eq!(transport.mask_msix(0, true), Err(PciError::NoMsix));
    assert_eq!(transport.enable_msix(&mut model), Err(PciError::NoMsix));
    assert_eq!(transport.disable_msix(&mut model), Err(PciError::NoMsix));
    assert_eq!(transport.set_config_vector(Some(0)), Err(PciError::NoMsix));
    assert_eq!(transport.set_queue_vector(0, Some(0)), Err(PciError::NoMsix));
    transport.set_config_vector(None).expect("none is always possible");
    assert_eq!(transport.assign_vectors(None, QueueVectors::Shared(0)), Err(PciError::NoMsix));
    transport.assign_vectors(None, QueueVectors::None).expect("none is always possible");
    clean(&device);
}

#[test]
fn pci_6_2_2_the_interrupt_line() {
    let (device, mut model, mut transport) = new(Spec::file_system("tag", 2));
    let before = model.image();
    transport.set_line_enabled(&mut model, false);
    assert_eq!(model.image()[5], before[5] | 4);
    transport.set_line_enabled(&mut model, true);
    assert_eq!(model.image(), before);
    assert_eq!(transport.function(), FUNCTION);
    clean(&device);
}

#[test]
fn the_model_sees_mistakes() {
    let (device, model, mut transport) = new(Spec::file_system("tag", 1));
    transport.notify(0);
    transport.queue_set(0, 100, 0x1008, 0x2001, 0x3002);
    transport.write_driver_features(1);
    transport.set_status(DeviceStatus::DRIVER);
    let mut config = model;
    config.write32(FUNCTION, 0, 0);
    config.write32(FUNCTION, 0x20, 0);
    config.map(transport_pci::Structure::Isr, 0xfd00_1000, 1);
    config.map(transport_pci::Structure::Isr, 0x1000, 1);
    let mistakes = device.mistakes();
    for part in [
        "notification of queue 0",
        "size 100",
        "at 0x1008",
        "at 0x2001",
        "at 0x3002",
        "features written",
        "out of order",
        "written at 0x0 of",
        "while it is decoded",
        "where something else is",
        "in no BAR",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{part}: {mistakes:#?}");
    }
}
