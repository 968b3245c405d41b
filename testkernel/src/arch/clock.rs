//! Time: the time-stamp counter, calibrated against the interval timer (8254).

use super::{cpu, port};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Frequency of the interval timer, in hertz.
const PIT_HZ: u64 = 1_193_182;
/// Ticks of the interval timer that a try takes at least: 10 ms.
const PIT_TICKS: u16 = 11_932;

static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds a tick, times 2^32; 0 until calibrated.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// The monotonic clock. It begins at 0 when the kernel does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock;

impl Clock {
    /// Nanoseconds since the kernel began; 0 until [`init`] has run.
    pub(crate) fn now_ns() -> u64 {
        let ticks = cpu::timestamp().wrapping_sub(START.load(Ordering::Relaxed));
        ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
    }

    /// Waits by looking at the clock.
    pub(crate) fn spin(duration: Duration) {
        let end = Self::now_ns().saturating_add(duration.as_nanos() as u64);
        while Self::now_ns() < end {
            core::hint::spin_loop();
        }
    }
}

/// Calibrates the time-stamp counter: the fastest of three tries, since a host that is busy elsewhere can only make a
/// try longer. `false` when the machine has nothing to calibrate it against.
pub(crate) fn init() -> bool {
    START.store(cpu::timestamp(), Ordering::Relaxed);
    let Some(hertz) = (0..3).filter_map(|_| measure()).min().filter(|&hertz| hertz > 0) else {
        return false;
    };
    SCALE.store(((1_000_000_000u128 << 32) / u128::from(hertz)) as u64, Ordering::Relaxed);
    true
}

/// The frequency of the time-stamp counter in hertz.
pub(crate) fn frequency() -> u64 {
    ((1_000_000_000u128 << 32) / u128::from(SCALE.load(Ordering::Relaxed).max(1))) as u64
}

/// The frequency of the time-stamp counter, by channel 0 of the interval timer, whose count can be read everywhere
/// (microvm has no port 0x61 to watch channel 2 with). `None` when the count doesn't move.
fn measure() -> Option<u64> {
    // Channel 0, low and high byte, mode 0: counts down once, from the top.
    port::write_u8(0x43, 0b0011_0000);
    port::write_u8(0x40, 0xff);
    port::write_u8(0x40, 0xff);
    let (first, begin) = (count(), cpu::timestamp());
    loop {
        let (now, end) = (count(), cpu::timestamp());
        let elapsed = first.wrapping_sub(now);
        let ticks = end.wrapping_sub(begin);
        if elapsed >= PIT_TICKS {
            return Some((u128::from(ticks) * u128::from(PIT_HZ) / u128::from(elapsed)) as u64);
        }
        // No machine has so fast a counter that this is less than 100 ms.
        if ticks > 1 << 30 {
            return None;
        }
    }
}

/// The count of channel 0.
fn count() -> u16 {
    // Latch it, then read low and high byte.
    port::write_u8(0x43, 0);
    u16::from_le_bytes([port::read_u8(0x40), port::read_u8(0x40)])
}
