//! Both transports against QEMU's devices, with no guest: QEMU's test protocol gives ports, memory and registers.
//!
//! `$QEMU` is the command, with arguments if need be: a `qemu-system-x86_64` of version 11. Without it the tests are
//! skipped, which their output says.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    rc::Rc,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use transport_mmio::{MmioError, MmioTransport, Registers};
use transport_pci::{MsixMessage, PciError, PciTransport, QueueVectors, Structure, StructureFault};
use virtio_drivers::transport::{
    DeviceStatus, Transport,
    pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot},
};
use virtio_shm::{BarFault, ShmId, ShmRegion, ShmTransport};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

const VERSION_1: u64 = 1 << 32;

/// Where in guest memory things are.
const MESSAGE: u64 = 0x10_0000;
const DESCRIPTORS: u64 = 0x20_0000;
const AVAILABLE: u64 = 0x20_1000;
const USED: u64 = 0x20_2000;
const BUFFER: u64 = 0x20_3000;

/// A QEMU that executes no instructions.
struct Qemu {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Qemu {
    /// Starts it, unless there is none.
    fn start(arguments: &[&str]) -> Option<Rc<RefCell<Self>>> {
        let Ok(command) = std::env::var("QEMU") else {
            println!("skipped: $QEMU is not set");
            return None;
        };
        let mut words = command.split_whitespace();
        let mut child = Command::new(words.next().expect("a command"))
            .args(words)
            .args(["-m", "64", "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // Ends with QEMU, or with the test.
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Some(Rc::new(RefCell::new(Self { child, input, answers })))
    }

    fn command(&mut self, command: &str) -> u64 {
        writeln!(self.input, "{command}").expect("QEMU listens");
        let answer = self.answers.recv_timeout(DEADLINE).expect("QEMU answers in time");
        let value = answer.strip_prefix("OK").unwrap_or_else(|| panic!("{command}: {answer}")).trim();
        u64::from_str_radix(value.trim_start_matches("0x"), 16).unwrap_or(0)
    }

    fn write_memory(&mut self, addr: u64, values: &[(u64, u64, char)]) {
        for (offset, value, width) in values {
            self.command(&format!("write{width} {:#x} {value:#x}", addr + offset));
        }
    }

    /// Offers the device a buffer of 64 bytes, the `count`th.
    fn offer_buffer(&mut self, count: u64) {
        self.write_memory(DESCRIPTORS, &[(0, BUFFER, 'q'), (8, 64, 'l'), (12, 2, 'w')]);
        self.write_memory(AVAILABLE, &[(4 + 2 * (count - 1), 0, 'w'), (2, count, 'w')]);
    }

    /// Waits until `addr` has this value.
    fn wait_for(&mut self, width: char, addr: u64, value: u64) {
        let deadline = Instant::now() + DEADLINE;
        while self.command(&format!("read{width} {addr:#x}")) != value {
            assert!(Instant::now() < deadline, "{addr:#x} doesn't become {value:#x}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Configuration space by ports 0xcf8 and 0xcfc.
#[derive(Clone)]
struct Ports(Rc<RefCell<Qemu>>);

impl Ports {
    fn select(&self, function: DeviceFunction, offset: u8) {
        let DeviceFunction { bus, device, function } = function;
        let address =
            1 << 31 | u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8 | u32::from(offset);
        self.0.borrow_mut().command(&format!("outl 0xcf8 {address:#x}"));
    }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.select(function, offset);
        self.0.borrow_mut().command("inl 0xcfc") as u32
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        self.select(function, offset);
        self.0.borrow_mut().command(&format!("outl 0xcfc {data:#x}"));
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}

/// Registers at a guest-physical address.
struct Remote {
    qemu: Rc<RefCell<Qemu>>,
    base: u64,
    size: usize,
}

impl Remote {
    fn read(&self, width: char, offset: usize) -> u64 {
        self.qemu.borrow_mut().command(&format!("read{width} {:#x}", self.base + offset as u64))
    }

    fn write(&self, width: char, offset: usize, value: u32) {
        self.qemu.borrow_mut().write_memory(self.base, &[(offset as u64, value.into(), width)]);
    }
}

impl Registers for Remote {
    fn size(&self) -> usize {
        self.size
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read('b', offset) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read('w', offset) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read('l', offset) as u32
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write('b', offset, value.into());
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write('w', offset, value.into());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write('l', offset, value);
    }
}

fn function(device: u8) -> DeviceFunction {
    DeviceFunction { bus: 0, device, function: 0 }
}

fn open(qemu: &Rc<RefCell<Qemu>>, device: u8) -> Result<PciTransport<Remote>, PciError> {
    let map = |_, base, size| Ok(Remote { qemu: qemu.clone(), base, size });
    PciTransport::with_mapper(&mut Ports(qemu.clone()), function(device), 1000, map)
}

/// Gives the BARs of a device addresses, as firmware does: those of 64 bits far up.
fn assign_bars(qemu: &Rc<RefCell<Qemu>>, device: u8) {
    let mut root = PciRoot::new(Ports(qemu.clone()));
    let bars = root.bars(function(device)).expect("QEMU's BARs are good");
    let (mut low, mut high) = (0xe000_0000 + (u64::from(device) << 20), 0x80_0000_0000);
    for (index, bar) in bars.iter().enumerate() {
        let Some((_, size)) = bar.as_ref().and_then(|bar| bar.memory_address_size()) else { continue };
        let next = if bar.as_ref().is_some_and(|bar| bar.takes_two_entries()) { &mut high } else { &mut low };
        let address = next.next_multiple_of(size);
        *next = address + size;
        match bar.as_ref().is_some_and(|bar| bar.takes_two_entries()) {
            true => root.set_bar_64(function(device), index as u8, address),
            false => root.set_bar_32(function(device), index as u8, address as u32),
        }
    }
}

/// The initialisation, with one queue of eight entries.
fn bring_up(transport: &mut impl Transport) {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(transport.read_device_features() & VERSION_1, VERSION_1);
    transport.write_driver_features(VERSION_1);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
    assert!(transport.get_status().contains(DeviceStatus::FEATURES_OK));
    assert_eq!(transport.max_queue_size(1000), 0);
    assert!(transport.max_queue_size(0) >= 8);
    assert!(!transport.queue_used(0));
    transport.queue_set(0, 8, DESCRIPTORS, AVAILABLE, USED);
    assert!(transport.queue_used(0));
    transport.finish_init();
    let running =
        DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK | DeviceStatus::DRIVER_OK;
    assert_eq!(transport.get_status(), running);
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

    // What comes while the vector is masked is told when it no longer is.
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
