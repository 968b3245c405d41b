//! The driver's locks, watched: who holds one must not take it again, nor call the embedder.
#![expect(unsafe_code, reason = "a lock of `lock_api` is unsafe to implement")]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use lock_api::{GuardSend, RawMutex};
use virtio_fs::Lock;

use crate::rules;

thread_local! {
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A lock of one thread.
#[derive(Debug)]
pub(crate) struct Watched(AtomicBool);

// SAFETY: `lock` does not return, and `try_lock` gives false, while the flag is set, which only `unlock` clears.
unsafe impl RawMutex for Watched {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = GuardSend;

    fn lock(&self) {
        // There is one thread: it would wait for itself, for ever.
        assert!(self.try_lock(), "a lock is taken twice");
    }

    fn try_lock(&self) -> bool {
        let free = !self.0.swap(true, Ordering::Acquire);
        if free {
            HELD.set(HELD.get() + 1);
        }
        free
    }

    unsafe fn unlock(&self) {
        HELD.set(HELD.get() - 1);
        self.0.store(false, Ordering::Release);
    }
}

impl Lock for Watched {
    const DISABLES_INTERRUPTS: bool = true;
}

/// Begins with no lock held: a session that panicked may have left some.
pub(crate) fn forget() {
    HELD.set(0);
}

/// A call of the embedder's, which must not come while a lock is held.
pub(crate) fn embedder(call: &str) {
    if HELD.get() > 0 {
        rules::broken(|| format!("{call} is called with {} of the driver's locks held", HELD.get()));
    }
}
