//! The embedder: a clock that skips, and a window.
#![expect(unsafe_code, reason = "the platform is unsafe to implement, and copies through raw pointers")]

use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use virtio_fs::{Platform, ShmRegion};

use crate::character::WINDOW;
use crate::clock::Clock;
use crate::transport::{Shared, device};
use crate::{lock, rules};

/// See the module.
pub(crate) struct Embedder {
    pub(crate) device: Shared,
    pub(crate) clock: Arc<Clock>,
}

/// The window's memory: once a thread, allocated at the first use, which is to be before a session counts what it takes.
pub(crate) fn window() -> Option<NonNull<u8>> {
    thread_local! {
        static MEMORY: Cell<usize> = const { Cell::new(0) };
    }
    let mut at = MEMORY.get();
    if at == 0 {
        let layout = Layout::from_size_align(WINDOW.1 as usize, 4096).ok()?;
        // SAFETY: the layout has a size.
        at = unsafe { alloc_zeroed(layout) }.expose_provenance();
        MEMORY.set(at);
    }
    NonNull::new(std::ptr::with_exposed_provenance_mut(at))
}

impl Embedder {
    /// Notes an access to bytes of the window that no file shows.
    fn check(&self, at: usize, len: usize) {
        lock::embedder("a copy of the window");
        let offset = window().and_then(|window| at.checked_sub(window.as_ptr().addr()));
        let mapped = offset.is_some_and(|offset| device(&self.device).is_mapped(offset as u64, len as u64));
        if !mapped {
            rules::broken(|| format!("{len} bytes of the window at {offset:x?} are accessed, which are not mapped"));
        }
    }
}

// SAFETY: the window's memory lives as long as the process, and the copies copy what they are asked to.
unsafe impl Platform for Embedder {
    fn now(&self) -> Duration {
        lock::embedder("Platform::now");
        self.clock.look()
    }

    fn task(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(1)
    }

    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        lock::embedder("Platform::wait");
        loop {
            if ready() {
                return true;
            }
            if self.clock.now() >= deadline {
                return false;
            }
            let mut device = device(&self.device);
            if !device.step() {
                // Nothing happens until something is due.
                let due = device.next_due().map_or(deadline, |due| due.min(deadline));
                self.clock.skip_to(due);
            }
        }
    }

    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        lock::embedder("Platform::map_window");
        // As a kernel that knows its machine.
        let inside = region.addr() >= WINDOW.0 && region.end() <= WINDOW.0 + WINDOW.1;
        let offset = usize::try_from(region.addr().checked_sub(WINDOW.0)?).ok()?;
        // SAFETY: the region lies inside the window.
        if inside { Some(unsafe { window()?.add(offset) }) } else { None }
    }

    fn unmap_window(&self, _: &ShmRegion, _: NonNull<u8>) {
        lock::embedder("Platform::unmap_window");
    }

    unsafe fn copy_from_window(&self, from: *const u8, to: &mut [u8]) {
        self.check(from.addr(), to.len());
        // SAFETY: the caller guarantees the source; a private slice does not overlap the window.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) }
    }

    unsafe fn copy_to_window(&self, from: &[u8], to: *mut u8) {
        self.check(to.addr(), from.len());
        // SAFETY: the caller guarantees the destination; a private slice does not overlap the window.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
}
