//! What the file system driver asks of a kernel: a clock, a way to wait, the window in memory, and copies.

use crate::{
    arch::{apic, clock::Clock, copy::Copy, cpu},
    boot::start_info::StartInfo,
    devices::{Device, DeviceInterrupt},
    memory::{
        LARGE_PAGE, PhysRange,
        paging::{self, Caching},
    },
};
use core::{ptr::NonNull, time::Duration};
use virtio_fs::{Platform, Transport};
use virtio_shm::ShmRegion;

/// How long a wait without interrupts looks all the time. Under emulation the daemon may need the very processor that
/// looks, so this must be short.
const LOOK: Duration = Duration::from_micros(20);
/// How long it halts between looks after that, at first and at most.
const NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(5);

/// The kernel, as the driver sees it.
#[derive(Clone, Debug)]
pub(crate) struct KernelPlatform {
    /// How the device interrupts, and the device, to acknowledge it; `None` when it is polled.
    pub(crate) interrupt: Option<(DeviceInterrupt, Device)>,
    /// The machine's RAM, in which no window may lie.
    pub(crate) start_info: &'static StartInfo,
}

// SAFETY: the window is mapped one to one, write-back, outside RAM, until it is unmapped, and nothing else maps it; the
// copies copy what they are asked to.
unsafe impl Platform for KernelPlatform {
    fn now(&self) -> Duration {
        Duration::from_nanos(Clock::now_ns())
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        // A question that was answered with yes must not be asked again: the driver takes the reply with it.
        let begin = self.now();
        loop {
            let now = self.now();
            if now >= deadline {
                return ready();
            }
            match &self.interrupt {
                // The timer ends the halt at the latest, so the deadline is seen.
                Some((interrupt, device)) => {
                    let done = cpu::wait_unless(&mut *ready);
                    if let Some(line) = interrupt.line {
                        device.clone().ack_interrupt();
                        line.unmask();
                    }
                    if done {
                        return true;
                    }
                }
                None if ready() => return true,
                None if now.saturating_sub(begin) < LOOK => core::hint::spin_loop(),
                // In proportion to the wait so far, so that a look is at most half as late again.
                None => apic::nap(((now.saturating_sub(begin)) / 2).clamp(NAP, LONGEST_NAP)),
            }
        }
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        let checked = region
            .check_outside(self.start_info.memory().iter().map(|range| range.start..range.end))
            .and_then(|()| region.check_aligned(LARGE_PAGE));
        if let Err(error) = checked {
            log::error!("the window is not used: {error}");
            return None;
        }
        let range = PhysRange { start: region.addr(), end: region.end() };
        if let Err(error) = paging::map_range(range, Caching::WriteBack) {
            log::error!("the window is not used: {error}");
            return None;
        }
        NonNull::new(region.addr() as *mut u8)
    }

    fn unmap_window(&self, region: &ShmRegion, _mapped: NonNull<u8>) {
        let range = PhysRange { start: region.addr(), end: region.end() };
        // SAFETY: the driver says that nothing uses the window any more.
        if let Err(error) = unsafe { paging::unmap_range(range) } {
            log::error!("the window stays mapped: {error}");
        }
    }

    unsafe fn copy_from_window(&self, from: *const u8, to: &mut [u8]) {
        // SAFETY: the caller's promise.
        unsafe { Copy::best().copy(from, to.as_mut_ptr(), to.len()) };
    }

    unsafe fn copy_to_window(&self, from: &[u8], to: *mut u8) {
        // SAFETY: as above.
        unsafe { Copy::best().copy(from.as_ptr(), to, from.len()) };
    }
}
