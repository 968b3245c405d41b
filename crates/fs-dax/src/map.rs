//! File maps: which bytes of a file lie where on which memory device.

use crate::{DeviceOffset, Errno};

/// Which of a file system's memory devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DeviceIndex(pub u32);

/// A piece of a memory device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Extent {
    /// Which device.
    pub device: DeviceIndex,
    /// Where on it the piece begins.
    pub offset: DeviceOffset,
    /// Its length in bytes.
    pub len: u64,
}

/// What a map has to obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRules {
    /// Offsets, and all lengths but the last, are multiples of this; a power of two, in bytes.
    pub unit: u64,
    /// The largest number of extents or strips.
    pub max_extents: usize,
    /// Bytes at the beginning of the first device that belong to no map (the superblock's): a map may not touch them.
    pub reserved: u64,
}

impl Default for MapRules {
    /// Units of 2 MiB, 16 extents or strips, the first unit reserved.
    fn default() -> Self {
        Self { unit: 2 << 20, max_extents: 16, reserved: 2 << 20 }
    }
}

/// The devices that maps point into.
pub trait Devices {
    /// Length in bytes of a device, or `None` if there is no such device.
    fn len_of(&self, device: DeviceIndex) -> Option<u64>;
}

/// Lengths by index; 0 stands for no device.
impl Devices for [u64] {
    fn len_of(&self, device: DeviceIndex) -> Option<u64> {
        self.get(usize::try_from(device.0).ok()?).copied().filter(|len| *len > 0)
    }
}

/// Lengths by index; 0 stands for no device.
impl<const N: usize> Devices for [u64; N] {
    fn len_of(&self, device: DeviceIndex) -> Option<u64> {
        self[..].len_of(device)
    }
}

/// A rule for maps that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The map has no extent.
    #[error("a map without extents")]
    NoExtents,
    /// The map has more extents or strips than its rules allow.
    #[error("{count} extents, at most {max} are allowed")]
    TooMany {
        /// How many.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The rules' own unit is not a power of two.
    #[error("a unit of {unit:#x} bytes is not a power of two")]
    BadUnit {
        /// The unit in bytes.
        unit: u64,
    },
    /// An extent has no byte.
    #[error("extent {index} is empty")]
    Empty {
        /// Which extent.
        index: usize,
    },
    /// An extent does not begin at a multiple of the unit.
    #[error("extent {index} begins at {offset}, not a multiple of {unit:#x}")]
    UnalignedOffset {
        /// Which extent.
        index: usize,
        /// Where it begins.
        offset: DeviceOffset,
        /// The unit in bytes.
        unit: u64,
    },
    /// An extent that is not the last is not a multiple of the unit long.
    #[error("extent {index} has {len:#x} bytes, not a multiple of {unit:#x}")]
    UnalignedLength {
        /// Which extent.
        index: usize,
        /// Its length in bytes.
        len: u64,
        /// The unit in bytes.
        unit: u64,
    },
    /// An extent touches what the file system keeps for itself.
    #[error("extent {index} begins at {offset}, inside the {reserved:#x} reserved bytes")]
    Reserved {
        /// Which extent.
        index: usize,
        /// Where it begins.
        offset: DeviceOffset,
        /// How many bytes are reserved.
        reserved: u64,
    },
    /// There is no such device.
    #[error("extent {index} is on device {}, which does not exist", device.0)]
    NoDevice {
        /// Which extent.
        index: usize,
        /// The device it names.
        device: DeviceIndex,
    },
    /// The end of an extent does not fit in 64 bits.
    #[error("extent {index}: {len:#x} bytes at {offset} end past 64 bits")]
    Overflow {
        /// Which extent.
        index: usize,
        /// Where it begins.
        offset: DeviceOffset,
        /// Its length in bytes.
        len: u64,
    },
    /// An extent reaches past its device's end.
    #[error("extent {index}: {len:#x} bytes at {offset} reach past the device's {device_len:#x}")]
    PastDevice {
        /// Which extent.
        index: usize,
        /// Where it begins.
        offset: DeviceOffset,
        /// Its length in bytes.
        len: u64,
        /// The device's length in bytes.
        device_len: u64,
    },
    /// Two extents share bytes of a device.
    #[error("extents {first} and {second} overlap")]
    Overlap {
        /// The one that comes first in the map.
        first: usize,
        /// The other.
        second: usize,
    },
    /// The extents' lengths add up to more than 64 bits.
    #[error("the extents' lengths add up to more than 64 bits")]
    SumOverflow,
    /// The extents hold fewer bytes than the file has.
    #[error("the extents hold {capacity:#x} bytes of the file's {size:#x}")]
    TooShort {
        /// Bytes of the file that the extents hold, counted from its beginning.
        capacity: u64,
        /// The file's size in bytes.
        size: u64,
    },
    /// An interleave chunk of 0 bytes.
    #[error("an interleave chunk of 0 bytes")]
    ZeroChunk,
    /// An interleave chunk that is not a power of two.
    #[error("an interleave chunk of {chunk:#x} bytes is not a power of two")]
    ChunkNotPowerOfTwo {
        /// The chunk in bytes.
        chunk: u64,
    },
    /// An interleave chunk that is not a multiple of the unit.
    #[error("an interleave chunk of {chunk:#x} bytes is not a multiple of {unit:#x}")]
    ChunkUnaligned {
        /// The chunk in bytes.
        chunk: u64,
        /// The unit in bytes.
        unit: u64,
    },
}

impl MapError {
    /// The error number that stands for this error.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoExtents => Errno::ENOSPC,
            Self::TooMany { .. } => Errno::E2BIG,
            Self::NoDevice { .. } => Errno::ENODEV,
            _ => Errno::EINVAL,
        }
    }
}

/// Where bytes of a file lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Segment {
    /// The device.
    pub device: DeviceIndex,
    /// Where on it the first byte lies.
    pub offset: DeviceOffset,
    /// How many bytes follow each other there; 0 where the file has nothing.
    pub len: u64,
}

/// The map of a file: extents one after the other, or strips that take turns chunk by chunk. Checked when made, never
/// changed.
///
/// `S` holds the extents: an array, a slice, a vector.
///
/// ```
/// use fs_dax::{DeviceIndex, DeviceOffset, Extent, FileMap, MapRules};
///
/// const MIB: u64 = 1 << 20;
/// let strips = [16, 32, 48, 64].map(|at| Extent {
///     device: DeviceIndex(0),
///     offset: DeviceOffset(at * MIB),
///     len: 4 * MIB,
/// });
/// let map = FileMap::interleaved(strips, 2 * MIB, 16 * MIB, &MapRules::default(), &[1024 * MIB])?;
/// let there = map.resolve(15 * MIB, 4096);
/// assert_eq!(there.offset, DeviceOffset((64 + 2 + 1) * MIB)); // strip 3, its second chunk
/// assert_eq!(there.len, 4096);
/// assert_eq!(map.resolve(16 * MIB, 1).len, 0);
/// # Ok::<(), fs_dax::MapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMap<S> {
    extents: S,
    /// log2 of the chunk, if strips take turns.
    chunk_shift: Option<u32>,
    /// The length of all extents but the last, if it is the same and the last is no longer.
    uniform: Option<u64>,
    size: u64,
    capacity: u64,
}

impl<S: AsRef<[Extent]>> FileMap<S> {
    /// The map of a file of `size` bytes that lies in `extents`, one after the other.
    ///
    /// # Errors
    /// The first rule that is broken, in the order of the extents.
    pub fn simple<D: Devices + ?Sized>(extents: S, size: u64, rules: &MapRules, devices: &D) -> Result<Self, MapError> {
        check_extents(extents.as_ref(), rules, devices)?;
        let capacity = extents
            .as_ref()
            .iter()
            .try_fold(0u64, |sum, extent| sum.checked_add(extent.len))
            .ok_or(MapError::SumOverflow)?;
        Self::checked(extents, None, size, capacity)
    }

    /// The map of a file of `size` bytes; its chunk number k lies in strip k modulo their number, after that strip's
    /// earlier chunks. `chunk` is in bytes: a power of two and a multiple of the rules' unit.
    ///
    /// # Errors
    /// The first rule that is broken, that of the chunk first. [`MapError::TooShort`] if *one* strip is too short for
    /// its share, whatever the sum.
    pub fn interleaved<D: Devices + ?Sized>(
        strips: S,
        chunk: u64,
        size: u64,
        rules: &MapRules,
        devices: &D,
    ) -> Result<Self, MapError> {
        if chunk == 0 {
            return Err(MapError::ZeroChunk);
        }
        if !chunk.is_power_of_two() {
            return Err(MapError::ChunkNotPowerOfTwo { chunk });
        }
        if !chunk.is_multiple_of(rules.unit) {
            return Err(MapError::ChunkUnaligned { chunk, unit: rules.unit });
        }
        check_extents(strips.as_ref(), rules, devices)?;
        let capacity = interleaved_capacity(strips.as_ref(), chunk).ok_or(MapError::SumOverflow)?;
        Self::checked(strips, Some(chunk.trailing_zeros()), size, capacity)
    }

    fn checked(extents: S, chunk_shift: Option<u32>, size: u64, capacity: u64) -> Result<Self, MapError> {
        if capacity < size {
            return Err(MapError::TooShort { capacity, size });
        }
        let uniform = uniform_len(extents.as_ref());
        Ok(Self { extents, chunk_shift, uniform, size, capacity })
    }

    /// The file's size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes from the file's beginning on the extents hold; at least the size.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The extents or strips.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        self.extents.as_ref()
    }

    /// The interleave chunk in bytes, or `None` where extents follow each other.
    #[must_use]
    pub const fn chunk(&self) -> Option<u64> {
        match self.chunk_shift {
            Some(shift) => Some(1 << shift),
            None => None,
        }
    }

    /// Where the file's byte `offset` lies, and how many of the `want` bytes from there on follow it in memory. Never
    /// past the file's end: there the length is 0. Takes constant time for
    /// strips and for extents of one length, else time proportional to their number.
    #[must_use]
    pub fn resolve(&self, offset: u64, want: u64) -> Segment {
        self.find(offset, want, self.size)
    }

    /// As [`resolve`](Self::resolve), but up to the end of the extents: what a page table may show of the file's last
    /// page.
    #[must_use]
    pub fn resolve_capacity(&self, offset: u64, want: u64) -> Segment {
        self.find(offset, want, self.capacity)
    }

    /// All of the contiguous memory around the file's byte `offset`, with the file offset at which it begins: what a
    /// fault needs to choose a page size. `None` past the end of the extents.
    #[must_use]
    pub fn run_around(&self, offset: u64) -> Option<(u64, Segment)> {
        let start = match self.chunk_shift {
            Some(shift) => offset >> shift << shift,
            None => offset - self.extent_of(offset).1,
        };
        let segment = self.resolve_capacity(start, u64::MAX);
        (offset < self.capacity).then_some((start, segment))
    }

    /// The number of the extent that holds the byte at `offset`, and where in it, for extents that follow each other. One
    /// past the last where none does.
    fn extent_of(&self, offset: u64) -> (usize, u64) {
        let extents = self.extents.as_ref();
        let mut within = offset;
        if let Some(len) = self.uniform {
            let index = usize::try_from(offset / len).unwrap_or(usize::MAX);
            let within = offset % len;
            let inside = extents.get(index).is_some_and(|extent| within < extent.len);
            return (if inside { index } else { extents.len() }, within);
        }
        for (index, extent) in extents.iter().enumerate() {
            if within < extent.len {
                return (index, within);
            }
            within -= extent.len;
        }
        (extents.len(), within)
    }

    fn find(&self, offset: u64, want: u64, end: u64) -> Segment {
        if offset >= end {
            return Segment::default();
        }
        let want = want.min(end - offset);
        let extents = self.extents.as_ref();
        match self.chunk_shift {
            None => {
                let (index, within) = self.extent_of(offset);
                match extents.get(index) {
                    Some(extent) => extent.segment(within, want.min(extent.len - within)),
                    None => Segment::default(),
                }
            }
            Some(shift) => {
                let (chunk, number) = (1u64 << shift, offset >> shift);
                let within = offset & (chunk - 1);
                let strips = extents.len() as u64;
                match usize::try_from(number % strips.max(1)).ok().and_then(|strip| extents.get(strip)) {
                    Some(strip) => strip.segment(((number / strips) << shift) + within, want.min(chunk - within)),
                    None => Segment::default(),
                }
            }
        }
    }
}

impl Extent {
    fn segment(&self, within: u64, len: u64) -> Segment {
        // `within` is less than the extent's length, and the extent's end was checked to fit.
        Segment { device: self.device, offset: DeviceOffset(self.offset.0 + within), len }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.device == other.device
            && self.offset.0 < other.offset.0.saturating_add(other.len)
            && other.offset.0 < self.offset.0.saturating_add(self.len)
    }
}

fn check_extents<D: Devices + ?Sized>(extents: &[Extent], rules: &MapRules, devices: &D) -> Result<(), MapError> {
    let MapRules { unit, max_extents, reserved } = *rules;
    if !unit.is_power_of_two() {
        return Err(MapError::BadUnit { unit });
    }
    if extents.is_empty() {
        return Err(MapError::NoExtents);
    }
    if extents.len() > max_extents {
        return Err(MapError::TooMany { count: extents.len(), max: max_extents });
    }
    for (index, extent) in extents.iter().enumerate() {
        let Extent { device, offset, len } = *extent;
        if len == 0 {
            return Err(MapError::Empty { index });
        }
        if !offset.is_aligned(unit) {
            return Err(MapError::UnalignedOffset { index, offset, unit });
        }
        if index + 1 < extents.len() && !len.is_multiple_of(unit) {
            return Err(MapError::UnalignedLength { index, len, unit });
        }
        if device.0 == 0 && offset.0 < reserved {
            return Err(MapError::Reserved { index, offset, reserved });
        }
        let end = offset.checked_add(len).ok_or(MapError::Overflow { index, offset, len })?;
        let device_len = devices.len_of(device).ok_or(MapError::NoDevice { index, device })?;
        if end.0 > device_len {
            return Err(MapError::PastDevice { index, offset, len, device_len });
        }
        if let Some(first) = extents[..index].iter().position(|earlier| earlier.overlaps(extent)) {
            return Err(MapError::Overlap { first, second: index });
        }
    }
    Ok(())
}

/// The length that all extents but the last have, if the last is no longer.
fn uniform_len(extents: &[Extent]) -> Option<u64> {
    let (last, others) = extents.split_last()?;
    let len = others.first().unwrap_or(last).len;
    (others.iter().all(|extent| extent.len == len) && last.len <= len).then_some(len)
}

/// How many bytes from the beginning on the strips hold: up to the first chunk that its strip does not hold whole.
fn interleaved_capacity(strips: &[Extent], chunk: u64) -> Option<u64> {
    let count = strips.len() as u64;
    let mut capacity = u64::MAX;
    for (index, strip) in (0u64..).zip(strips) {
        let first_missing = (strip.len / chunk).checked_mul(count)?.checked_add(index)?;
        let end = first_missing.checked_mul(chunk)?.checked_add(strip.len % chunk)?;
        capacity = capacity.min(end);
    }
    Some(capacity)
}
