//! Which maps can be a file's.

use fs_dax::{DeviceIndex, DeviceOffset, Devices, Extent, FileMap, MapError, MapRules};

use crate::MapFlaw;
use crate::layout::{ExtentList, Piece, RawMap, Superblock, UNIT};

/// What a map is checked against.
#[derive(Clone, Copy, Debug)]
pub struct MapContext<'a, D: ?Sized> {
    /// The file system.
    pub superblock: &'a Superblock,
    /// The devices' lengths.
    pub devices: &'a D,
}

impl<D: Devices + ?Sized> MapContext<'_, D> {
    /// Checks the map of a file of `size` bytes. `taken` gives the log index of an earlier file that has bytes of an
    /// extent.
    ///
    /// `S` holds the extents: an [`ExtentList`], which allocates nothing, or a boxed slice.
    ///
    /// # Errors
    /// The first [`MapFlaw`]: of the map as a whole first, then of each extent in turn, [`MapFlaw::TooShort`] last.
    pub fn check<S>(
        &self,
        map: &RawMap,
        size: u64,
        taken: impl Fn(&Extent) -> Option<u64>,
    ) -> Result<FileMap<S>, MapFlaw>
    where
        S: AsRef<[Extent]> + for<'e> From<&'e [Extent]>,
    {
        let max = self.superblock.format.max_extents();
        let (count, pieces, chunk) = match map {
            RawMap::Unknown { kind } => return Err(MapFlaw::Type { found: *kind }),
            RawMap::Interleaved { maps, .. } if *maps != 1 => return Err(MapFlaw::Niext { found: *maps }),
            RawMap::Simple { count, extents } => (u64::from(*count), extents, None),
            RawMap::Interleaved { count, chunk, strips, .. } => (*count, strips, Some(*chunk)),
        };
        if count == 0 {
            return Err(MapFlaw::NoExtents);
        }
        let used = usize::try_from(count).ok().filter(|used| *used <= max).and_then(|used| pieces.get(..used));
        let used = used.ok_or(MapFlaw::TooMany { count, max })?;
        if let Some(chunk) = chunk
            && !(chunk.is_power_of_two() && chunk.is_multiple_of(UNIT))
        {
            return Err(MapFlaw::Chunk { chunk });
        }
        let mut list = ExtentList::new();
        for (index, piece) in used.iter().enumerate() {
            let extent = self.check_extent(index, piece)?;
            if let Some(first) = list.as_ref().iter().position(|earlier| overlap(earlier, &extent)) {
                return Err(MapFlaw::OverlapSelf { index, first });
            }
            if let Some(entry) = taken(&extent) {
                return Err(MapFlaw::OverlapFile { index, entry });
            }
            list.push(extent);
        }
        self.build(list.as_ref(), chunk, size)
    }

    fn check_extent(&self, index: usize, piece: &Piece) -> Result<Extent, MapFlaw> {
        let Piece { device, offset, len } = *piece;
        let (unit, reserved) = (self.superblock.alloc_unit, self.superblock.log_end());
        if len == 0 {
            return Err(MapFlaw::Empty { index });
        }
        if !offset.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(MapFlaw::Unaligned { index, offset, len, unit });
        }
        if device == 0 && offset < reserved {
            return Err(MapFlaw::Reserved { index, offset, reserved });
        }
        let end = offset.checked_add(len).ok_or(MapFlaw::Overflow { index, offset, len })?;
        let known = u32::try_from(device).ok().map(DeviceIndex);
        let known = known.and_then(|known| Some((known, self.devices.len_of(known)?)));
        let (known, device_len) = known.ok_or(MapFlaw::Device { index, device })?;
        if end > device_len {
            return Err(MapFlaw::PastDevice { index, offset, len, device_len });
        }
        Ok(Extent { device: known, offset: DeviceOffset(offset), len })
    }

    fn build<S>(&self, extents: &[Extent], chunk: Option<u64>, size: u64) -> Result<FileMap<S>, MapFlaw>
    where
        S: AsRef<[Extent]> + for<'e> From<&'e [Extent]>,
    {
        let rules = MapRules {
            unit: self.superblock.alloc_unit,
            max_extents: extents.len(),
            reserved: self.superblock.log_end(),
        };
        let built = match chunk {
            None => FileMap::simple(S::from(extents), size, &rules, self.devices),
            Some(chunk) => FileMap::interleaved(S::from(extents), chunk, size, &rules, self.devices),
        };
        built.map_err(|error| match error {
            MapError::TooShort { capacity, size } => MapFlaw::TooShort { capacity, size },
            // All other rules were checked above, except that the sum of lengths fits in 64 bits.
            _ => MapFlaw::TooShort { capacity: u64::MAX, size },
        })
    }
}

fn overlap(a: &Extent, b: &Extent) -> bool {
    // Ends were checked to fit in 64 bits.
    a.device == b.device && a.offset.0 < b.offset.0 + b.len && b.offset.0 < a.offset.0 + a.len
}
