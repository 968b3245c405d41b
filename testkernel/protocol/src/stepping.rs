//! How the host steps guests that share a region of memory: through the region's last 2 MiB, which no file system has.
//!
//! Each guest has a page there. The host writes the name of a step, then its number; the guest takes the step and writes the
//! number as done. Numbers begin with 1 and rise by 1 a guest.

/// Bytes at the end of the region.
pub const LEN: u64 = 2 << 20;
/// Bytes of a guest's page.
const PAGE: u64 = 4096;
/// Bytes of a step's name, padded with NULs.
pub const NAME_LEN: usize = 64;

/// The name by which the host ends a guest.
pub const END: &str = "end";

/// How a guest to which the memory is read-only says that it took a step: it waits at the point of this name, with the step's
/// number behind it.
pub const DONE: &str = "done ";

/// The places of a guest in a region, in bytes from the region's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The number of the step to take; 8 bytes, little-endian.
    pub turn: u64,
    /// The number of the last step that was taken; 8 bytes, little-endian.
    pub done: u64,
    /// The step's name.
    pub name: u64,
}

/// The places of guest number `guest`, from 0, in a region of `len` bytes.
pub const fn places(len: u64, guest: usize) -> Places {
    let page = len - LEN + guest as u64 * PAGE;
    // Host and guest write to different cache lines.
    Places { turn: page, done: page + 64, name: page + 128 }
}

/// A name as it stands in the memory; `None` if it is too long.
pub fn encode(name: &str) -> Option<[u8; NAME_LEN]> {
    let mut bytes = [0; NAME_LEN];
    bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(bytes)
}

/// The name that stands in the memory; `None` if it is not UTF-8.
pub fn decode(bytes: &[u8; NAME_LEN]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
    core::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_guests_have_places_of_their_own() {
        let full = "x".repeat(NAME_LEN);
        for name in ["", "end", full.as_str()] {
            assert_eq!(decode(&encode(name).unwrap()), Some(name));
        }
        assert_eq!(encode(&"x".repeat(NAME_LEN + 1)), None);
        assert_eq!(decode(&[0xff; NAME_LEN]), None);
        let (first, third) = (places(8 << 20, 0), places(8 << 20, 2));
        assert_eq!((first.turn, third.turn), (6 << 20, (6 << 20) + 8192));
        assert!(third.name + NAME_LEN as u64 <= 8 << 20 && first.name + NAME_LEN as u64 <= third.turn);
    }
}
