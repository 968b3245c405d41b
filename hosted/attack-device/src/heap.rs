//! The heap, counted: what a thread takes of it, since a session is one thread's and others may run beside it.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counted;

thread_local! {
    // Neither allocates nor is dropped, so that the allocator can use them at any time. Below 0 on a thread that frees what
    // another one took.
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static HEAP: Counted = Counted;

fn add(len: usize) {
    let used = USED.get().wrapping_add(len as isize);
    USED.set(used);
    PEAK.set(PEAK.get().max(used));
}

fn sub(len: usize) {
    USED.set(USED.get().wrapping_sub(len as isize));
}

// SAFETY: passes on what the system's allocator guarantees.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        sub(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        add(len);
        sub(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, len) }
    }
}

/// The most that this thread uses from a moment on, beyond what was used then.
pub(crate) struct Peak(isize);

impl Peak {
    /// From now on.
    pub(crate) fn from_now() -> Self {
        let used = USED.get();
        PEAK.set(used);
        Self(used)
    }

    /// In bytes.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(PEAK.get().saturating_sub(self.0)).unwrap_or(0)
    }
}
