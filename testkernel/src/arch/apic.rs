//! The local interrupt controller (xAPIC): its timer drives the watchdog, and messages arrive through it.

use super::{clock::Clock, port};
use crate::memory::{
    PAGE, PhysRange,
    paging::{self, Caching, MapError},
};
use core::{
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};
use x86_64::{instructions::interrupts, registers::model_specific::ApicBase};

/// Interrupts a second from the timer.
pub(crate) const TICK_HZ: u64 = 100;
/// The timer's vector.
pub(crate) const TIMER_VECTOR: u8 = 0x20;
/// The vector of interrupts that turn out to be none.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

const ID: u64 = 0x20;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const COMMAND: u64 = 0x300;
const TIMER: u64 = 0x320;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;
const PERIODIC: u32 = 1 << 17;
const MASKED: u32 = 1 << 16;

/// Where the registers are; 0 until [`init`].
static REGISTERS: AtomicU64 = AtomicU64::new(0);
/// What the timer counts between two ticks.
static TICK: AtomicU32 = AtomicU32::new(1);

/// Silences the legacy controllers, enables the local one and starts its timer.
///
/// # Errors
/// When its registers can't be mapped.
pub(crate) fn init() -> Result<(), MapError> {
    // Both 8259s: every input masked.
    port::write_u8(0x21, 0xff);
    port::write_u8(0xa1, 0xff);
    let (frame, _) = ApicBase::read();
    let base = frame.start_address().as_u64();
    paging::map_range(PhysRange { start: base, end: base + PAGE }, Caching::Uncached)?;
    REGISTERS.store(base, Ordering::Relaxed);
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    // Divide by 16, count for about 10 ms, then have it count down TICK_HZ times a second.
    write(TIMER_DIVIDE, 0b0011);
    write(TIMER, MASKED);
    let begin = Clock::now_ns();
    write(TIMER_INITIAL, u32::MAX);
    Clock::spin(Duration::from_millis(10));
    let counted = u64::from(u32::MAX - read(TIMER_CURRENT));
    let elapsed = Clock::now_ns() - begin;
    let a_tick = u128::from(counted) * 1_000_000_000 / u128::from(elapsed * TICK_HZ);
    TICK.store(a_tick.clamp(1, u128::from(u32::MAX)) as u32, Ordering::Relaxed);
    tick();
    Ok(())
}

/// Enables the controller of a further processor and starts its timer, on it.
pub(crate) fn init_further() {
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    write(TIMER_DIVIDE, 0b0011);
    tick();
}

/// A message to all processors but this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Start over, and wait for the next one.
    Init,
    /// Run from this page, in real mode.
    Start(u8),
    /// This interrupt.
    Interrupt(u8),
}

/// Sends a message to all processors but this one.
pub(crate) fn send_to_others(message: Message) {
    // Intel SDM volume 3, 11.6.1: all but oneself, level asserted, and the kind.
    const OTHERS: u32 = 0b11 << 18 | 1 << 14;
    let kind = match message {
        Message::Init => 0b101 << 8,
        Message::Start(page) => 0b110 << 8 | u32::from(page),
        Message::Interrupt(vector) => u32::from(vector),
    };
    write(COMMAND, OTHERS | kind);
}

/// Halts for about so long, or until another interrupt. The timer ticks on afterwards.
pub(crate) fn nap(duration: Duration) {
    let tick_ns = 1_000_000_000 / TICK_HZ;
    let count = u64::from(TICK.load(Ordering::Relaxed)) * (duration.as_nanos() as u64).min(tick_ns) / tick_ns;
    interrupts::disable();
    write(TIMER, u32::from(TIMER_VECTOR));
    write(TIMER_INITIAL, count.max(1) as u32);
    interrupts::enable_and_hlt();
    tick();
}

/// Lets the timer interrupt [`TICK_HZ`] times a second.
fn tick() {
    write(TIMER, PERIODIC | u32::from(TIMER_VECTOR));
    write(TIMER_INITIAL, TICK.load(Ordering::Relaxed));
}

/// This processor's id, the destination of messages to it.
pub(crate) fn id() -> u8 {
    (read(ID) >> 24) as u8
}

/// Says that an interrupt was handled.
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

fn read(register: u64) -> u32 {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base == 0 {
        return 0;
    }
    // SAFETY: `init` mapped the page at `base`, uncached, and every register is inside it and aligned.
    unsafe { ptr::read_volatile((base + register) as *const u32) }
}

fn write(register: u64, value: u32) {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base != 0 {
        // SAFETY: as in `read`; the registers written here don't make the controller touch memory.
        unsafe { ptr::write_volatile((base + register) as *mut u32, value) };
    }
}
