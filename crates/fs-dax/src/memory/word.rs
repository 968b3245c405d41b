//! The size of numbers that are loaded and stored in one access.

/// Bytes of an ordered number, and what the base of mapped memory is a multiple of.
pub(super) const WORD: u64 = 8;
