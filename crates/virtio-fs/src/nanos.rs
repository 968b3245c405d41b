//! Times as atomics keep them.

use core::time::Duration;

/// A time in nanoseconds. One that is too large for 64 bits lies centuries ahead.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
