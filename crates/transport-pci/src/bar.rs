//! Base address registers.

use virtio_shm::{BarFault, ShmId, ShmRegion};
use virtio_transport::{ConfigurationAccess, PciFunction};

use crate::config::{COMMAND_MEMORY, Config};

/// Offset of BAR 0.
const BAR0: u8 = 0x10;
/// How many BARs an ordinary function has.
const COUNT: u8 = 6;

/// A BAR in memory space that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// Its guest-physical address.
    pub(crate) addr: u64,
    /// Its size in bytes, a power of two.
    pub(crate) size: u64,
}

/// The BARs of a function, each looked at once and only if somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    known: [Option<Result<Bar, BarFault>>; COUNT as usize],
}

impl Bars {
    /// The BAR with this index.
    pub(crate) fn get<C: ConfigurationAccess>(
        &mut self,
        config: &mut Config<'_, C>,
        index: u8,
    ) -> Result<Bar, BarFault> {
        let known = self.known.get_mut(usize::from(index)).ok_or(BarFault::NoSuchBar)?;
        *known.get_or_insert_with(|| probe(config, index))
    }
}

/// Returns the memory behind BAR `index` of a function of any kind, virtio or not, as a region with the id `index`: an
/// ivshmem device shares its BAR 2 with other machines. The function decodes addresses in memory space from then on.
///
/// ```
/// use transport_pci::bar_region;
/// use virtio_shm::{BarFault, ShmRegion};
/// use virtio_transport::{ConfigurationAccess, PciFunction};
///
/// fn shared_memory(pci: &mut impl ConfigurationAccess, ivshmem: PciFunction) -> Result<ShmRegion, BarFault> {
///     bar_region(pci, ivshmem, 2)
/// }
/// ```
///
/// # Errors
///
/// A [`BarFault`] if the BAR cannot be used.
pub fn bar_region<C: ConfigurationAccess>(
    access: &mut C,
    function: PciFunction,
    index: u8,
) -> Result<ShmRegion, BarFault> {
    let mut config = Config::new(access, function);
    let Bar { addr, size } = Bars::default().get(&mut config, index)?;
    let region = ShmRegion::new(ShmId(index), addr, size).map_err(|_| BarFault::Address { addr, size })?;
    config.change_command(COMMAND_MEMORY, true);
    Ok(region)
}

fn register(index: u8) -> u8 {
    BAR0 + 4 * index
}

/// Whether the register of a BAR says that it has an upper half.
fn is_64_bit(value: u32) -> bool {
    value & 0b111 == 0b100
}

/// Finds out place and size of the BAR `index`, which is below 6.
///
/// Its address is replaced by all ones for a moment, while the function doesn't decode, and always put back.
fn probe<C: ConfigurationAccess>(config: &mut Config<'_, C>, index: u8) -> Result<Bar, BarFault> {
    let mut lower = 0;
    while lower < index {
        let step = if is_64_bit(config.read32(register(lower))) { 2 } else { 1 };
        if lower + step > index {
            return Err(BarFault::UpperHalf { lower });
        }
        lower += step;
    }

    let low = config.read32(register(index));
    if low & 1 != 0 {
        return Err(BarFault::Io);
    }
    let wide = is_64_bit(low);
    if wide && index + 1 >= COUNT {
        return Err(BarFault::NoUpperHalf);
    }
    let kind = (low >> 1 & 0b11) as u8;
    if kind & 1 != 0 {
        return Err(BarFault::ReservedType { kind });
    }
    let high = if wide { config.read32(register(index + 1)) } else { 0 };

    let (low_mask, high_mask) = config.without_decoding(|config| {
        let low_mask = size_mask(config, index, low);
        let high_mask = if wide { size_mask(config, index + 1, high) } else { u32::MAX };
        (low_mask, high_mask)
    });
    let low_mask = low_mask & !0xf;
    if low_mask == 0 && (!wide || high_mask == 0) {
        return Err(BarFault::Unimplemented);
    }
    let mask = u64::from(high_mask) << 32 | u64::from(low_mask);
    // The mask isn't 0, so this doesn't wrap.
    let size = !mask + 1;
    if !size.is_power_of_two() {
        return Err(BarFault::Size { size });
    }
    let addr = u64::from(high) << 32 | u64::from(low & !0xf);
    if addr == 0 {
        return Err(BarFault::Unassigned);
    }
    if addr & (size - 1) != 0 || addr.checked_add(size).is_none() {
        return Err(BarFault::Address { addr, size });
    }
    Ok(Bar { addr, size })
}

/// The bits of a BAR's register that can be written; its value is `old`.
fn size_mask<C: ConfigurationAccess>(config: &mut Config<'_, C>, index: u8, old: u32) -> u32 {
    config.write32(register(index), u32::MAX);
    let mask = config.read32(register(index));
    config.write32(register(index), old);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function with a 64-bit BAR 0 that says something else while it is sized than before.
    struct Liar {
        address: u32,
        mask: u32,
        sizing: bool,
        command: u16,
    }

    impl ConfigurationAccess for Liar {
        fn read8(&self, _: PciFunction, offset: u8) -> u8 {
            panic!("8 bits read at {offset:#x}")
        }

        fn read16(&self, _: PciFunction, offset: u8) -> u16 {
            assert_eq!(offset, 4);
            self.command
        }

        fn read32(&self, _: PciFunction, offset: u8) -> u32 {
            match (offset, self.sizing) {
                (0x10, false) => self.address,
                (0x10, true) => self.mask,
                (0x14, true) => u32::MAX,
                _ => 0,
            }
        }

        fn write8(&mut self, _: PciFunction, offset: u8, _: u8) {
            panic!("8 bits written at {offset:#x}")
        }

        fn write16(&mut self, _: PciFunction, offset: u8, value: u16) {
            assert_eq!(offset, 4);
            self.command = value;
        }

        fn write32(&mut self, _: PciFunction, offset: u8, value: u32) {
            if (0x10..0x28).contains(&offset) {
                self.sizing = value == u32::MAX;
            }
        }
    }

    #[test]
    fn an_address_that_the_size_does_not_allow() {
        let probe = |address, mask| {
            let mut liar = Liar { address, mask, sizing: false, command: 0 };
            let function = PciFunction { bus: 0, device: 0, function: 0 };
            Bars::default().get(&mut Config::new(&mut liar, function), 0)
        };
        assert_eq!(probe(0xf000_000c, 0xf000_000c), Ok(Bar { addr: 0xf000_0000, size: 0x1000_0000 }));
        let fault = BarFault::Address { addr: 0xf100_0000, size: 0x1000_0000 };
        assert_eq!(probe(0xf100_000c, 0xf000_000c), Err(fault));
        assert_eq!(probe(0xf000_000c, 0x8000_000c), Err(BarFault::Address { addr: 0xf000_0000, size: 1 << 31 }));
    }

    #[test]
    fn a_bar_of_any_function_is_a_region_and_decoded() {
        let mut function = Liar { address: 0xf000_000c, mask: 0xf000_000c, sizing: false, command: 0 };
        let place = PciFunction { bus: 0, device: 3, function: 0 };
        let region = bar_region(&mut function, place, 0).unwrap();
        assert_eq!((region.id(), region.addr(), region.len()), (ShmId(0), 0xf000_0000, 0x1000_0000));
        assert_eq!(function.command, COMMAND_MEMORY);
        function.command = 0;
        assert_eq!(bar_region(&mut function, place, 1), Err(BarFault::UpperHalf { lower: 0 }));
        assert_eq!(bar_region(&mut function, place, 6), Err(BarFault::NoSuchBar));
        assert_eq!(function.command, 0, "nothing is decoded that cannot be used");
    }
}
