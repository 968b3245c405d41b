//! Pieces of guest-physical memory.

/// A piece of guest-physical memory inside one BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its guest-physical address.
    pub(crate) addr: u64,
    /// Its length in bytes, above 0.
    pub(crate) len: u64,
}

impl Span {
    pub(crate) fn range(self) -> core::ops::Range<u64> {
        // Inside a BAR, of which the end is below 2^64.
        self.addr..self.addr + self.len
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.addr < other.range().end && other.addr < self.range().end
    }
}
