//! Nothing is silent: what the window did and how it stands.

use crate::access::{Bypass, WaitReason};

/// Counters since the window was made, and gauges of the present. Taking them costs a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Ranges there are.
    pub ranges: u32,
    /// Gauge: ranges on the free list.
    pub free: u32,
    /// Gauge: ranges with a usable mapping (those being upgraded included).
    pub mapped: u32,
    /// Gauge: ranges being set up.
    pub setting_up: u32,
    /// Gauge: ranges being removed.
    pub removing: u32,
    /// Gauge: ranges that wait for an exact removal because their state is not known.
    pub suspect: u32,
    /// Gauge: ranges that are never used again.
    pub retired: u32,
    /// Gauge: holds that are out, pins included.
    pub holds: u64,
    /// Gauge: pins that are out.
    pub pins: u64,
    /// Gauge: ranges that were set aside: references keep them, but newcomers to their chunks get other ranges.
    pub aside: u32,
    /// Gauge: tickets that are out, frozen byte ranges included.
    pub tickets: u32,
    /// Gauge: free ranges that reclaim aims at.
    pub reclaim_target: u32,
    /// Gauge: whether the guard sends small random accesses round the window. It does so from the start, until
    /// something has paid.
    pub guard_on: bool,
    /// Gauge: whether it does so because of what it measured: it was off and tripped ([`Stats::guard_trips`]).
    pub guard_tripped: bool,
    /// Gauge: accesses that a range brought in by a small random access served until it was evicted, in 1/256,
    /// moving average. What the guard compares with its ratio.
    pub guard_yield: u32,
    /// Gauge: what bringing in a range costs, in READ requests, in 1/256. The guard's ratio.
    pub guard_ratio: u32,

    /// Gauge: whether new ranges are evicted before older ones, since more is used in turn than fits.
    pub newest_first: bool,

    /// Questions asked.
    pub accesses: u64,
    /// Answered by a mapping that was there.
    pub hits: u64,
    /// Answered by a ticket (set-up, upgrade or eviction).
    pub misses: u64,
    /// Set-ups handed out, upgrades and read-ahead included.
    pub setups: u64,
    /// Set-ups that reused a range without a removal.
    pub replacements: u64,
    /// Upgrades handed out.
    pub upgrades: u64,
    /// Set-ups that the server refused.
    pub setups_refused: u64,
    /// Set-ups with an outcome that stayed unknown (dropped and lost ones included).
    pub setups_unknown: u64,
    /// Ranges evicted to make room.
    pub evictions: u64,
    /// Ranges that the eviction looked at to find those.
    pub hand_steps: u64,
    /// Ranges that were reported removed.
    pub removals: u64,
    /// Removal tickets handed out.
    pub batches: u64,
    /// Removal tickets handed out by background reclaim.
    pub reclaim_batches: u64,
    /// Ranges with a removal that was refused or stayed unknown.
    pub removals_failed: u64,
    /// Removals called off.
    pub removals_aborted: u64,
    /// Ranges set up ahead.
    pub ahead_issued: u64,
    /// Of these, used afterwards.
    pub ahead_used: u64,
    /// Of these, removed without having been used.
    pub ahead_wasted: u64,
    /// How often the guard tripped.
    pub guard_trips: u64,
    /// Answers that came after their requests were given up.
    pub late_answers: u64,
    /// Tickets that were dropped without an outcome.
    pub dropped_tickets: u64,
    /// Reports that fit nothing: a hold, pin or ticket of another window.
    pub misuse: u64,
    /// Answers "go round", by [`Bypass`] in its order.
    pub arounds: [u64; Bypass::COUNT],
    /// Answers "wait", by [`WaitReason`] in its order.
    pub waits: [u64; WaitReason::COUNT],
}

impl Stats {
    /// How often the answer was to go round the window for this reason.
    pub fn around(&self, reason: Bypass) -> u64 {
        self.arounds[reason as usize]
    }

    /// How often the answer was to wait for this.
    pub fn wait(&self, reason: WaitReason) -> u64 {
        self.waits[reason as usize]
    }
}
