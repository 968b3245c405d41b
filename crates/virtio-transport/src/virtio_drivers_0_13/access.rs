//! Configuration access by words.

use virtio_drivers::transport::pci::bus::{self, DeviceFunction};

use crate::{ConfigurationAccess, PciFunction};

/// Offset of the word with the command register and, in its upper half, the status register.
const COMMAND_WORD: u8 = 0x04;

/// Access by 8, 16 and 32 bits over virtio-drivers' `ConfigurationAccess`, which has 32 bits only.
///
/// **A narrow write becomes a 32-bit one**: the word is read, changed, and written as a whole. In the word of command and
/// status register the status half is written as zeros, which changes nothing there. A monitor that ignores 32-bit writes
/// to the command register (Alioth does) never enables the device this way: on such a machine implement
/// [`ConfigurationAccess`] itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordAccess<C>(
    /// The access by words.
    pub C,
);

impl From<PciFunction> for DeviceFunction {
    fn from(function: PciFunction) -> Self {
        let PciFunction { bus, device, function } = function;
        Self { bus, device, function }
    }
}

impl From<DeviceFunction> for PciFunction {
    fn from(function: DeviceFunction) -> Self {
        let DeviceFunction { bus, device, function } = function;
        Self { bus, device, function }
    }
}

impl<C: bus::ConfigurationAccess> WordAccess<C> {
    /// Replaces the bits of `mask`, `shift` bits up, in the word around `offset`.
    fn replace(&mut self, function: PciFunction, offset: u8, mask: u32, value: u32) {
        let word = offset & !3;
        let shift = 8 * u32::from(offset & 3);
        let old = self.0.read_word(function.into(), word);
        let kept = if word == COMMAND_WORD { old & 0xffff } else { old };
        self.0.write_word(function.into(), word, kept & !(mask << shift) | value << shift);
    }
}

impl<C: bus::ConfigurationAccess> ConfigurationAccess for WordAccess<C> {
    fn read8(&self, function: PciFunction, offset: u8) -> u8 {
        (self.read32(function, offset & !3) >> (8 * (offset & 3))) as u8
    }

    fn read16(&self, function: PciFunction, offset: u8) -> u16 {
        (self.read32(function, offset & !3) >> (8 * (offset & 2))) as u16
    }

    fn read32(&self, function: PciFunction, offset: u8) -> u32 {
        self.0.read_word(function.into(), offset & !3)
    }

    fn write8(&mut self, function: PciFunction, offset: u8, value: u8) {
        self.replace(function, offset, 0xff, value.into());
    }

    fn write16(&mut self, function: PciFunction, offset: u8, value: u16) {
        self.replace(function, offset & !1, 0xffff, value.into());
    }

    fn write32(&mut self, function: PciFunction, offset: u8, value: u32) {
        self.0.write_word(function.into(), offset & !3, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two words, at 4 and at 8, and what was written.
    #[derive(Default)]
    struct Words {
        words: [u32; 2],
        written: Option<(u8, u32)>,
    }

    impl bus::ConfigurationAccess for Words {
        fn read_word(&self, _: DeviceFunction, offset: u8) -> u32 {
            self.words[usize::from(offset / 4 - 1)]
        }

        fn write_word(&mut self, _: DeviceFunction, offset: u8, data: u32) {
            self.written = Some((offset, data));
        }

        #[expect(unsafe_code, reason = "the trait has it so")]
        unsafe fn unsafe_clone(&self) -> Self {
            Self { ..*self }
        }
    }

    const FUNCTION: PciFunction = PciFunction { bus: 0, device: 3, function: 0 };

    #[test]
    fn narrow_accesses_are_parts_of_words() {
        let mut access = WordAccess(Words { words: [0xf010_0006, 0x4433_2211], written: None });
        assert_eq!(access.read8(FUNCTION, 9), 0x22);
        assert_eq!(access.read16(FUNCTION, 10), 0x4433);
        assert_eq!(access.read32(FUNCTION, 8), 0x4433_2211);
        access.write8(FUNCTION, 11, 0xaa);
        assert_eq!(access.0.written, Some((8, 0xaa33_2211)));
        access.write16(FUNCTION, 10, 0xbbcc);
        assert_eq!(access.0.written, Some((8, 0xbbcc_2211)));
        access.write32(FUNCTION, 8, 7);
        assert_eq!(access.0.written, Some((8, 7)));
    }

    #[test]
    fn a_write_of_the_command_clears_no_status_bit() {
        let mut access = WordAccess(Words { words: [0xf010_0006, 0], written: None });
        access.write16(FUNCTION, 4, 0x0002);
        assert_eq!(access.0.written, Some((4, 0x0000_0002)));
        access.write8(FUNCTION, 5, 0x04);
        assert_eq!(access.0.written, Some((4, 0x0000_0406)));
    }
}
