//! The transport against QEMU's devices, with no guest.

use std::{cell::RefCell, rc::Rc};

use transport_pci::{MsixMessage, PciError, PciTransport, QueueVectors, Structure, StructureFault};
use virtio_drivers::transport::pci::bus::{self, DeviceFunction, PciRoot};
use virtio_shm::{BarFault, ShmId, ShmRegion, ShmTransport};
use virtio_transport::{
    ConfigSpace, ConfigurationAccess, PciFunction, Transport,
    qtest::{AVAILABLE, MESSAGE, Qemu, Remote, USED, bring_up},
};

/// Configuration space by ports 0xcf8 and 0xcfc.
#[derive(Clone)]
struct Ports(Rc<RefCell<Qemu>>);

impl Ports {
    /// Selects the word around `offset`; returns the port of the byte at `offset`.
    fn select(&self, function: PciFunction, offset: u8) -> u16 {
        let PciFunction { bus, device, function } = function;
        let address = 1 << 31
            | u32::from(bus) << 16
            | u32::from(device) << 11
            | u32::from(function) << 8
            | u32::from(offset & !3);
        self.0.borrow_mut().command(&format!("outl 0xcf8 {address:#x}"));
        0xcfc + u16::from(offset & 3)
    }
}

impl ConfigurationAccess for Ports {
    fn read8(&self, function: PciFunction, offset: u8) -> u8 {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("inb {port:#x}")) as u8
    }

    fn read16(&self, function: PciFunction, offset: u8) -> u16 {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("inw {port:#x}")) as u16
    }

    fn read32(&self, function: PciFunction, offset: u8) -> u32 {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("inl {port:#x}")) as u32
    }

    fn write8(&mut self, function: PciFunction, offset: u8, value: u8) {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("outb {port:#x} {value:#x}"));
    }

    fn write16(&mut self, function: PciFunction, offset: u8, value: u16) {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("outw {port:#x} {value:#x}"));
    }

    fn write32(&mut self, function: PciFunction, offset: u8, value: u32) {
        let port = self.select(function, offset);
        self.0.borrow_mut().command(&format!("outl {port:#x} {value:#x}"));
    }
}

impl bus::ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.read32(function.into(), offset)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        self.write32(function.into(), offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}

fn function(device: u8) -> PciFunction {
    PciFunction { bus: 0, device, function: 0 }
}

fn open(qemu: &Rc<RefCell<Qemu>>, device: u8) -> Result<PciTransport<Remote>, PciError> {
    let map = |_, base, size| Ok(Remote { qemu: qemu.clone(), base, size });
    PciTransport::with_mapper(&mut Ports(qemu.clone()), function(device), 1000, map)
}

/// Gives the BARs of a device addresses, as firmware does: those of 64 bits far up.
fn assign_bars(qemu: &Rc<RefCell<Qemu>>, device: u8) {
    let mut root = PciRoot::new(Ports(qemu.clone()));
    let bars = root.bars(function(device).into()).expect("QEMU's BARs are good");
    let (mut low, mut high) = (0xe000_0000 + (u64::from(device) << 20), 0x80_0000_0000);
    for (index, bar) in bars.iter().enumerate() {
        let Some((_, size)) = bar.as_ref().and_then(|bar| bar.memory_address_size()) else { continue };
        let next = if bar.as_ref().is_some_and(|bar| bar.takes_two_entries()) { &mut high } else { &mut low };
        let address = next.next_multiple_of(size);
        *next = address + size;
        match bar.as_ref().is_some_and(|bar| bar.takes_two_entries()) {
            true => root.set_bar_64(function(device).into(), index as u8, address),
            false => root.set_bar_32(function(device).into(), index as u8, address as u32),
        }
    }
}

#[test]
fn gpu_host_memory() {
    for (size, len) in [("256M", 256 << 20), ("8G", 8 << 30)] {
        let gpu = format!("virtio-gpu-pci,hostmem={size},addr=3");
        let Some(qemu) = Qemu::start(&["-M", "q35,accel=qtest", "-device", &gpu]) else { return };
        // There is no firmware here.
        let unassigned = StructureFault::Bar { bar: 2, fault: BarFault::Unassigned };
        assert!(matches!(
            open(&qemu, 3).map(drop),
            Err(PciError::Structure { structure: Structure::CommonConfig, fault, .. }) if fault == unassigned
        ));
        assign_bars(&qemu, 3);
        let mut transport = open(&qemu, 3).expect("a good device");
        assert_eq!(transport.device_id(), 16);
        assert_eq!(transport.notes().count(), 0);
        let mut found = Vec::new();
        transport.for_each_shm_region(&mut |region| found.push(region));
        let [Ok(region)] = found[..] else { panic!("{found:?}") };
        assert_eq!(region, ShmRegion::new(ShmId::GPU_HOST_VISIBLE, region.addr(), len).expect("a good region"));
        assert!(region.addr() >= 0x80_0000_0000);
        assert_eq!(transport.shm_region(ShmId(0)), Ok(None));
        // virtio_gpu_config: one scanout.
        assert_eq!(transport.read_consistent(|| transport.read_config_space::<u32>(8)), Ok(1));
        bring_up(&mut transport);
        transport.reset().expect("it resets");
        assert!(transport.get_status().is_empty());
        assert!(!transport.queue_used(0));
    }
}

#[test]
fn requests_and_interrupts_over_pci() {
    let machine = ["-M", "q35,accel=qtest", "-device", "virtio-rng-pci,disable-legacy=on,addr=5"];
    let Some(qemu) = Qemu::start(&machine) else { return };
    assign_bars(&qemu, 5);
    let mut transport = open(&qemu, 5).expect("a good device");
    assert_eq!(transport.device_id(), 4);

    // The message goes to memory, where it can be seen.
    transport.set_msix_message(0, MsixMessage { address: MESSAGE, data: 0x1234 }).expect("there is a vector");
    transport.assign_vectors(None, QueueVectors::Shared(0)).expect("there is a vector");
    transport.enable_msix(&mut Ports(qemu.clone())).expect("there is MSI-X");
    bring_up(&mut transport);
    qemu.borrow_mut().offer_buffer(1);
    transport.notify(0);
    qemu.borrow_mut().wait_for('w', USED + 2, 1);
    qemu.borrow_mut().wait_for('l', MESSAGE, 0x1234);

    // What comes while the vector is masked is delivered when it no longer is.
    qemu.borrow_mut().write_memory(MESSAGE, &[(0, 0, 'l')]);
    transport.mask_msix(0, true).expect("there is a vector");
    qemu.borrow_mut().offer_buffer(2);
    transport.notify(0);
    qemu.borrow_mut().wait_for('w', USED + 2, 2);
    assert_eq!(qemu.borrow_mut().command(&format!("readl {MESSAGE:#x}")), 0);
    transport.mask_msix(0, false).expect("there is a vector");
    qemu.borrow_mut().wait_for('l', MESSAGE, 0x1234);

    // Without MSI-X there is the interrupt status.
    transport.disable_msix(&mut Ports(qemu.clone())).expect("there is MSI-X");
    transport.assign_vectors(None, QueueVectors::None).expect("always possible");
    qemu.borrow_mut().write_memory(USED, &[(0, 0, 'q')]);
    qemu.borrow_mut().write_memory(AVAILABLE, &[(0, 0, 'q')]);
    bring_up(&mut transport);
    qemu.borrow_mut().offer_buffer(1);
    transport.notify(0);
    qemu.borrow_mut().wait_for('w', USED + 2, 1);
    assert_eq!(transport.ack_interrupt().bits(), 1);
    assert_eq!(transport.ack_interrupt().bits(), 0);
}

#[test]
fn a_transitional_device_is_refused() {
    let machine = ["-M", "q35,accel=qtest", "-device", "virtio-rng-pci,disable-legacy=off,addr=5"];
    let Some(qemu) = Qemu::start(&machine) else { return };
    assign_bars(&qemu, 5);
    assert_eq!(open(&qemu, 5).map(drop), Err(PciError::Transitional { device: 0x1005 }));
    assert_eq!(open(&qemu, 6).map(drop), Err(PciError::NoFunction));
}
