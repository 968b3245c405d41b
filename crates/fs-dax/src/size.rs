//! The two sizes that everything is counted in.

/// Bytes of a base page, the unit of dirty tracking, of damage and of a mapping's length.
pub const PAGE_SIZE: u64 = 4096;

/// Bytes of a range of a DAX window, and of the chunk of a file that it shows: one huge page.
pub const RANGE_SIZE: u64 = 2 << 20;
