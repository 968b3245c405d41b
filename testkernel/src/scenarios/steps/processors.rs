//! Further processors of the machine.

use crate::{
    arch::{clock::Clock, cpu, smp, startup},
    events,
    outcome::{Outcome, Stop, ensure},
    watchdog::Doing,
};
use alloc::format;
use core::time::Duration;

/// Starts all processors, at least so many; a machine with fewer does not do for the scenario.
pub(crate) fn start(least: usize) -> Result<usize, Stop> {
    let count = startup::start_all()?;
    events::metric("processors", count as u64, "1");
    if count < least {
        return Err(Stop::Skip(format!("the machine has {count} processors, {least} are needed")));
    }
    Ok(count)
}

/// Waits until a processor has nothing to do any more. Fails when it is stuck, and says at what.
pub(crate) fn join(processor: usize, patience: Duration) -> Outcome {
    let deadline = Clock::now_ns() + patience.as_nanos() as u64;
    while smp::is_busy(processor) {
        ensure!(Clock::now_ns() < deadline, "processor {processor} is still busy after {patience:?}{Doing}");
        cpu::wait_for_interrupt();
    }
    Ok(())
}
