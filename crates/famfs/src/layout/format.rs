//! The versions of the media format, and what differs between them in size.

/// Where the first log that mkfs writes begins, the size of the superblock's area, the alignment that maps need for
/// 2 MiB pages, and the unit in which files are allocated: 2 MiB, in bytes.
pub const UNIT: u64 = 2 << 20;

/// Length of the log's header in bytes; the entries follow, with nothing between them.
pub const LOG_HEADER_LEN: usize = 48;

/// Length in bytes of the log that mkfs makes.
pub const DEFAULT_LOG_LEN: u64 = 8 << 20;

/// A version of the media format, as the superblock names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 46: extents one after the other only, all on one device.
    V46,
    /// 47 with on-media format 2: as 48.
    V47,
    /// 48: interleaved maps, several devices.
    V48,
}

impl Format {
    /// The format with this version number, or `None` if this crate does not know it.
    #[must_use]
    pub const fn from_version(version: u64) -> Option<Self> {
        match version {
            46 => Some(Self::V46),
            47 => Some(Self::V47),
            48 => Some(Self::V48),
            _ => None,
        }
    }

    /// The version number.
    #[must_use]
    pub const fn version(self) -> u64 {
        match self {
            Self::V46 => 46,
            Self::V47 => 47,
            Self::V48 => 48,
        }
    }

    /// The minor number of the on-media format that belongs to the version, or `None` where there is no such number.
    #[must_use]
    pub const fn omf_minor(self) -> Option<u32> {
        match self {
            Self::V46 => None,
            Self::V47 => Some(1),
            Self::V48 => Some(2),
        }
    }

    /// Length of the superblock in bytes.
    #[must_use]
    pub const fn superblock_len(self) -> usize {
        match self {
            Self::V46 => 168,
            Self::V47 | Self::V48 => 200,
        }
    }

    /// Length of a log entry in bytes.
    #[must_use]
    pub const fn entry_len(self) -> usize {
        match self {
            Self::V46 => 328,
            Self::V47 | Self::V48 => 544,
        }
    }

    /// The largest number of extents or strips of a file.
    #[must_use]
    pub const fn max_extents(self) -> usize {
        match self {
            Self::V46 => 8,
            Self::V47 | Self::V48 => 16,
        }
    }

    /// How many whole entries fit in a log of `log_len` bytes.
    #[must_use]
    pub const fn slots(self, log_len: u64) -> u64 {
        log_len.saturating_sub(LOG_HEADER_LEN as u64) / self.entry_len() as u64
    }

    /// The `last_index` that a log of `log_len` bytes carries: the last slot's in 47 and 48, one more than that in 46.
    /// `None` where not even one entry fits.
    #[must_use]
    pub const fn last_index(self, log_len: u64) -> Option<u64> {
        match (self, self.slots(log_len)) {
            (_, 0) => None,
            (Self::V46, slots) => Some(slots),
            (Self::V47 | Self::V48, slots) => Some(slots - 1),
        }
    }
}
