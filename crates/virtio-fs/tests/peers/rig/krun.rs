//! libkrun's virtio-fs device behind its own virtio-mmio registers.

use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex};

use krun_devices::legacy::{IrqChipDevice, IrqChipT};
use krun_devices::virtio::passthrough::PermissionSemantics;
use krun_devices::virtio::{Fs, MmioTransport, VirtioShmRegion};
use krun_devices::{BusDevice, Error};
use krun_utils::eventfd::EventFd;
use virtio_transport::Registers;

use super::window::Window;
use super::{lock, ram};

/// Raises interrupts by the eventfd that a virtual machine monitor would give to the hypervisor.
struct Interrupts;

impl BusDevice for Interrupts {}

impl IrqChipT for Interrupts {
    fn get_mmio_addr(&self) -> u64 {
        0
    }

    fn get_mmio_size(&self) -> u64 {
        0
    }

    fn set_irq(&self, _: Option<u32>, event: Option<&EventFd>) -> Result<(), Error> {
        if let Some(event) = event {
            event.write(1).expect("an eventfd takes a signal");
        }
        Ok(())
    }
}

/// A device.
#[derive(Clone)]
pub(crate) struct Krun {
    transport: Arc<Mutex<MmioTransport>>,
}

impl Krun {
    pub(crate) fn new(folder: &Path, window: Option<&Window>, read_only: bool) -> Self {
        let folder = folder.to_str().expect("a path in UTF-8").to_owned();
        let semantics = PermissionSemantics::LinuxComplete;
        let exit_code = Arc::new(AtomicI32::new(0));
        let mut fs = Fs::new("krun".into(), semantics, Some(folder), exit_code, read_only, Vec::new())
            .expect("libkrun makes a device");
        if let Some(window) = window {
            fs.set_shm_region(VirtioShmRegion {
                host_addr: window.host_address(),
                guest_addr: window.address,
                size: window.len as usize,
            });
        }
        let chip = Arc::new(Mutex::new(IrqChipDevice::new(Box::new(Interrupts))));
        let transport = MmioTransport::new(ram::memory(), chip, Arc::new(Mutex::new(fs))).expect("a transport");
        Self { transport: Arc::new(Mutex::new(transport)) }
    }

    /// Its registers, for the driver.
    pub(crate) fn registers(&self) -> KrunRegisters {
        KrunRegisters { transport: self.transport.clone() }
    }

    /// What it signals for an interrupt.
    pub(crate) fn interrupt(&self) -> RawFd {
        lock(&self.transport).interrupt_evt().as_raw_fd()
    }
}

/// See [`Krun::registers`].
#[derive(Clone)]
pub(crate) struct KrunRegisters {
    transport: Arc<Mutex<MmioTransport>>,
}

impl KrunRegisters {
    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        lock(&self.transport).read(0, offset as u64, &mut bytes);
        bytes
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        lock(&self.transport).write(0, offset as u64, bytes);
    }
}

impl Registers for KrunRegisters {
    fn size(&self) -> usize {
        // With the tag and the number of request queues.
        0x100 + 40
    }

    fn read8(&self, offset: usize) -> u8 {
        u8::from_le_bytes(self.read(offset))
    }

    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.read(offset))
    }

    fn read32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write(offset, &value.to_le_bytes());
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }
}
