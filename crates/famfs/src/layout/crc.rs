//! Checksums.

use crate::Flaw;

/// The CRC-32 that zlib computes, as the media stores it: in 64 bits, the upper half 0.
pub(super) fn crc(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes))
}

/// Compares all 64 bits of a stored checksum.
pub(super) fn check_crc(covered: &[u8], stored: u64) -> Result<(), Flaw> {
    match crc(covered) {
        computed if computed == stored => Ok(()),
        computed => Err(Flaw::Crc { stored, computed }),
    }
}
