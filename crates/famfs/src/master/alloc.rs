//! Where a new file goes: the lowest place that has room, in one piece or in strips.

use fs_dax::DeviceIndex;

use crate::Tree;
use crate::layout::{Piece, RawMap, UNIT};

const MAX_STRIPS: usize = 16;

/// How to spread a file over a device that is cut into equal buckets.
#[derive(Clone, Copy, Debug)]
pub struct Interleave<'a> {
    /// How many strips take turns.
    pub strips: usize,
    /// The bytes of one turn: a power of two, and a multiple of 2 MiB.
    pub chunk: u64,
    /// Into how many buckets the device is cut. Each strip lies in another one.
    pub buckets: u64,
    /// The order in which buckets are taken, each at most once. Those that have no room are passed over.
    pub order: &'a [u64],
}

/// The room of the first device.
#[derive(Clone, Copy, Debug)]
pub struct Room<'t> {
    tree: &'t Tree,
    unit: u64,
    start: u64,
    end: u64,
}

impl<'t> Room<'t> {
    /// The room that the files of `tree` leave on a device of `device_len` bytes.
    #[must_use]
    pub fn new(tree: &'t Tree, device_len: u64) -> Self {
        let superblock = tree.superblock();
        let unit = superblock.alloc_unit;
        Self { tree, unit, start: superblock.log_end().next_multiple_of(unit), end: device_len / unit * unit }
    }

    /// The map for a file of `size` bytes in one piece, whole units long, as low as it fits; `None` if there is no such
    /// place.
    #[must_use]
    pub fn simple(&self, size: u64) -> Option<RawMap> {
        let len = size.max(1).checked_next_multiple_of(self.unit)?;
        let offset = self.lowest(self.start, self.end, len)?;
        let mut extents = [Piece::default(); MAX_STRIPS];
        extents[0] = Piece { device: 0, offset, len };
        Some(RawMap::Simple { count: 1, extents })
    }

    /// The map for a file of `size` bytes in strips of equal length, each as low in its bucket as it fits. A file
    /// smaller than a chunk is not spread. `None` if not enough buckets have room, or the numbers make no map.
    #[must_use]
    pub fn interleaved(&self, size: u64, how: &Interleave<'_>) -> Option<RawMap> {
        let Interleave { strips: count, chunk, buckets, order } = *how;
        if !chunk.is_power_of_two() || !chunk.is_multiple_of(UNIT) || !(1..=MAX_STRIPS).contains(&count) {
            return None;
        }
        if size < chunk {
            return self.simple(size);
        }
        let len = size.div_ceil(chunk).div_ceil(count as u64).checked_mul(chunk)?;
        let bucket_len = self.end.checked_div(buckets)? / self.unit * self.unit;
        let mut strips = [Piece::default(); MAX_STRIPS];
        let mut places = order.iter().enumerate().filter_map(|(at, bucket)| {
            let repeated = order[..at].contains(bucket);
            let start = bucket.checked_mul(bucket_len).filter(|_| *bucket < buckets && !repeated)?;
            self.lowest(start.max(self.start), start + bucket_len, len)
        });
        for strip in &mut strips[..count] {
            *strip = Piece { device: 0, offset: places.next()?, len };
        }
        Some(RawMap::Interleaved { maps: 1, count: count as u64, chunk, strips })
    }

    /// The lowest place of `len` bytes in `start..end`.
    fn lowest(&self, start: u64, end: u64, len: u64) -> Option<u64> {
        let mut at = start;
        for (first, last) in self.tree.occupied(DeviceIndex(0)) {
            if first.checked_sub(at).is_some_and(|gap| gap >= len) {
                break;
            }
            // What is occupied was checked to be whole units.
            at = at.max(last);
        }
        (at.checked_add(len)? <= end).then_some(at)
    }

    /// How many bytes no file has.
    #[must_use]
    pub fn free(&self) -> u64 {
        let (mut at, mut free) = (self.start, 0);
        for (first, last) in self.tree.occupied(DeviceIndex(0)) {
            free += first.saturating_sub(at);
            at = at.max(last);
        }
        free + self.end.saturating_sub(at)
    }
}
