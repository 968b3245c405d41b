//! A modelled function.

use alloc::{format, sync::Arc, vec, vec::Vec};
use core::ops::Range;

use spin::{Mutex, MutexGuard};
use virtio_transport::{
    ConfigurationAccess, PciFunction,
    model::{Device, Spec},
};

use super::space::{self, Space};

/// Where the one function of a [`PciModel`]'s bus is: 00:03.0.
pub const FUNCTION: PciFunction = PciFunction { bus: 0, device: 3, function: 0 };

/// Offset of the command register.
const COMMAND: u8 = 4;
/// Command bits.
const IO: u32 = 1;
pub(super) const MEMORY: u32 = 2;
const MASTER: u32 = 4;

/// What belongs to the function rather than to the device.
#[derive(Debug)]
pub(super) struct State {
    pub(super) space: Space,
    /// The MSI-X table.
    pub(super) table: Vec<[u32; 4]>,
    /// The device takes no vector.
    refuses_vectors: bool,
    /// A write of 32 bits to the command register is ignored.
    narrow_command: bool,
    pub(super) mapped: Vec<Range<u64>>,
    accesses: u64,
}

/// A bus with one function on it, [`FUNCTION`], which is a virtio device. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct PciModel {
    pub(super) device: Device,
    state: Arc<Mutex<State>>,
}

impl PciModel {
    /// A function with the structures and regions of `device`, placed as QEMU does it, and one MSI-X vector.
    ///
    /// # Panics
    ///
    /// If the regions of `device` are more than fit into configuration space, or overflow.
    pub fn new(device: &Device) -> Self {
        Self::with_vectors(device, 1)
    }

    /// The same with so many MSI-X vectors; with 0 there is no MSI-X.
    ///
    /// # Panics
    ///
    /// As [`PciModel::new`].
    pub fn with_vectors(device: &Device, vectors: u16) -> Self {
        let spec: Spec = device.spec();
        let (image, sizes) = space::build(&spec, vectors);
        Self::from_image(device, &image, sizes)
    }

    /// A function with this configuration space, in which the BARs have these sizes in bytes, 0 for one that doesn't
    /// exist. The regions are those of the space; all else is as `device` has it.
    pub fn from_image(device: &Device, image: &[u8; 256], sizes: [u64; 6]) -> Self {
        let state = State {
            space: Space::new(image, sizes),
            // Masked, as they are after a reset.
            table: vec![[0, 0, 0, 1]; 2048],
            refuses_vectors: false,
            narrow_command: false,
            mapped: Vec::new(),
            accesses: 0,
        };
        Self { device: device.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the space as the device's maker does, whatever the driver may write.
    pub fn patch(&self, offset: u8, bytes: &[u8]) {
        self.state().space.patch(offset.into(), bytes);
    }

    /// Sets which bits of the word at `offset` a driver can write; in a BAR they give its size.
    pub fn set_writable(&self, offset: u8, mask: u32) {
        self.state().space.set_writable(usize::from(offset) / 4, mask);
    }

    /// Makes the device take no MSI-X vector, as one does that is short of resources.
    pub fn refuse_vectors(&self) {
        self.state().refuses_vectors = true;
    }

    /// Makes writes of 32 bits to the command register have no effect, as they have on a monitor that takes 16 bits only.
    pub fn ignore_wide_commands(&self) {
        self.state().narrow_command = true;
    }

    /// The space as it is now.
    pub fn image(&self) -> [u8; 256] {
        self.state().space.image()
    }

    /// The guest-physical ranges that were mapped.
    pub fn mapped(&self) -> Vec<Range<u64>> {
        self.state().mapped.clone()
    }

    /// How often configuration space was accessed.
    pub fn accesses(&self) -> u64 {
        self.state().accesses
    }

    /// An entry of the MSI-X table: address, data, and whether it is masked.
    pub fn msix_entry(&self, vector: u16) -> Option<(u64, u32, bool)> {
        let state = self.state();
        let [low, high, data, control] = *state.table.get(usize::from(vector))?;
        Some((u64::from(high) << 32 | u64::from(low), data, control & 1 != 0))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The vector that the device takes for the one that it is given.
    pub(super) fn take_vector(&self, vector: u16) -> Option<u16> {
        (vector != u16::MAX && !self.state().refuses_vectors).then_some(vector)
    }
}

impl PciModel {
    /// Reads the word around `offset` for an access of `width` bytes.
    fn word(&self, function: PciFunction, offset: u8, width: u8) -> u32 {
        let mut state = self.state();
        state.accesses += 1;
        if !offset.is_multiple_of(width) {
            self.device.blame(format!("{width} bytes read at {offset:#x} of configuration space"));
        }
        if function != FUNCTION {
            return u32::MAX;
        }
        state.space.word(usize::from(offset) / 4)
    }

    /// Writes `width` bytes, which are the low ones of `data`.
    fn write(&self, function: PciFunction, offset: u8, width: u8, data: u32) {
        let mut state = self.state();
        state.accesses += 1;
        if function != FUNCTION {
            self.device.blame(format!("{function} written, which doesn't exist"));
            return;
        }
        let index = usize::from(offset) / 4;
        let is_bar = (0x10..0x28).contains(&offset);
        let shift = 8 * u32::from(offset % 4);
        let mask = (u32::MAX >> (32 - 8 * u32::from(width))) << shift;
        let is_aligned = offset.is_multiple_of(width) && (!is_bar || width == 4);
        if !is_aligned || !is_bar && state.space.writable(index) & mask == 0 {
            self.device.blame(format!("{data:#x} written at {offset:#x} of configuration space, {width} bytes"));
        }
        if is_bar && state.space.command() & (IO | MEMORY) != 0 {
            self.device.blame(format!("BAR at {offset:#x} written while it is decoded"));
        }
        if offset == COMMAND && width == 4 && state.narrow_command {
            return;
        }
        let before = state.space.command();
        let old = state.space.word(index);
        state.space.write(index, old & !mask | data << shift & mask);
        if !before & state.space.command() & MASTER != 0 && self.device.status() != 0 {
            self.device.blame("made a bus master before it was reset");
        }
    }
}

impl ConfigurationAccess for PciModel {
    fn read8(&self, function: PciFunction, offset: u8) -> u8 {
        (self.word(function, offset, 1) >> (8 * (offset % 4))) as u8
    }

    fn read16(&self, function: PciFunction, offset: u8) -> u16 {
        (self.word(function, offset, 2) >> (8 * (offset % 4))) as u16
    }

    fn read32(&self, function: PciFunction, offset: u8) -> u32 {
        self.word(function, offset, 4)
    }

    fn write8(&mut self, function: PciFunction, offset: u8, value: u8) {
        self.write(function, offset, 1, value.into());
    }

    fn write16(&mut self, function: PciFunction, offset: u8, value: u16) {
        self.write(function, offset, 2, value.into());
    }

    fn write32(&mut self, function: PciFunction, offset: u8, value: u32) {
        self.write(function, offset, 4, value);
    }
}
