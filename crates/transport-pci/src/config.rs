//! Configuration space of one function.

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Offset of the command register; the status register is the upper half of the word.
const COMMAND: u8 = 0x04;
/// Command bits: decode I/O space, decode memory space, master the bus, no INTx.
const COMMAND_IO: u16 = 1 << 0;
pub(crate) const COMMAND_MEMORY: u16 = 1 << 1;
pub(crate) const COMMAND_BUS_MASTER: u16 = 1 << 2;
pub(crate) const COMMAND_NO_INTX: u16 = 1 << 10;
/// Status bit: there is a capability list.
pub(crate) const STATUS_CAPABILITIES: u16 = 1 << 4;

/// The first 256 bytes of the configuration space of one function.
pub(crate) struct Config<'a, C> {
    access: &'a mut C,
    function: DeviceFunction,
}

impl<'a, C: ConfigurationAccess> Config<'a, C> {
    pub(crate) fn new(access: &'a mut C, function: DeviceFunction) -> Self {
        Self { access, function }
    }

    /// The 32 bits around `offset`, whose two low bits are ignored.
    pub(crate) fn read32(&self, offset: u8) -> u32 {
        self.access.read_word(self.function, offset & !3)
    }

    pub(crate) fn read16(&self, offset: u8) -> u16 {
        (self.read32(offset) >> (8 * (offset & 2))) as u16
    }

    pub(crate) fn read8(&self, offset: u8) -> u8 {
        (self.read32(offset) >> (8 * (offset & 3))) as u8
    }

    pub(crate) fn write32(&mut self, offset: u8, value: u32) {
        self.access.write_word(self.function, offset & !3, value);
    }

    pub(crate) fn status(&self) -> u16 {
        self.read16(COMMAND + 2)
    }

    pub(crate) fn command(&self) -> u16 {
        self.read16(COMMAND)
    }

    pub(crate) fn set_command(&mut self, command: u16) {
        // Zeros leave the status bits alone: they are cleared by ones.
        self.write32(COMMAND, command.into());
    }

    /// Sets or clears the bits of `mask` in the command register.
    pub(crate) fn change_command(&mut self, mask: u16, on: bool) {
        let old = self.command();
        let new = if on { old | mask } else { old & !mask };
        if new != old {
            self.set_command(new);
        }
    }

    /// Does something while the function decodes no addresses.
    pub(crate) fn without_decoding<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let command = self.command();
        let quiet = command & !(COMMAND_IO | COMMAND_MEMORY);
        if quiet != command {
            self.set_command(quiet);
        }
        let result = f(self);
        if quiet != command {
            self.set_command(command);
        }
        result
    }
}
