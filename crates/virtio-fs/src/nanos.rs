//! Times as atomics keep them.

use core::time::Duration;

/// A time in nanoseconds. One that is too large for 64 bits lies centuries ahead.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    time.as_secs().saturating_mul(SECOND).saturating_add(u64::from(time.subsec_nanos()))
}
