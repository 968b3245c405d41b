//! Numbers that must not mix: inodes, ranges, offsets into the window, offsets into a file.

use core::fmt;
use core::ops::Range;

/// The unit of a mapping's length: 4096 bytes. Every length that the window hands out is a multiple of it.
pub const PAGE: u64 = 4096;

/// The driver's own key of an inode. The window compares it and never looks inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub u64);

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

/// The bytes `start..end` of a file. `end` is exclusive; an `end` of `u64::MAX` means "to the end, whatever that is".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileRange {
    /// The first byte.
    pub start: FileOffset,
    /// The first byte after the range.
    pub end: FileOffset,
}

impl FileRange {
    /// Every byte that a file can have.
    pub const ALL: Self = Self { start: FileOffset(0), end: FileOffset(u64::MAX) };

    /// The bytes `start..end`; empty when `end <= start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start: FileOffset(start), end: FileOffset(end) }
    }

    /// Everything from `start` on, as a truncation to `start` bytes touches it.
    pub const fn from(start: u64) -> Self {
        Self::new(start, u64::MAX)
    }

    /// Whether there is no byte in it.
    pub const fn is_empty(&self) -> bool {
        self.end.0 <= self.start.0
    }

    /// The chunks (file offsets divided by the range size) that have at least one byte in common with it.
    pub(crate) const fn chunks(&self, shift: u32) -> Range<u64> {
        if self.is_empty() {
            return 0..0;
        }
        (self.start.0 >> shift)..((self.end.0 - 1) >> shift) + 1
    }
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
display_hex!(InodeId, WindowOffset, FileOffset);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_touch_both_ends() {
        assert_eq!(FileRange::new(0, 1).chunks(21), 0..1);
        assert_eq!(FileRange::new(0, 2 << 20).chunks(21), 0..1);
        assert_eq!(FileRange::new(0, (2 << 20) + 1).chunks(21), 0..2);
        assert_eq!(FileRange::new((2 << 20) - 1, (2 << 20) + 1).chunks(21), 0..2);
        assert_eq!(FileRange::new(5, 5).chunks(21), 0..0);
        assert_eq!(FileRange::ALL.chunks(21).end, 1 << 43);
    }
}
