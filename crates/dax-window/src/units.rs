//! Numbers that must not mix: ranges, offsets into the window, offsets into a file; and the limits of a ticket.

use core::fmt;
use core::ops::Range;

use fs_dax::FileRange;

/// The most entries that one FUSE_REMOVEMAPPING takes.
pub const MAX_BATCH: usize = 256;

/// The most mappings that are set up ahead in one ticket.
pub const MAX_AHEAD: usize = 8;

/// A byte offset from the start of the window (`moffset` of `FUSE_SETUPMAPPING`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowOffset(pub u64);

/// A byte offset from the start of a file (`foffset` of `FUSE_SETUPMAPPING`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOffset(pub u64);

/// The number of a range: its window offset divided by the range size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeIndex(pub(crate) u32);

impl RangeIndex {
    /// The number itself, from 0 up to, not including, [`crate::Window::ranges`].
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The chunks (file offsets divided by the range size) that have at least one byte in common with `bytes`.
pub(crate) const fn chunks(bytes: FileRange, shift: u32) -> Range<u64> {
    if bytes.is_empty() {
        return 0..0;
    }
    (bytes.start() >> shift)..((bytes.end() - 1) >> shift) + 1
}

macro_rules! display_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}
display_hex!(WindowOffset, FileOffset);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_touch_both_ends() {
        assert_eq!(chunks(FileRange::between(0, 1), 21), 0..1);
        assert_eq!(chunks(FileRange::between(0, 2 << 20), 21), 0..1);
        assert_eq!(chunks(FileRange::between(0, (2 << 20) + 1), 21), 0..2);
        assert_eq!(chunks(FileRange::between((2 << 20) - 1, (2 << 20) + 1), 21), 0..2);
        assert_eq!(chunks(FileRange::between(5, 5), 21), 0..0);
        assert_eq!(chunks(FileRange::ALL, 21).end, 1 << 43);
    }
}
