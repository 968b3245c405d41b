//! The structures of a modelled function.

use alloc::format;

use virtio_transport::{
    Registers,
    model::{Area, Queue},
};

use super::PciModel;
use crate::Structure;

/// The distance of two queues' places in the notification structure.
const NOTIFY_MULTIPLIER: usize = 4;

/// The registers of one structure of a [`PciModel`]. Every access that the specification doesn't have, by offset, width
/// or direction, is a mistake of the driver's.
#[derive(Debug)]
pub struct StructureModel {
    model: PciModel,
    structure: Structure,
    size: usize,
}

impl StructureModel {
    pub(super) fn new(model: PciModel, structure: Structure, size: usize) -> Self {
        Self { model, structure, size }
    }

    fn blame(&self, what: &str, offset: usize, width: usize) -> u32 {
        self.model.device.blame(format!("{what} of {width} bytes at {offset:#x} of the {}", self.structure));
        u32::MAX
    }

    /// Whether the access is inside and aligned.
    fn check(&self, what: &str, offset: usize, width: usize) -> bool {
        let inside = offset.checked_add(width).is_some_and(|end| end <= self.size);
        if !inside || !offset.is_multiple_of(width) {
            self.blame(what, offset, width);
        }
        inside
    }

    fn queue(&self) -> Queue {
        self.model.device.selected_queue().unwrap_or_default()
    }

    fn read(&self, offset: usize, width: usize) -> u32 {
        if !self.check("read", offset, width) {
            return u32::MAX;
        }
        let device = &self.model.device;
        match (self.structure, offset, width) {
            (Structure::CommonConfig, 0x04, 4) => device.features(),
            (Structure::CommonConfig, 0x10, 2) => device.config_vector().unwrap_or(u16::MAX).into(),
            (Structure::CommonConfig, 0x12, 2) => device.queue_count().into(),
            (Structure::CommonConfig, 0x14, 1) => device.read_status(),
            (Structure::CommonConfig, 0x15, 1) => device.generation(),
            (Structure::CommonConfig, 0x18, 2) => match self.queue().size {
                // Until the driver says otherwise it is the largest.
                0 => device.queue_max().into(),
                size => size.into(),
            },
            (Structure::CommonConfig, 0x1a, 2) => self.queue().vector.unwrap_or(u16::MAX).into(),
            (Structure::CommonConfig, 0x1c, 2) => device.queue_ready().into(),
            (Structure::CommonConfig, 0x1e, 2) => device.selected().into(),
            (Structure::Isr, 0, 1) => {
                let pending = device.pending();
                device.acknowledge(pending);
                pending
            }
            (Structure::DeviceConfig, _, _) => device.read_config(offset, width),
            (Structure::MsixTable, _, 4) => {
                self.model.state().table.get(offset / 16).map_or(u32::MAX, |entry| entry[offset % 16 / 4])
            }
            _ => self.blame("read", offset, width),
        }
    }

    fn write(&self, offset: usize, width: usize, value: u32) {
        if !self.check("write", offset, width) {
            return;
        }
        let device = &self.model.device;
        match (self.structure, offset, width) {
            (Structure::CommonConfig, 0x00, 4) => device.select_features(value),
            (Structure::CommonConfig, 0x08, 4) => device.select_driver_features(value),
            (Structure::CommonConfig, 0x0c, 4) => device.set_driver_features(value),
            (Structure::CommonConfig, 0x10, 2) => device.set_config_vector(self.model.take_vector(value as u16)),
            (Structure::CommonConfig, 0x14, 1) => device.set_status(value),
            (Structure::CommonConfig, 0x16, 2) => device.select_queue(value),
            (Structure::CommonConfig, 0x18, 2) => device.set_queue_size(value),
            (Structure::CommonConfig, 0x1a, 2) => device.set_queue_vector(self.model.take_vector(value as u16)),
            // A queue can't be disabled (virtio 1.3, 4.1.4.3.2).
            (Structure::CommonConfig, 0x1c, 2) if value == 1 => device.start_queue(),
            (Structure::CommonConfig, 0x20, 4) => device.set_queue_area(Area::Descriptors, false, value),
            (Structure::CommonConfig, 0x24, 4) => device.set_queue_area(Area::Descriptors, true, value),
            (Structure::CommonConfig, 0x28, 4) => device.set_queue_area(Area::Driver, false, value),
            (Structure::CommonConfig, 0x2c, 4) => device.set_queue_area(Area::Driver, true, value),
            (Structure::CommonConfig, 0x30, 4) => device.set_queue_area(Area::Device, false, value),
            (Structure::CommonConfig, 0x34, 4) => device.set_queue_area(Area::Device, true, value),
            (Structure::Notify, _, 2) if offset == value as usize * NOTIFY_MULTIPLIER => device.notify(value),
            (Structure::DeviceConfig, _, _) => device.write_config(offset, width, value),
            (Structure::MsixTable, _, 4) => self.write_entry(offset, value),
            _ => {
                self.blame("write", offset, width);
            }
        }
    }

    fn write_entry(&self, offset: usize, value: u32) {
        let mut state = self.model.state();
        let Some(entry) = state.table.get_mut(offset / 16) else { return };
        let field = offset % 16 / 4;
        if field < 3 && entry[3] & 1 == 0 {
            self.model.device.blame(format!("MSI-X vector {} changed while it isn't masked", offset / 16));
        }
        entry[field] = value;
    }
}

impl Registers for StructureModel {
    fn size(&self) -> usize {
        self.size
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read(offset, 1) as u8
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(offset, 2) as u16
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(offset, 4)
    }

    fn write8(&mut self, offset: usize, value: u8) {
        self.write(offset, 1, value.into());
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write(offset, 2, value.into());
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write(offset, 4, value);
    }
}
