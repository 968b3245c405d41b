//! Identities.

use core::fmt;
use core::str::FromStr;

/// An identity of 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        let [low, mid, high, clock] = [96, 80, 64, 48].map(|place| number >> place);
        let node = number as u64 & 0xffff_ffff_ffff;
        write!(f, "{:08x}-{:04x}-{:04x}-{:04x}-{node:012x}", low as u32, mid as u16, high as u16, clock as u16)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct UuidError;

/// Hexadecimal digits, hyphens between them or not.
impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return Err(UuidError) };
            *byte = (high << 4 | low) as u8;
        }
        match digits.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(UuidError),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_shown_is_parsed() {
        let text = "5e7a1b2c-0001-4f4d-8653-00000000c0de";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(uuid.0[..4], [0x5e, 0x7a, 0x1b, 0x2c]);
        for bad in ["", "5e7a1b2c00014f4d865300000000c0d", "5e7a1b2c00014f4d865300000000c0de0", "g".repeat(32).as_str()]
        {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError), "{bad}");
        }
    }
}
