//! Configuration space of one function.

use virtio_transport::{ConfigurationAccess, PciFunction};

/// Offset of the command register; the status register follows.
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
    function: PciFunction,
}

impl<'a, C: ConfigurationAccess> Config<'a, C> {
    pub(crate) fn new(access: &'a mut C, function: PciFunction) -> Self {
        Self { access, function }
    }

    pub(crate) fn read32(&self, offset: u8) -> u32 {
        self.access.read32(self.function, offset)
    }

    pub(crate) fn read16(&self, offset: u8) -> u16 {
        self.access.read16(self.function, offset)
    }

    pub(crate) fn read8(&self, offset: u8) -> u8 {
        self.access.read8(self.function, offset)
    }

    pub(crate) fn write32(&mut self, offset: u8, value: u32) {
        self.access.write32(self.function, offset, value);
    }

    pub(crate) fn write16(&mut self, offset: u8, value: u16) {
        self.access.write16(self.function, offset, value);
    }

    pub(crate) fn status(&self) -> u16 {
        self.read16(COMMAND + 2)
    }

    pub(crate) fn command(&self) -> u16 {
        self.read16(COMMAND)
    }

    pub(crate) fn set_command(&mut self, command: u16) {
        // By 16 bits: a monitor exists that ignores any other width here.
        self.write16(COMMAND, command);
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
