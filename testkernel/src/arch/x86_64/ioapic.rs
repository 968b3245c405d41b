//! The I/O interrupt controller: interrupt lines become vectors.

use crate::memory::{
    PAGE, PhysRange,
    paging::{self, Caching, MapError},
};
use core::ptr;
use spin::Mutex;
use thiserror::Error;
use x86_64::instructions::interrupts::without_interrupts;

/// Where PCs have their first controller, and microvm its second.
const CONTROLLERS: [(u64, u32); 2] = [(0xfec0_0000, 0), (0xfec1_0000, 24)];
/// Inputs of a controller.
const INPUTS: u32 = 24;
/// Bits of an entry: masked, and triggered by level.
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;

/// How a line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// By going up.
    Edge,
    /// By being up until the device is content.
    Level,
}

/// Why an interrupt cannot be routed.
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum RouteError {
    /// No controller has that input.
    #[error("no interrupt controller has input {0}")]
    NoController(u32),
    /// The controller's registers can't be mapped.
    #[error("the interrupt controller cannot be mapped")]
    Map(#[from] MapError),
}

/// The index register and the window behind it are used as a pair. Taken with interrupts off, since a handler masks
/// lines.
static LOCK: Mutex<()> = Mutex::new(());

/// An input of a controller that is routed to a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    base: u64,
    /// Index of the lower word of the input's entry.
    index: u32,
    /// The lower word, unmasked.
    entry: u32,
}

impl Line {
    /// Keeps the line from interrupting. An interrupt that is due comes when it is unmasked, if it is still due.
    pub(crate) fn mask(self) {
        write(self.base, self.index, self.entry | MASKED);
    }

    /// Lets the line interrupt.
    pub(crate) fn unmask(self) {
        write(self.base, self.index, self.entry);
    }
}

/// Routes a global interrupt number to a vector of the processor with the given local id. The line is masked until
/// [`Line::unmask`].
///
/// # Errors
/// When the number belongs to no controller, or its registers can't be mapped.
pub(crate) fn route(irq: u32, vector: u8, destination: u8, trigger: Trigger) -> Result<Line, RouteError> {
    let (base, first) = *CONTROLLERS
        .iter()
        .find(|(_, first)| (*first..*first + INPUTS).contains(&irq))
        .ok_or(RouteError::NoController(irq))?;
    paging::map_range(PhysRange { start: base, end: base + PAGE }, Caching::Uncached)?;
    let level = if trigger == Trigger::Level { LEVEL } else { 0 };
    let line = Line { base, index: 0x10 + 2 * (irq - first), entry: u32::from(vector) | level };
    line.mask();
    write(base, line.index + 1, u32::from(destination) << 24);
    Ok(line)
}

fn write(base: u64, index: u32, value: u32) {
    without_interrupts(|| {
        let _guard = LOCK.lock();
        // SAFETY: `route` mapped the page at `base`, uncached; the index register is at its start.
        unsafe { ptr::write_volatile(base as *mut u32, index) };
        // SAFETY: the data window is 16 bytes on.
        unsafe { ptr::write_volatile((base + 0x10) as *mut u32, value) };
    });
}
