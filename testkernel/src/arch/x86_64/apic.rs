//! The local interrupt controller: its timer drives the watchdog, and messages arrive through it.
//!
//! A processor that was started in x2APIC mode has the registers as model-specific ones, and none in memory (Intel SDM
//! volume 3, 12.12); the mode that the first processor is in is used, on all of them.

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
use thiserror::Error;
use x86_64::{
    instructions::interrupts,
    registers::model_specific::{ApicBase, ApicBaseFlags, Msr},
};

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

/// The first model-specific register of the controller; the others follow in steps of one where memory has 16 bytes.
const FIRST_MSR: u32 = 0x800;

/// Where the registers are in memory; [`IN_MSRS`] in x2APIC mode, 0 until [`init`].
static REGISTERS: AtomicU64 = AtomicU64::new(0);
/// No address of a page.
const IN_MSRS: u64 = 1;
/// What the timer counts between two ticks.
static TICK: AtomicU32 = AtomicU32::new(1);

/// Why the controller cannot be used.
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum ApicError {
    /// Its registers cannot be mapped.
    #[error("its registers cannot be mapped")]
    Map(#[from] MapError),
    /// Its timer counts too slowly for a tick, or not at all, so that no wait would ever end.
    #[error("its timer counted {0} in 10 ms")]
    TimerStands(u32),
}

/// Silences the legacy controllers, enables the local one and starts its timer.
///
/// # Errors
/// When its registers cannot be mapped, or its timer does not count.
pub(crate) fn init() -> Result<(), ApicError> {
    // Both 8259s: every input masked.
    port::write_u8(0x21, 0xff);
    port::write_u8(0xa1, 0xff);
    let (frame, flags) = ApicBase::read();
    if flags.contains(ApicBaseFlags::X2APIC_ENABLE) {
        REGISTERS.store(IN_MSRS, Ordering::Relaxed);
    } else {
        let base = frame.start_address().as_u64();
        paging::map_range(PhysRange { start: base, end: base + PAGE }, Caching::Uncached)?;
        REGISTERS.store(base, Ordering::Relaxed);
    }
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    // Divide by 16, count for about 10 ms, then have it count down TICK_HZ times a second.
    write(TIMER_DIVIDE, 0b0011);
    write(TIMER, MASKED);
    let begin = Clock::now_ns();
    write(TIMER_INITIAL, u32::MAX);
    Clock::spin(Duration::from_millis(10));
    let counted = u32::MAX - read(TIMER_CURRENT);
    let elapsed = Clock::now_ns() - begin;
    TICK.store(counts_a_tick(counted, elapsed).ok_or(ApicError::TimerStands(counted))?, Ordering::Relaxed);
    tick();
    Ok(())
}

/// What the timer counts in a tick, after it has counted so much in so many nanoseconds. `None` if that is nothing, or the
/// timer was not running: then it reads as if it had counted everything or nothing.
fn counts_a_tick(counted: u32, elapsed_ns: u64) -> Option<u32> {
    let a_tick = u128::from(counted) * 1_000_000_000 / u128::from(elapsed_ns.max(1) * TICK_HZ);
    u32::try_from(a_tick).ok().filter(|&count| count > 0 && counted < u32::MAX)
}

/// Puts the controller into x2APIC mode, as some monitors start it; `false` where the processor does not have that.
pub(crate) fn enter_x2apic() -> bool {
    // CPUID leaf 1, ECX bit 21.
    if core::arch::x86_64::__cpuid(1).ecx & 1 << 21 == 0 {
        return false;
    }
    let (frame, flags) = ApicBase::read();
    // SAFETY: the registers stay where they are, and nothing uses those in memory from here on: `init`, which looks at the
    // mode, runs after this, and further processors enter the mode before they touch any.
    unsafe { ApicBase::write(frame, flags | ApicBaseFlags::LAPIC_ENABLE | ApicBaseFlags::X2APIC_ENABLE) };
    true
}

/// Whether the controller is in x2APIC mode.
pub(crate) fn is_x2apic() -> bool {
    REGISTERS.load(Ordering::Relaxed) == IN_MSRS
}

/// Enables the controller of a further processor, in the mode of the first one, and starts its timer, on it.
pub(crate) fn init_further() {
    if is_x2apic() {
        // The first processor has the mode, so this one has it.
        enter_x2apic();
    }
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

/// This processor's id, the destination of messages to it. Ids above 255 need remapped interrupts, which this kernel does
/// not have; the machine's first processor has a small one.
pub(crate) fn id() -> u8 {
    match is_x2apic() {
        true => read(ID) as u8,
        false => (read(ID) >> 24) as u8,
    }
}

/// Says that an interrupt was handled.
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// The model-specific register that stands for one in memory.
const fn msr(register: u64) -> Msr {
    Msr::new(FIRST_MSR + (register >> 4) as u32)
}

fn read(register: u64) -> u32 {
    match REGISTERS.load(Ordering::Relaxed) {
        0 => 0,
        // SAFETY: in x2APIC mode every register that is read here exists.
        IN_MSRS => unsafe { msr(register).read() as u32 },
        // SAFETY: `init` mapped the page at `base`, uncached, and every register is inside it and aligned.
        base => unsafe { ptr::read_volatile((base + register) as *const u32) },
    }
}

fn write(register: u64, value: u32) {
    match REGISTERS.load(Ordering::Relaxed) {
        0 => {}
        // SAFETY: in x2APIC mode every register that is written here exists and takes these values; none makes the
        // controller touch memory. The upper half of the command register, 0, is not used by messages to all.
        IN_MSRS => unsafe { msr(register).write(value.into()) },
        // SAFETY: as in `read`; the registers written here don't make the controller touch memory.
        base => unsafe { ptr::write_volatile((base + register) as *mut u32, value) },
    }
}
