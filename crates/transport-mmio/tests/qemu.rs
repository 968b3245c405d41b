//! The transport against QEMU's devices, with no guest.

use std::{cell::RefCell, rc::Rc};

use transport_mmio::{MmioError, MmioTransport};
use virtio_shm::{ShmId, ShmTransport};
use virtio_transport::{
    Transport,
    qtest::{Qemu, Remote, USED, bring_up},
};

/// The first of the places of virtio-mmio devices in a microvm, and how far apart and how many they are.
const PLACES: u64 = 0xfeb0_0000;
const PLACE: usize = 0x200;
const COUNT: u64 = 24;

fn open_mmio(qemu: &Rc<RefCell<Qemu>>, place: u64) -> Result<MmioTransport<Remote>, MmioError> {
    MmioTransport::new(Remote { qemu: qemu.clone(), base: PLACES + place * PLACE as u64, size: PLACE })
}

#[test]
fn requests_and_interrupts_over_mmio() {
    let modern = "virtio-mmio.force-legacy=false";
    let machine = ["-M", "microvm,accel=qtest", "-global", modern, "-device", "virtio-rng-device"];
    let Some(qemu) = Qemu::start(&machine) else { return };
    let mut found = Vec::new();
    for place in 0..COUNT {
        match open_mmio(&qemu, place) {
            Ok(transport) => found.push(transport),
            Err(error) => assert_eq!(error, MmioError::NoDevice),
        }
    }
    let [transport] = &mut found[..] else { panic!("{} devices", found.len()) };
    assert_eq!(transport.device_id(), 4);
    // QEMU has no shared memory over MMIO.
    assert_eq!(transport.shm_region(ShmId(0)), Ok(None));
    transport.for_each_shm_region(&mut |region| panic!("{region:?}"));
    for round in 1..=2 {
        bring_up(transport);
        qemu.borrow_mut().offer_buffer(1);
        transport.notify(0);
        qemu.borrow_mut().wait_for('w', USED + 2, 1);
        assert_eq!(transport.ack_interrupt().bits(), 1, "round {round}");
        assert_eq!(transport.ack_interrupt().bits(), 0, "round {round}");
        transport.queue_unset(0);
        assert!(!transport.queue_used(0), "round {round}");
        qemu.borrow_mut().write_memory(USED, &[(0, 0, 'q')]);
    }
}

#[test]
fn a_legacy_mmio_device_is_refused() {
    let machine = ["-M", "microvm,accel=qtest", "-global", "virtio-mmio.force-legacy=true", "-device"];
    let Some(qemu) = Qemu::start(&[&machine[..], &["virtio-rng-device"]].concat()) else { return };
    let outcomes: Vec<_> = (0..COUNT).map(|place| open_mmio(&qemu, place).map(drop)).collect();
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Err(MmioError::Legacy)).count(), 1);
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Err(MmioError::NoDevice)).count(), COUNT as usize - 1);
}
