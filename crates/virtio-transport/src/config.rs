//! The device configuration.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{ConfigError, Registers, Transport};

/// How often a configuration that keeps changing is read anew.
const CONFIG_TRIES: u32 = 1000;

/// Fields of the device configuration by type, for every [`Transport`]. Values are as they lie in memory, which is
/// little-endian.
pub trait ConfigSpace: Transport {
    /// Reads a field, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`], [`ConfigError::Outside`] and [`ConfigError::Unaligned`].
    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V, ConfigError> {
        let mut value = V::new_zeroed();
        self.read_config(offset, access_width::<V>(), value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a field, by accesses of its alignment, at most 4 bytes each.
    ///
    /// # Errors
    ///
    /// As [`ConfigSpace::read_config_space`].
    fn write_config_space<V: IntoBytes + Immutable>(&mut self, offset: usize, value: V) -> Result<(), ConfigError> {
        self.write_config(offset, access_width::<V>(), value.as_bytes())
    }

    /// Reads fields that belong together, anew if the configuration changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unstable`] if it changed in every one of 1000 tries, and what `read` fails with.
    fn read_consistent<V>(&self, read: impl Fn() -> Result<V, ConfigError>) -> Result<V, ConfigError> {
        for _ in 0..CONFIG_TRIES {
            let before = self.read_config_generation();
            let result = read();
            if self.read_config_generation() == before {
                return result;
            }
        }
        Err(ConfigError::Unstable { tries: CONFIG_TRIES })
    }
}

impl<T: Transport + ?Sized> ConfigSpace for T {}

/// The width of an access to a field of type `V` (virtio 1.3, 4.1.3.1 and 4.2.2.2): 64-bit fields are read as two
/// halves.
const fn access_width<V>() -> usize {
    if align_of::<V>() < 4 { align_of::<V>() } else { 4 }
}

/// Checks an access to the configuration, of which `registers` have the bytes from `start` on.
fn place(
    registers: &impl Registers,
    start: usize,
    offset: usize,
    width: usize,
    len: usize,
) -> Result<usize, ConfigError> {
    if !matches!(width, 1 | 2 | 4) || !offset.is_multiple_of(width) || !len.is_multiple_of(width) {
        return Err(ConfigError::Unaligned { offset, len, width });
    }
    let size = registers.size();
    let first = start.checked_add(offset);
    match first.and_then(|first| first.checked_add(len)) {
        Some(end) if end <= size => Ok(end - len),
        _ => Err(ConfigError::Outside { offset, len, size: size.saturating_sub(start) }),
    }
}

/// [`Transport::read_config`] for a transport with the configuration in `registers` from `start` on.
///
/// # Errors
///
/// [`ConfigError::Outside`] and [`ConfigError::Unaligned`].
pub fn read_config_registers(
    registers: &impl Registers,
    start: usize,
    offset: usize,
    width: usize,
    bytes: &mut [u8],
) -> Result<(), ConfigError> {
    let first = place(registers, start, offset, width, bytes.len())?;
    for (index, piece) in bytes.chunks_exact_mut(width).enumerate() {
        let place = first + index * width;
        match width {
            1 => piece.copy_from_slice(&registers.read8(place).to_le_bytes()),
            2 => piece.copy_from_slice(&registers.read16(place).to_le_bytes()),
            _ => piece.copy_from_slice(&registers.read32(place).to_le_bytes()),
        }
    }
    Ok(())
}

/// [`Transport::write_config`] for a transport with the configuration in `registers` from `start` on.
///
/// # Errors
///
/// [`ConfigError::Outside`] and [`ConfigError::Unaligned`].
pub fn write_config_registers(
    registers: &mut impl Registers,
    start: usize,
    offset: usize,
    width: usize,
    bytes: &[u8],
) -> Result<(), ConfigError> {
    let first = place(registers, start, offset, width, bytes.len())?;
    for (index, piece) in bytes.chunks_exact(width).enumerate() {
        let place = first + index * width;
        match *piece {
            [a] => registers.write8(place, a),
            [a, b] => registers.write16(place, u16::from_le_bytes([a, b])),
            [a, b, c, d] => registers.write32(place, u32::from_le_bytes([a, b, c, d])),
            // `place` allows no other width.
            _ => {}
        }
    }
    Ok(())
}
