//! virtio-mmio registers for a modelled device.

use alloc::format;

use virtio_transport::Registers;
use virtio_transport::model::{Area, Device};

use crate::registers::{
    CONFIG, CONFIG_GENERATION, DEVICE_FEATURES, DEVICE_FEATURES_SEL, DEVICE_ID, DRIVER_FEATURES, DRIVER_FEATURES_SEL,
    INTERRUPT_ACK, INTERRUPT_STATUS, MAGIC, QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER, QUEUE_NOTIFY, QUEUE_NUM,
    QUEUE_NUM_MAX, QUEUE_READY, QUEUE_SEL, SHM_BASE, SHM_LEN, SHM_SEL, STATUS, VENDOR_ID, VERSION,
};

/// The virtio-mmio registers of a [`Device`]. Every access that the specification doesn't have, by offset, width or
/// direction, is a mistake of the driver's.
#[derive(Clone, Debug)]
pub struct MmioModel {
    device: Device,
    shm_select: u32,
    /// What `MagicValue` says.
    pub magic: u32,
    /// What `Version` says.
    pub version: u32,
}

impl MmioModel {
    /// The registers of `device`.
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), shm_select: 0, magic: 0x7472_6976, version: 2 }
    }

    /// Length and base of the region selected.
    fn region(&self) -> (u64, u64) {
        let known = u8::try_from(self.shm_select).ok().and_then(|id| self.device.region(id));
        known.map_or((u64::MAX, self.device.manners().absent_base), |region| (region.len, region.addr))
    }

    fn read_config(&self, offset: usize, width: usize) -> u32 {
        if offset < CONFIG {
            self.device.blame(format!("{width} bytes read at register {offset:#x}"));
            return u32::MAX;
        }
        self.device.read_config(offset - CONFIG, width)
    }

    fn write_config(&self, offset: usize, width: usize, value: u32) {
        if offset < CONFIG {
            self.device.blame(format!("{width} bytes written at register {offset:#x}"));
            return;
        }
        self.device.write_config(offset - CONFIG, width, value);
    }
}

impl Registers for MmioModel {
    fn size(&self) -> usize {
        CONFIG + self.device.config_len()
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read_config(offset, 1) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read_config(offset, 2) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        let device = &self.device;
        match offset {
            MAGIC => self.magic,
            VERSION => self.version,
            DEVICE_ID => device.device_id().into(),
            VENDOR_ID => 0x6c65_646f,
            DEVICE_FEATURES => device.features(),
            QUEUE_NUM_MAX => device.queue_max().into(),
            QUEUE_READY => device.queue_ready().into(),
            INTERRUPT_STATUS => device.pending(),
            STATUS => device.read_status(),
            SHM_LEN => self.region().0 as u32,
            0x0b4 => (self.region().0 >> 32) as u32,
            SHM_BASE => self.region().1 as u32,
            0x0bc => (self.region().1 >> 32) as u32,
            CONFIG_GENERATION => device.generation(),
            CONFIG.. => self.read_config(offset, 4),
            _ => {
                device.blame(format!("read of register {offset:#x}"));
                u32::MAX
            }
        }
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write_config(offset, 1, value.into());
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write_config(offset, 2, value.into());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        let device = &self.device;
        match offset {
            DEVICE_FEATURES_SEL => device.select_features(value),
            DRIVER_FEATURES => device.set_driver_features(value),
            DRIVER_FEATURES_SEL => device.select_driver_features(value),
            QUEUE_SEL => device.select_queue(value),
            QUEUE_NUM => device.set_queue_size(value),
            QUEUE_READY if value == 1 => device.start_queue(),
            QUEUE_READY if value == 0 => device.stop_queue(),
            QUEUE_NOTIFY => device.notify(value),
            INTERRUPT_ACK => device.acknowledge(value),
            STATUS => device.set_status(value),
            QUEUE_DESC => device.set_queue_area(Area::Descriptors, false, value),
            0x084 => device.set_queue_area(Area::Descriptors, true, value),
            QUEUE_DRIVER => device.set_queue_area(Area::Driver, false, value),
            0x094 => device.set_queue_area(Area::Driver, true, value),
            QUEUE_DEVICE => device.set_queue_area(Area::Device, false, value),
            0x0a4 => device.set_queue_area(Area::Device, true, value),
            SHM_SEL => self.shm_select = value,
            CONFIG.. => self.write_config(offset, 4, value),
            _ => device.blame(format!("write of {value:#x} to register {offset:#x}")),
        }
    }
}
