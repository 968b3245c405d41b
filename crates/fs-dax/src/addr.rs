//! Addresses and byte ranges that cannot be mixed up.
//!
//! Offsets in a file are plain `u64`; everything else that is counted in bytes from somewhere has a type of its own.

use core::fmt;

use crate::PAGE_SIZE;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// This address moved up by `bytes`, or `None` past the end of 64 bits.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// Whether this is a multiple of `align`; never, for an `align` of 0.
            #[must_use]
            pub const fn is_aligned(self, align: u64) -> bool {
                match self.0.checked_rem(align) {
                    Some(rest) => rest == 0,
                    None => false,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A physical address as the processor that maps it sees it (a guest's own, in a guest), in bytes.
    PhysAddr
}
address! {
    /// A virtual address in some address space, in bytes.
    VirtAddr
}
address! {
    /// A place on a memory device or in a DAX window, in bytes from its beginning.
    DeviceOffset
}

/// A range of bytes in a file; its end fits in 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FileRange {
    start: u64,
    len: u64,
}

impl FileRange {
    /// The whole of any file: from 0 to the last byte an offset can name.
    pub const ALL: Self = Self { start: 0, len: u64::MAX };

    /// The bytes from `start` up to, not including, `end`; empty if `end` is not above `start`.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Self {
        Self { start, len: end.saturating_sub(start) }
    }

    /// Everything from `start` on, as a truncation to `start` bytes touches it.
    #[must_use]
    pub const fn from(start: u64) -> Self {
        Self::between(start, u64::MAX)
    }

    /// The first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// The byte after the last.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start + self.len
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether `offset` is one of its bytes.
    #[must_use]
    pub const fn contains(self, offset: u64) -> bool {
        offset >= self.start && offset - self.start < self.len
    }

    /// The whole pages that its bytes touch; empty if it has none.
    #[must_use]
    pub const fn pages(self) -> Self {
        if self.is_empty() {
            return self;
        }
        let end = match self.end().checked_next_multiple_of(PAGE_SIZE) {
            Some(end) => end,
            None => u64::MAX,
        };
        Self::between(self.start - self.start % PAGE_SIZE, end)
    }

    /// The bytes that are in both; empty if there are none.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self::between(self.start.max(other.start), self.end().min(other.end()))
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({:#x}..{:#x})", self.start, self.end())
    }
}

/// `value` rounded down to a multiple of `align`, a power of two.
pub(crate) const fn align_down(value: u64, align: u64) -> u64 {
    value & !(align - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections() {
        let a = FileRange::new(10, 10).unwrap();
        assert_eq!(a.intersect(FileRange::between(15, 30)), FileRange::between(15, 20));
        assert!(a.intersect(FileRange::between(20, 30)).is_empty());
        assert!(a.intersect(FileRange::between(0, 10)).is_empty());
        assert_eq!(a.intersect(FileRange::ALL), a);
        assert!(a.contains(10) && a.contains(19) && !a.contains(20) && !a.contains(9));
        assert!(!FileRange::between(5, 3).contains(5));
    }

    #[test]
    fn pages_are_whole_and_no_more_than_are_touched() {
        let pages = |start, end| FileRange::between(start, end).pages();
        assert_eq!(pages(1, 2), FileRange::between(0, PAGE_SIZE));
        assert_eq!(pages(PAGE_SIZE, 2 * PAGE_SIZE), FileRange::between(PAGE_SIZE, 2 * PAGE_SIZE));
        assert_eq!(pages(PAGE_SIZE - 1, PAGE_SIZE + 1), FileRange::between(0, 2 * PAGE_SIZE));
        assert!(pages(5, 5).is_empty());
        assert_eq!(FileRange::from(1).pages(), FileRange::ALL);
    }

    #[test]
    fn nothing_is_aligned_to_zero() {
        assert!(!PhysAddr(0).is_aligned(0));
        assert!(PhysAddr(0x20_0000).is_aligned(0x20_0000));
        assert_eq!(DeviceOffset(u64::MAX).checked_add(1), None);
    }
}
