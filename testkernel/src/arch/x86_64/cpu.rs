//! Single instructions.

use core::arch::{asm, x86_64::_rdtsc};
use x86_64::{
    VirtAddr,
    instructions::{interrupts, tables},
    structures::DescriptorTablePointer,
};

/// The time-stamp counter.
pub(crate) fn timestamp() -> u64 {
    // SAFETY: every 64-bit processor has the instruction, and nothing here disables it.
    unsafe { _rdtsc() }
}

/// Halts until the next interrupt, which the timer guarantees to come soon.
pub(crate) fn wait_for_interrupt() {
    interrupts::disable();
    interrupts::enable_and_hlt();
}

/// Halts until the next interrupt unless `done` says that there is nothing to wait for; returns what it said. `done` is
/// asked once, with interrupts off, so that an interrupt between the question and the halt is not missed.
pub(crate) fn wait_unless(done: impl FnOnce() -> bool) -> bool {
    interrupts::disable();
    let answer = done();
    if answer {
        interrupts::enable();
    } else {
        interrupts::enable_and_hlt();
    }
    answer
}

/// Stops this processor for ever, deaf to interrupts.
pub(crate) fn stop() -> ! {
    loop {
        interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Resets the machine the hard way: an exception with no table to find its handler in.
pub(crate) fn triple_fault() -> ! {
    let nothing = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: no exception is handled any more, which is the purpose.
    unsafe { tables::lidt(&nothing) };
    // SAFETY: with an empty table this resets the processor, and nothing follows.
    unsafe { asm!("ud2", options(noreturn)) }
}
