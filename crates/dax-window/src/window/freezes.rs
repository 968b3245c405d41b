//! The byte ranges of files that are closed to newcomers.

use crate::tickets::MAX_TICKETS;
use fs_dax::FileKey;

/// How many byte ranges can be frozen at a time.
pub(crate) const MAX_FROZEN: usize = 16;

/// What an invalidation must achieve before the file may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidateKind {
    /// No mapping and no reference is left: for a truncation, a collapsed range, a file that is forgotten.
    Remove,
    /// No reference is left, mappings stay: for a hole that is punched where the host keeps mappings coherent with the
    /// file. Ranges in page tables stay there.
    Quiesce,
}

/// One of them, in chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freeze {
    pub(super) slot: u8,
    pub(super) file: FileKey,
    pub(super) kind: InvalidateKind,
    pub(super) start: u64,
    /// Exclusive.
    pub(super) end: u64,
    /// Up to here nothing is left.
    pub(super) clear_to: u64,
}

/// The frozen byte ranges, in chunks.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(super) struct Freezes {
    list: [Option<Freeze>; MAX_FROZEN],
    len: u32,
}

impl Freezes {
    pub(super) const EMPTY: Self = Self { list: [None; MAX_FROZEN], len: 0 };

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn covers(&self, file: FileKey, chunk: u64) -> bool {
        self.len != 0 && self.overlaps(file, chunk, chunk + 1)
    }

    pub(super) fn overlaps(&self, file: FileKey, start: u64, end: u64) -> bool {
        self.list.iter().flatten().any(|f| f.file == file && f.start < end && start < f.end)
    }

    pub(super) fn advance(&mut self, slot: u8, clear_to: u64) {
        if let Some(freeze) = self.list.iter_mut().flatten().find(|f| f.slot == slot) {
            freeze.clear_to = clear_to;
        }
    }

    pub(super) fn get(&self, slot: u8) -> Option<Freeze> {
        self.list.iter().flatten().find(|f| f.slot == slot).copied()
    }

    pub(super) fn add(&mut self, freeze: Freeze) -> bool {
        let Some(place) = self.list.iter_mut().find(|place| place.is_none()) else { return false };
        *place = Some(freeze);
        self.len += 1;
        true
    }

    pub(super) fn thaw(&mut self, slot: u8) {
        for place in &mut self.list {
            if place.is_some_and(|f| f.slot == slot) {
                *place = None;
                self.len -= 1;
            }
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
impl Freezes {
    pub(super) fn digest(&self, hash: &mut impl core::hash::Hasher) {
        use core::hash::Hash;
        for Freeze { slot, file, kind, start, end, clear_to } in self.list.iter().flatten() {
            (slot, file, *kind as u8, start, end, clear_to).hash(hash);
        }
    }
}

const _: () = assert!(MAX_FROZEN <= MAX_TICKETS);
