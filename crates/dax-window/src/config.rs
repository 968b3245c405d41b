//! How a window is set up, and what its host can do.

use crate::marks::AWAITED;
use crate::units::{MAX_AHEAD, MAX_BATCH};
use fs_dax::PAGE_SIZE;
use thiserror::Error;

/// The smallest range: 2 MiB.
pub const MIN_RANGE_SHIFT: u32 = fs_dax::RANGE_SIZE.trailing_zeros();

/// What the host does with a SETUPMAPPING that overlaps a mapping of *another* file or file offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The new mapping takes the old one's place: evicting needs no request of its own, and a range of which the state is
    /// unknown can be mapped over. What is longer than the new mapping is removed first, since the host would keep the rest.
    Replace,
    /// The request is refused: the old mapping must be removed first, and a range of which the state is unknown stays out of
    /// use until an exact removal of it succeeds.
    Refuse,
}

/// What the host does with a SETUPMAPPING that widens (read-only to writable, or longer) a mapping in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// The wider mapping appears atomically: those who use the old one notice nothing, and a refusal changes nothing.
    Atomic,
    /// It works, but there may be an instant without any mapping: nobody may use the range meanwhile, and after a
    /// refusal its state is unknown.
    Quiesce,
    /// It is refused: the mapping must be removed first and set up anew.
    Remove,
}

/// What the host can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRules {
    /// Mapping over another mapping.
    pub overlap: Overlap,
    /// Widening a mapping.
    pub upgrade: Upgrade,
}

impl HostRules {
    /// A host that maps with `mmap(MAP_FIXED)` semantics: everything replaces atomically.
    pub const REPLACING: Self = Self { overlap: Overlap::Replace, upgrade: Upgrade::Atomic };
    /// A host that refuses every overlap.
    pub const STRICT: Self = Self { overlap: Overlap::Refuse, upgrade: Upgrade::Remove };
    /// A daemon that translates for a strict host (it unmaps, then maps): overlaps work, with an instant of nothing.
    pub const TRANSLATING: Self = Self { overlap: Overlap::Replace, upgrade: Upgrade::Quiesce };
}

/// Read-ahead of mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAheadConfig {
    /// The most ranges that are set up ahead of one stream, 0 to switch read-ahead off; at most [`MAX_AHEAD`].
    pub max_ranges: u32,
    /// An access counts as a continuation when it starts at most so many bytes before or after the end of the last.
    pub slack: u64,
}

/// The thrash guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// What bringing a range in under pressure costs, in READ requests of `small_len`, until
    /// [`crate::Window::note_cost`] has measured it.
    pub ratio: u32,
    /// Accesses longer than this are never sent round the window, in bytes.
    pub small_len: u64,
    /// How many evictions are watched before the guard may trip again, once it has gone off.
    pub samples: u32,
}

/// Background reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReclaimConfig {
    /// The most ranges that reclaim keeps free, as a divisor of all ranges: 8 means at most an eighth.
    /// How many it keeps within that bound follows from the demand during one round trip. 0 switches reclaim off.
    pub max_share: u32,
    /// After so many accesses without a new mapping nothing is kept free any more.
    pub idle_accesses: u64,
}

/// All that a window is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Length of the window in bytes; what does not fill a whole range is left unused.
    pub window_len: u64,
    /// Logarithm of the range size, at least [`MIN_RANGE_SHIFT`].
    pub range_shift: u32,
    /// The server's alignment of offsets in bytes (2 to the power of INIT's `map_alignment`); 0 and 1 mean none.
    pub map_alignment: u64,
    /// The most ranges in one removal, 1 to [`MAX_BATCH`].
    pub max_batch: usize,
    /// The most mappings that the host can keep at a time, if it has a limit: further ranges are left unused.
    pub max_live: Option<u32>,
    /// What the host can do.
    pub host: HostRules,
    /// Read-ahead of mappings.
    pub read_ahead: ReadAheadConfig,
    /// The thrash guard, or `None` to switch it off.
    pub guard: Option<GuardConfig>,
    /// Background reclaim.
    pub reclaim: ReclaimConfig,
    /// Seeds the hash index. A random one keeps an unprivileged user from choosing colliding file offsets.
    pub seed: u64,
}

impl Config {
    /// Defaults for a window of so many bytes: 2 MiB ranges, a host of which nothing is known
    /// ([`HostRules::STRICT`]), read-ahead and guard on.
    pub const fn new(window_len: u64) -> Self {
        Self {
            window_len,
            range_shift: MIN_RANGE_SHIFT,
            map_alignment: PAGE_SIZE,
            max_batch: MAX_BATCH,
            max_live: None,
            host: HostRules::STRICT,
            read_ahead: ReadAheadConfig { max_ranges: 8, slack: 256 << 10 },
            guard: Some(GuardConfig { ratio: 8, small_len: 64 << 10, samples: 16 }),
            reclaim: ReclaimConfig { max_share: 8, idle_accesses: 4096 },
            seed: 0x5bd1_e995_7b93_1f4d,
        }
    }

    /// The size of a range in bytes.
    ///
    /// # Errors
    /// As [`Config::ranges`].
    pub fn range_size(&self) -> Result<u64, ConfigError> {
        self.ranges().map(|_| 1 << self.range_shift)
    }

    /// How many ranges the window has, and so how many descriptors it needs.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration; in particular [`ConfigError::WindowTooSmall`].
    pub fn ranges(&self) -> Result<usize, ConfigError> {
        if !(MIN_RANGE_SHIFT..=40).contains(&self.range_shift) {
            return Err(ConfigError::RangeShift { shift: self.range_shift });
        }
        let range = 1u64 << self.range_shift;
        if self.map_alignment > range || (self.map_alignment != 0 && !self.map_alignment.is_power_of_two()) {
            return Err(ConfigError::MapAlignment { alignment: self.map_alignment, range });
        }
        if self.max_batch == 0 || self.max_batch > MAX_BATCH {
            return Err(ConfigError::Batch { max_batch: self.max_batch });
        }
        if self.read_ahead.max_ranges as usize > MAX_AHEAD {
            return Err(ConfigError::ReadAhead { max_ranges: self.read_ahead.max_ranges });
        }
        let fit = (self.window_len >> self.range_shift).min(u64::from(self.max_live.unwrap_or(u32::MAX)));
        if fit == 0 {
            return Err(ConfigError::WindowTooSmall { window_len: self.window_len, range, max_live: self.max_live });
        }
        // A slot has one bit for something else than the number of a range, and one number for none.
        Ok(fit.min(u64::from(AWAITED - 1)) as usize)
    }
}

/// Why there can be no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not even one range fits (or the host keeps no mapping at all).
    #[error("a window of {window_len:#x} bytes (mappings: {max_live:?}) holds no range of {range:#x} bytes")]
    WindowTooSmall {
        /// The window's length in bytes.
        window_len: u64,
        /// The range size in bytes.
        range: u64,
        /// The host's limit of mappings.
        max_live: Option<u32>,
    },
    /// The range size is outside 2^21 to 2^40.
    #[error("a range of 2^{shift} bytes is outside 2^21 to 2^40")]
    RangeShift {
        /// The logarithm asked for.
        shift: u32,
    },
    /// The server aligns more coarsely than a range, or not to a power of two.
    #[error("an alignment of {alignment:#x} bytes does not divide a range of {range:#x} bytes")]
    MapAlignment {
        /// The server's alignment in bytes.
        alignment: u64,
        /// The range size in bytes.
        range: u64,
    },
    /// The batch size is outside 1 to [`MAX_BATCH`].
    #[error("a batch of {max_batch} removals is outside 1 to 256")]
    Batch {
        /// The batch size asked for.
        max_batch: usize,
    },
    /// The read-ahead is above [`MAX_AHEAD`].
    #[error("a read-ahead of {max_ranges} ranges is above 8")]
    ReadAhead {
        /// The read-ahead asked for.
        max_ranges: u32,
    },
    /// The storage has too few descriptors.
    #[error("{needed} descriptors are needed, the storage has {given}")]
    Storage {
        /// How many the configuration needs.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// The shared part already belongs to a window.
    #[error("the shared events already belong to another window")]
    SharedInUse,
    /// There is not enough memory for the descriptors.
    #[error("no memory for {ranges} descriptors")]
    OutOfMemory {
        /// How many were asked for.
        ranges: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_smaller_than_a_range_is_an_error() {
        let config = Config::new((2 << 20) - 1);
        assert_eq!(
            config.ranges(),
            Err(ConfigError::WindowTooSmall { window_len: (2 << 20) - 1, range: 2 << 20, max_live: None })
        );
        assert!(Config { max_live: Some(0), ..Config::new(1 << 30) }.ranges().is_err());
    }

    #[test]
    fn what_does_not_fill_a_range_is_left_out() {
        assert_eq!(Config::new((5 << 20) + 17).ranges(), Ok(2));
        assert_eq!(Config { max_live: Some(3), ..Config::new(1 << 30) }.ranges(), Ok(3));
        assert_eq!(Config { range_shift: 30, ..Config::new(1 << 30) }.ranges(), Ok(1));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Config::new(1 << 30);
        assert!(Config { range_shift: 20, ..good }.ranges().is_err());
        assert!(Config { range_shift: 64, ..good }.ranges().is_err());
        assert!(Config { map_alignment: 4 << 20, ..good }.ranges().is_err());
        assert!(Config { map_alignment: 3 << 12, ..good }.ranges().is_err());
        assert!(Config { max_batch: 0, ..good }.ranges().is_err());
        assert!(Config { max_batch: 257, ..good }.ranges().is_err());
    }
}
