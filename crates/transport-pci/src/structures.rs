//! A device's structures, by their registers.

use virtio_transport::{Registers, sequence::StatusRegister};

use crate::{
    PciError, Structure,
    layout::{COMMON_LEN, Layout},
    span::Span,
};

/// Offsets in `virtio_pci_common_cfg` (virtio 1.3, 4.1.4.3).
const DEVICE_FEATURE_SELECT: usize = 0x00;
const DEVICE_FEATURE: usize = 0x04;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0c;
const CONFIG_MSIX_VECTOR: usize = 0x10;
const NUM_QUEUES: usize = 0x12;
const DEVICE_STATUS: usize = 0x14;
const CONFIG_GENERATION: usize = 0x15;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_MSIX_VECTOR: usize = 0x1a;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_NOTIFY_OFF: usize = 0x1e;
const QUEUE_DESC: usize = 0x20;
const QUEUE_DRIVER: usize = 0x28;
const QUEUE_DEVICE: usize = 0x30;

/// The size of an entry of the MSI-X table (PCI 3.0, 6.8.2), and offsets in it.
const MSIX_ENTRY: usize = 16;
const MSIX_ADDRESS: usize = 0;
const MSIX_DATA: usize = 8;
const MSIX_CONTROL: usize = 12;
/// The bit of an entry's control that masks it.
const MSIX_MASKED: u32 = 1;

/// The most bytes that are mapped of a notification structure, which a device may claim to have gigabytes of.
const NOTIFY_MAX: u64 = 16 << 20;
/// The most bytes that are mapped of a device configuration.
const CONFIG_MAX: u64 = 64 << 10;

/// The structures of one device.
#[derive(Debug)]
pub(crate) struct Structures<R> {
    common: R,
    notify: R,
    isr: R,
    config: Option<R>,
    msix: Option<R>,
}

impl<R: Registers> Structures<R> {
    /// Has `map` find what `layout` names.
    pub(crate) fn new(
        layout: &Layout,
        mut map: impl FnMut(Structure, u64, usize) -> Result<R, PciError>,
    ) -> Result<Self, PciError> {
        // The limits are far below what any usize holds.
        let mut map = |structure, span: Span, max| map(structure, span.addr, span.len.min(max) as usize);
        Ok(Self {
            common: map(Structure::CommonConfig, layout.common, COMMON_LEN)?,
            notify: map(Structure::Notify, layout.notify, NOTIFY_MAX)?,
            isr: map(Structure::Isr, layout.isr, 1)?,
            config: layout.config.map(|span| map(Structure::DeviceConfig, span, CONFIG_MAX)).transpose()?,
            msix: layout.msix.map(|msix| map(Structure::MsixTable, msix.table, msix.table.len)).transpose()?,
        })
    }

    pub(crate) fn device_features(&mut self) -> u64 {
        self.common.write32(DEVICE_FEATURE_SELECT, 0);
        let low = self.common.read32(DEVICE_FEATURE);
        self.common.write32(DEVICE_FEATURE_SELECT, 1);
        let high = self.common.read32(DEVICE_FEATURE);
        u64::from(high) << 32 | u64::from(low)
    }

    pub(crate) fn set_driver_features(&mut self, features: u64) {
        self.common.write32(DRIVER_FEATURE_SELECT, 0);
        self.common.write32(DRIVER_FEATURE, features as u32);
        self.common.write32(DRIVER_FEATURE_SELECT, 1);
        self.common.write32(DRIVER_FEATURE, (features >> 32) as u32);
    }

    pub(crate) fn config_generation(&self) -> u8 {
        self.common.read8(CONFIG_GENERATION)
    }

    pub(crate) fn queue_count(&self) -> u16 {
        self.common.read16(NUM_QUEUES)
    }

    /// Selects the queue that the following calls are about.
    pub(crate) fn select_queue(&mut self, queue: u16) {
        self.common.write16(QUEUE_SELECT, queue);
    }

    pub(crate) fn queue_size(&self) -> u16 {
        self.common.read16(QUEUE_SIZE)
    }

    pub(crate) fn set_queue_size(&mut self, size: u16) {
        self.common.write16(QUEUE_SIZE, size);
    }

    pub(crate) fn queue_notify_off(&self) -> u16 {
        self.common.read16(QUEUE_NOTIFY_OFF)
    }

    pub(crate) fn queue_enabled(&self) -> bool {
        self.common.read16(QUEUE_ENABLE) != 0
    }

    pub(crate) fn enable_queue(&mut self, descriptors: u64, driver_area: u64, device_area: u64) {
        write_halves(&mut self.common, QUEUE_DESC, descriptors);
        write_halves(&mut self.common, QUEUE_DRIVER, driver_area);
        write_halves(&mut self.common, QUEUE_DEVICE, device_area);
        self.common.write16(QUEUE_ENABLE, 1);
    }

    /// Sets the MSI-X vector of the queue, and says which one the device took.
    pub(crate) fn set_queue_vector(&mut self, vector: u16) -> u16 {
        self.common.write16(QUEUE_MSIX_VECTOR, vector);
        self.common.read16(QUEUE_MSIX_VECTOR)
    }

    /// Sets the MSI-X vector of configuration changes, and says which one the device took.
    pub(crate) fn set_config_vector(&mut self, vector: u16) -> u16 {
        self.common.write16(CONFIG_MSIX_VECTOR, vector);
        self.common.read16(CONFIG_MSIX_VECTOR)
    }

    /// The bytes of the notification structure that there are.
    pub(crate) fn notify_len(&self) -> usize {
        self.notify.size()
    }

    /// Notifies `queue` at `offset`, of which [`Structures::notify_len`] has two bytes.
    pub(crate) fn notify(&mut self, offset: usize, queue: u16) {
        self.notify.write16(offset, queue);
    }

    /// The pending interrupts, which reading clears.
    pub(crate) fn take_isr(&mut self) -> u8 {
        self.isr.read8(0)
    }

    /// The device configuration, if there is one.
    pub(crate) fn config(&self) -> Option<&R> {
        self.config.as_ref()
    }

    /// The device configuration, if there is one.
    pub(crate) fn config_mut(&mut self) -> Option<&mut R> {
        self.config.as_mut()
    }

    /// Fills an entry of the MSI-X table, which exists, and unmasks it.
    pub(crate) fn set_msix_entry(&mut self, vector: u16, address: u64, data: u32) {
        // An entry must not change while it is unmasked (PCI 3.0, 6.8.3.5).
        self.mask_msix_entry(vector, true);
        if let Some(table) = &mut self.msix {
            let entry = usize::from(vector) * MSIX_ENTRY;
            write_halves(table, entry + MSIX_ADDRESS, address);
            table.write32(entry + MSIX_DATA, data);
        }
        self.mask_msix_entry(vector, false);
    }

    /// Masks or unmasks an entry of the MSI-X table, which exists; the other bits of its control are reserved and stay.
    pub(crate) fn mask_msix_entry(&mut self, vector: u16, masked: bool) {
        if let Some(table) = &mut self.msix {
            let control = usize::from(vector) * MSIX_ENTRY + MSIX_CONTROL;
            let old = table.read32(control);
            let new = if masked { old | MSIX_MASKED } else { old & !MSIX_MASKED };
            table.write32(control, new);
        }
    }
}

impl<R: Registers> StatusRegister for Structures<R> {
    fn read_status(&self) -> u32 {
        self.common.read8(DEVICE_STATUS).into()
    }

    fn write_status(&mut self, status: u32) {
        // The register has 8 bits, and the specification no others.
        self.common.write8(DEVICE_STATUS, status as u8);
    }
}

/// Writes a 64-bit field, low half first, as virtio 1.3, 4.1.3.1 has it.
fn write_halves(registers: &mut impl Registers, offset: usize, value: u64) {
    registers.write32(offset, value as u32);
    registers.write32(offset + 4, (value >> 32) as u32);
}
