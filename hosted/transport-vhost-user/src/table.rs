//! What is mapped where in a window, and what QEMU 11.1 refuses.

use std::collections::BTreeMap;

use thiserror::Error;

/// The page of the host in bytes.
const PAGE: u64 = 4096;

/// Why a request of the back end to map or unmap was refused. QEMU refuses the same, unless it says otherwise here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no region with this id.
    #[error("there is no shared-memory region {shmid}")]
    NoRegion {
        /// The id.
        shmid: u8,
    },
    /// The device is not running: before DRIVER_OK, or after a reset. QEMU does not survive such a request.
    #[error("the device is not running")]
    NotRunning,
    /// No byte is to be mapped, or the numbers overflow.
    #[error("{len} bytes at {offset:#x} are no range")]
    NoRange {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The place is not all inside the window.
    #[error("{len:#x} bytes at {offset:#x} are not all inside a window of {window:#x}")]
    Outside {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// The window's size in bytes.
        window: u64,
    },
    /// The place is not aligned to pages. QEMU can map such places; this front end cannot.
    #[error("{len:#x} bytes at {offset:#x} are no whole pages")]
    Unaligned {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Something is mapped there. It stays.
    #[error("{len:#x} bytes at {offset:#x} overlap the mapping of {other_len:#x} bytes at {other:#x}")]
    Overlap {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Where the mapping is that is there already.
        other: u64,
        /// How many bytes that has.
        other_len: u64,
    },
    /// The range is not, whole and exactly, one that was mapped.
    #[error("{len:#x} bytes at {offset:#x} are no mapping")]
    NotMapped {
        /// Where in the window.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The offset in the file is not a multiple of the page.
    #[error("the file offset {file_offset:#x} is not a multiple of the page")]
    FileUnaligned {
        /// The offset in bytes.
        file_offset: u64,
    },
    /// The range does not end inside the file. An empty file is among these; QEMU makes it longer, on the host.
    #[error("{len:#x} bytes at {file_offset:#x} reach past the end of a file of {size:#x} bytes")]
    PastEnd {
        /// Where in the file.
        file_offset: u64,
        /// How many bytes.
        len: u64,
        /// The file's size in bytes.
        size: u64,
    },
    /// The host does not map the file for writing, which QEMU always asks for.
    #[error("the host does not map the file: errno {errno}")]
    Host {
        /// What the host says.
        errno: i32,
    },
}

/// The mappings of one window, by offset.
#[derive(Debug)]
pub(crate) struct Table {
    window: u64,
    live: BTreeMap<u64, u64>,
}

impl Table {
    /// Nothing is mapped in a window of this size.
    pub(crate) fn new(window: u64) -> Self {
        Self { window, live: BTreeMap::new() }
    }

    /// Whether a mapping can be made.
    pub(crate) fn check(&self, offset: u64, len: u64, file_offset: u64, size: u64) -> Result<(), Refusal> {
        let end = self.end(offset, len)?;
        if let Some((&other, &other_len)) = self.live.range(..end).next_back()
            && other + other_len > offset
        {
            return Err(Refusal::Overlap { offset, len, other, other_len });
        }
        if !file_offset.is_multiple_of(PAGE) {
            return Err(Refusal::FileUnaligned { file_offset });
        }
        if file_offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(Refusal::PastEnd { file_offset, len, size });
        }
        Ok(())
    }

    fn end(&self, offset: u64, len: u64) -> Result<u64, Refusal> {
        let window = self.window;
        match offset.checked_add(len) {
            None => Err(Refusal::NoRange { offset, len }),
            Some(_) if len == 0 => Err(Refusal::NoRange { offset, len }),
            Some(end) if end > window => Err(Refusal::Outside { offset, len, window }),
            Some(_) if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) => {
                Err(Refusal::Unaligned { offset, len })
            }
            Some(end) => Ok(end),
        }
    }

    /// Notes a mapping that was checked and made.
    pub(crate) fn insert(&mut self, offset: u64, len: u64) {
        self.live.insert(offset, len);
    }

    /// Takes out a mapping, which must be named exactly.
    pub(crate) fn remove(&mut self, offset: u64, len: u64) -> Result<(), Refusal> {
        if self.live.get(&offset) != Some(&len) {
            return Err(Refusal::NotMapped { offset, len });
        }
        self.live.remove(&offset);
        Ok(())
    }

    /// Takes all mappings out.
    pub(crate) fn take_all(&mut self) -> BTreeMap<u64, u64> {
        std::mem::take(&mut self.live)
    }

    /// All mappings: offset and length.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u64, u64)> {
        self.live.iter().map(|(&offset, &len)| (offset, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 16 * PAGE;

    #[test]
    fn overlap_of_any_kind_is_refused_and_neighbours_are_not() {
        let mut table = Table::new(WINDOW);
        table.insert(4 * PAGE, 4 * PAGE);
        for (offset, pages) in [(4, 4), (3, 2), (7, 1), (5, 2), (3, 6), (0, 16), (4, 1)] {
            let refusal = table.check(offset * PAGE, pages * PAGE, 0, u64::MAX).unwrap_err();
            assert!(matches!(refusal, Refusal::Overlap { other, .. } if other == 4 * PAGE), "{offset} {pages}");
        }
        for (offset, pages) in [(0, 4), (8, 8), (3, 1), (8, 1)] {
            assert_eq!(table.check(offset * PAGE, pages * PAGE, 0, u64::MAX), Ok(()), "{offset} {pages}");
        }
    }

    #[test]
    fn nothing_is_mapped_past_window_or_file() {
        let table = Table::new(WINDOW);
        let outside = |offset, len| Refusal::Outside { offset, len, window: WINDOW };
        assert_eq!(table.check(WINDOW, PAGE, 0, WINDOW), Err(outside(WINDOW, PAGE)));
        assert_eq!(table.check(0, WINDOW + PAGE, 0, u64::MAX), Err(outside(0, WINDOW + PAGE)));
        assert!(matches!(table.check(u64::MAX - PAGE + 1, 2 * PAGE, 0, PAGE), Err(Refusal::NoRange { .. })));
        assert!(matches!(table.check(0, 0, 0, PAGE), Err(Refusal::NoRange { .. })));
        assert!(matches!(table.check(1, PAGE, 0, PAGE), Err(Refusal::Unaligned { .. })));
        assert!(matches!(table.check(0, PAGE, 1, 3 * PAGE), Err(Refusal::FileUnaligned { .. })));
        for (file_offset, size) in
            [(0, PAGE - 1), (0, 0), (PAGE, 2 * PAGE - 1), (1 << 63, PAGE), (u64::MAX - PAGE + 1, PAGE)]
        {
            assert!(
                matches!(table.check(0, PAGE, file_offset, size), Err(Refusal::PastEnd { .. })),
                "{file_offset:#x}"
            );
        }
        assert_eq!(table.check(0, WINDOW, PAGE, WINDOW + PAGE), Ok(()));
    }

    #[test]
    fn only_exact_ranges_are_removed() {
        let mut table = Table::new(WINDOW);
        table.insert(0, 2 * PAGE);
        for (offset, pages) in [(0, 1), (1, 1), (0, 3), (8, 1)] {
            let (offset, len) = (offset * PAGE, pages * PAGE);
            assert_eq!(table.remove(offset, len), Err(Refusal::NotMapped { offset, len }));
        }
        assert_eq!(table.live().collect::<Vec<_>>(), [(0, 2 * PAGE)]);
        assert_eq!(table.remove(0, 2 * PAGE), Ok(()));
        assert_eq!(table.live().count(), 0);
    }
}
