//! The vectors that devices raise.

use super::ioapic::Line;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Once;

/// First vector for devices.
const FIRST: u8 = 0x30;
/// How many vectors devices can have.
const COUNT: usize = 32;

static COUNTS: [AtomicU32; COUNT] = [const { AtomicU32::new(0) }; COUNT];
static LINES: [Once<Line>; COUNT] = [const { Once::new() }; COUNT];
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A vector that a device may raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceVector(u8);

impl DeviceVector {
    /// Takes one; `None` when all are taken. They are never given back.
    pub(crate) fn take() -> Option<Self> {
        let index = NEXT.fetch_add(1, Ordering::Relaxed);
        if (index as usize) < COUNT { Some(Self(FIRST + index as u8)) } else { None }
    }

    /// Its number.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Has every interrupt mask this line.
    pub(crate) fn set_line(self, line: Line) {
        LINES[usize::from(self.0 - FIRST)].call_once(|| line);
    }

    /// How often it was raised.
    pub(crate) fn count(self) -> u32 {
        COUNTS[usize::from(self.0 - FIRST)].load(Ordering::Acquire)
    }
}

/// Notes that a vector was raised, and masks its line if it has one. Nothing for a vector that is no device's.
pub(super) fn raised(vector: u8) {
    let index = usize::from(vector.wrapping_sub(FIRST));
    if let Some(count) = COUNTS.get(index) {
        if let Some(line) = LINES[index].get() {
            line.mask();
        }
        count.fetch_add(1, Ordering::Release);
    }
}
