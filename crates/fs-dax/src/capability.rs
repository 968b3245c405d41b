//! What a platform may refuse to do with a window's or device's memory.

use core::fmt;

/// Something a platform may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A pointer or slice into the memory.
    Slices,
    /// Page-table entries that point to it.
    Faults,
    /// Pages pinned for DMA.
    Pins,
    /// Loads and stores of 64 bits at once.
    Words,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slices => "slices",
            Self::Faults => "page faults",
            Self::Pins => "pins",
            Self::Words => "64-bit accesses",
        })
    }
}
