//! The thrash guard: notices that mapping costs more than it brings, and says which chunks are worth it all the same.

use crate::config::GuardConfig;
use crate::descriptor::Descriptor;

/// Fixed point: 1/256.
const ONE: u32 = 256;

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Guard {
    pub(crate) config: Option<GuardConfig>,
    /// Moving average of the accesses that a range served, in 1/256.
    pub(crate) yielded: u32,
    /// What a range costs in READ requests, in 1/256.
    pub(crate) ratio: u32,
    samples: u32,
    pub(crate) tripped: bool,
    pub(crate) trips: u64,
    remap_ticks: u64,
    around_ticks: u64,
    /// Counts of accesses are halved from one epoch to the next.
    pub(crate) epoch: u8,
    left_in_epoch: u64,
    epoch_len: u64,
}

impl Guard {
    pub(crate) fn new(config: Option<GuardConfig>, ranges: u32) -> Self {
        let ratio = config.map_or(0, |config| config.ratio.max(1).saturating_mul(ONE));
        let epoch_len = u64::from(ranges) * 16;
        Self {
            config,
            yielded: ratio.saturating_mul(2),
            ratio,
            samples: 0,
            // On its guard until something has paid: what a chunk costs before it earns a range is what the range costs,
            // so to be wrong costs twice as much as to be right, at most.
            tripped: config.is_some(),
            trips: 0,
            remap_ticks: 0,
            around_ticks: 0,
            epoch: 0,
            left_in_epoch: epoch_len,
            epoch_len,
        }
    }

    /// Counts one access to a chunk that has no mapping while there is no free range.
    fn tick(&mut self) {
        self.left_in_epoch -= 1;
        if self.left_in_epoch == 0 {
            self.left_in_epoch = self.epoch_len;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Learns how much a range brought that was set up by a small random access and is now evicted.
    pub(crate) fn sample(&mut self, served: u8) {
        let Some(config) = self.config else { return };
        let sample = u32::from(served) * ONE;
        self.yielded = (self.yielded * 15 + sample) / 16;
        self.samples = self.samples.saturating_add(1);
        if self.tripped {
            if self.yielded > self.ratio.saturating_mul(2) {
                self.tripped = false;
                self.samples = 0;
            }
        } else if self.samples >= config.samples && self.yielded < self.ratio {
            self.tripped = true;
            self.trips += 1;
            // Counts that were taken before are too old to mean anything.
            self.epoch = self.epoch.wrapping_add(8);
        }
    }

    /// The epoch, while it watches what is used.
    pub(crate) fn watched_epoch(&self) -> Option<u8> {
        self.tripped.then_some(self.epoch)
    }

    pub(crate) fn small(&self, len: u64) -> bool {
        self.config.is_some_and(|config| len <= config.small_len)
    }

    /// Accesses to the chunk lately, this one included, while it had no mapping.
    pub(crate) fn count(&mut self, home: &mut Descriptor, hash: u64) -> u8 {
        self.tick();
        let tag = (hash as u16 | 1) as u32;
        let [old_epoch, old_count] = [(home.ghost >> 8) as u8, home.ghost as u8];
        let count =
            if home.ghost >> 16 == tag { Self::aged(old_count, old_epoch, self.epoch).saturating_add(1) } else { 1 };
        home.ghost = tag << 16 | u32::from(self.epoch) << 8 | u32::from(count);
        count
    }

    pub(crate) fn aged(count: u8, then: u8, now: u8) -> u8 {
        count >> now.wrapping_sub(then).min(7)
    }

    /// Whether a chunk with so many accesses lately earns the place of one with so many.
    pub(crate) fn earns(&self, count: u8, victims: u8) -> bool {
        u32::from(count) * ONE >= self.ratio.saturating_add(u32::from(victims) * ONE).min(255 * ONE)
    }

    pub(crate) fn note_cost(&mut self, remap: bool, ticks: u64) {
        let Some(config) = self.config else { return };
        let expected = self.remap_ticks / u64::from(config.ratio.max(1));
        if remap {
            self.remap_ticks = Self::averaged(self.remap_ticks, ticks);
            if !self.tripped {
                // Nobody measures the other way now, so what is known of it grows old.
                self.around_ticks = (self.around_ticks * 31).saturating_add(expected) / 32;
            }
        } else {
            let before = if self.around_ticks == 0 { expected } else { self.around_ticks };
            self.around_ticks = Self::averaged(before, ticks);
        }
        if self.remap_ticks != 0 && self.around_ticks != 0 {
            let ratio = self.remap_ticks.saturating_mul(u64::from(ONE)) / self.around_ticks;
            self.ratio = ratio.clamp(u64::from(ONE), u64::from(64 * ONE)) as u32;
        }
    }

    /// A moving average in which no sample counts for more than four times the average: one that was long because the
    /// processor was elsewhere says nothing about what the host does.
    fn averaged(average: u64, ticks: u64) -> u64 {
        match average {
            0 => ticks,
            _ => average.saturating_mul(7).saturating_add(ticks.min(average.saturating_mul(4))) / 8,
        }
    }
}
