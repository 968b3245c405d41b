//! libkrun's virtio-fs device behind its own virtio-mmio registers.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use krun_devices::legacy::{IrqChipDevice, IrqChipT};
use krun_devices::virtio::passthrough::PermissionSemantics;
use krun_devices::virtio::{Fs, MmioTransport, VirtioShmRegion};
use krun_devices::{BusDevice, Error};
use krun_utils::eventfd::EventFd;
use transport_vhost_user::GuestMemory;
use virtio_transport::Registers;

use super::window::Window;
use super::{ram, signal};

/// Registers before the device's configuration, which has tag and number of request queues (virtio 1.3, 4.2.2 and 5.11.4).
const SIZE: usize = 0x100 + 40;

/// Raises interrupts by the eventfd that a monitor would give to the hypervisor.
struct Chip;

impl BusDevice for Chip {}

impl IrqChipT for Chip {
    fn get_mmio_addr(&self) -> u64 {
        0
    }

    fn get_mmio_size(&self) -> u64 {
        0
    }

    fn set_irq(&self, _: Option<u32>, event: Option<&EventFd>) -> Result<(), Error> {
        if let Some(event) = event
            && let Err(error) = event.write(1)
        {
            log::error!("an eventfd takes no signal: {error}");
        }
        Ok(())
    }
}

/// A device.
#[derive(Clone)]
pub(super) struct Krun {
    transport: Arc<Mutex<MmioTransport>>,
}

impl fmt::Debug for Krun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Krun").finish_non_exhaustive()
    }
}

impl Krun {
    /// One that serves a folder.
    pub(super) fn new(folder: String, memory: &GuestMemory, window: Option<&Window>) -> Result<Self> {
        let semantics = PermissionSemantics::LinuxComplete;
        let exit_code = Arc::new(AtomicI32::new(0));
        let mut fs = Fs::new("krun".into(), semantics, Some(folder), exit_code, false, Vec::new())
            .map_err(|error| anyhow!("libkrun makes no device: {error:?}"))?;
        if let Some(window) = window {
            fs.set_shm_region(VirtioShmRegion {
                host_addr: window.host_address(),
                guest_addr: window.guest_address(),
                size: window.len() as usize,
            });
        }
        let chip = Arc::new(Mutex::new(IrqChipDevice::new(Box::new(Chip))));
        let transport = MmioTransport::new(ram::of(memory)?, chip, Arc::new(Mutex::new(fs)))
            .map_err(|error| anyhow!("libkrun makes no transport: {error:?}"))?;
        Ok(Self { transport: Arc::new(Mutex::new(transport)) })
    }

    fn transport(&self) -> MutexGuard<'_, MmioTransport> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its registers, for the driver.
    pub(super) fn registers(&self) -> KrunRegisters {
        KrunRegisters(self.clone())
    }

    /// What it signals for an interrupt.
    pub(super) fn signal(&self) -> Result<OwnedFd> {
        let transport = self.transport();
        signal::duplicate(transport.interrupt_evt()).context("an eventfd cannot be duplicated")
    }
}

/// See [`Krun::registers`].
#[derive(Clone, Debug)]
pub(super) struct KrunRegisters(Krun);

impl KrunRegisters {
    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.transport().read(0, offset as u64, &mut bytes);
        bytes
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.transport().write(0, offset as u64, bytes);
    }
}

impl Registers for KrunRegisters {
    fn size(&self) -> usize {
        SIZE
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
