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

/// How often a measurement is tried.
const TRIES: u32 = 50;
/// More time-stamp ticks than any processor makes in the interval timer's 55 ms.
const MOST_TICKS: u64 = 1 << 30;

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

/// Calibrates the time-stamp counter: the middle one of three measurements. `false` when the machine has nothing to
/// calibrate it against.
pub(crate) fn init() -> bool {
    START.store(cpu::timestamp(), Ordering::Relaxed);
    let mut found = [0; 3];
    for place in &mut found {
        match (0..TRIES).find_map(|_| measure()) {
            Some(hertz) => *place = hertz,
            None => return false,
        }
    }
    found.sort_unstable();
    SCALE.store(((1_000_000_000u128 << 32) / u128::from(found[1])) as u64, Ordering::Relaxed);
    true
}

/// The frequency of the time-stamp counter in hertz.
pub(crate) fn frequency() -> u64 {
    ((1_000_000_000u128 << 32) / u128::from(SCALE.load(Ordering::Relaxed).max(1))) as u64
}

/// The frequency of the time-stamp counter, by channel 0 of the interval timer: its count can be read everywhere
/// (microvm has no port 0x61 to watch channel 2 with). `None` when the count doesn't move, or has passed zero, which
/// it does when the host leaves this processor aside for more than 55 ms.
fn measure() -> Option<u64> {
    // Channel 0, low and high byte, mode 0: counts down once, from the top; the output rises at zero.
    port::write_u8(0x43, 0b0011_0000);
    port::write_u8(0x40, 0xff);
    port::write_u8(0x40, 0xff);
    let first = sample();
    loop {
        let now = sample();
        let elapsed = first.count.wrapping_sub(now.count);
        let ticks = now.timestamp.wrapping_sub(first.timestamp);
        if now.past_zero || ticks > MOST_TICKS {
            return None;
        }
        if elapsed >= PIT_TICKS {
            return Some((u128::from(ticks) * u128::from(PIT_HZ) / u128::from(elapsed)) as u64)
                .filter(|&hertz| hertz > 0);
        }
    }
}

/// What both timers said at one moment.
struct Sample {
    count: u16,
    past_zero: bool,
    timestamp: u64,
}

/// The best of several looks at both timers: the one that took the least time, since the host may leave this processor
/// aside between the two.
fn sample() -> Sample {
    let mut best = (u64::MAX, Sample { count: 0, past_zero: true, timestamp: 0 });
    for _ in 0..8 {
        let begin = cpu::timestamp();
        // Latch status and count of channel 0, then read the status and the count's low and high byte.
        port::write_u8(0x43, 0b1100_0010);
        let status = port::read_u8(0x40);
        let count = u16::from_le_bytes([port::read_u8(0x40), port::read_u8(0x40)]);
        let length = cpu::timestamp().wrapping_sub(begin);
        if length < best.0 {
            best = (length, Sample { count, past_zero: status & 0x80 != 0, timestamp: begin.wrapping_add(length / 2) });
        }
    }
    best.1
}
