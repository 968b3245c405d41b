//! What reclaim knows of the demand for ranges.

use crate::config::ReclaimConfig;

/// How many newcomers are spared where newcomers are evicted first, and the most ranges to read ahead into.
pub(super) fn newcomers_kept(ranges: u32) -> u32 {
    (ranges / 8).clamp(1, 32)
}

/// What reclaim knows of the demand for free ranges.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(super) struct Demand {
    /// Set-ups of new chunks, wrapping.
    pub(super) setups: u32,
    /// Accesses when the last of them was handed out.
    last_setup: u64,
    /// Set-ups during a removal's round trip, moving average in 1/8, raised by each caller who found nothing free.
    during_removal: u32,
    idle_after: u64,
}

impl Demand {
    pub(super) const NONE: Self = Self { setups: 0, last_setup: 0, during_removal: 0, idle_after: 0 };

    pub(super) fn setup(&mut self, accesses: u64) {
        self.setups = self.setups.wrapping_add(1);
        self.last_setup = accesses;
    }

    pub(super) fn removal_done(&mut self, stamp: u32) {
        let during = self.setups.wrapping_sub(stamp).saturating_mul(8);
        self.during_removal =
            if during > self.during_removal { during } else { (self.during_removal * 7 + during) / 8 };
    }

    pub(super) fn stalled(&mut self, most: u32, config: &ReclaimConfig) {
        self.during_removal = (self.during_removal + 8).min(most.saturating_mul(8));
        self.idle_after = config.idle_accesses;
    }

    /// How many ranges to keep free or coming: what is taken during one round trip, and as much again for the next.
    pub(super) fn target(&self, ranges: u32, accesses: u64, config: &ReclaimConfig) -> u32 {
        if config.max_share == 0 || accesses - self.last_setup > self.idle_after {
            return 0;
        }
        match self.during_removal.div_ceil(8) {
            0 => 0,
            // One more, since what is taken just before the next step is missed too.
            during => ((during + 1) * 2).min(ranges / config.max_share),
        }
    }
}
