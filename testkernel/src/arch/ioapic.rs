//! The I/O interrupt controller: interrupt lines become vectors.

use crate::{
    boot::start_info::PhysRange,
    memory::{
        PAGE,
        paging::{self, Caching, MapError},
    },
};
use core::ptr;
use spin::Mutex;

/// Where PCs have their first controller, and microvm its second.
const CONTROLLERS: [(u64, u32); 2] = [(0xfec0_0000, 0), (0xfec1_0000, 24)];
/// Inputs of a controller.
const INPUTS: u32 = 24;

/// How a line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// By going up.
    Edge,
    /// By being up until the device is content.
    Level,
}

/// The index register and the window behind it are used as a pair.
static LOCK: Mutex<()> = Mutex::new(());

/// Routes a global interrupt number to a vector of the processor with the given local id.
///
/// # Errors
/// When the number belongs to no controller, or its registers can't be mapped.
pub(crate) fn route(irq: u32, vector: u8, destination: u8, trigger: Trigger) -> Result<(), RouteError> {
    let (base, first) = *CONTROLLERS
        .iter()
        .find(|(_, first)| (*first..*first + INPUTS).contains(&irq))
        .ok_or(RouteError::NoController(irq))?;
    paging::map_range(PhysRange { start: base, end: base + PAGE }, Caching::Uncached).map_err(RouteError::Map)?;
    let level = if trigger == Trigger::Level { 1 << 15 } else { 0 };
    let index = 0x10 + 2 * (irq - first);
    let _guard = LOCK.lock();
    write(base, index + 1, u32::from(destination) << 24);
    write(base, index, u32::from(vector) | level);
    Ok(())
}

/// Why an interrupt cannot be routed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RouteError {
    /// No controller has that input.
    NoController(u32),
    /// The controller's registers can't be mapped.
    Map(MapError),
}

fn write(base: u64, index: u32, value: u32) {
    // SAFETY: `route` mapped the page at `base`, uncached; the index register is at its start.
    unsafe { ptr::write_volatile(base as *mut u32, index) };
    // SAFETY: the data window is 16 bytes on.
    unsafe { ptr::write_volatile((base + 0x10) as *mut u32, value) };
}
