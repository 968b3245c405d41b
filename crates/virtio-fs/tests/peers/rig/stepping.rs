//! A lock that lets a test act between any two steps of an operation: each time the thread takes a lock and holds none.

use std::cell::{Cell, RefCell};

use lock_api::RawMutex;
use virtio_fs::Lock;

type Hook = Box<dyn FnMut()>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A spin lock that runs the thread's hook before it is taken.
pub(crate) struct SteppingLock(spin::Mutex<()>);

// SAFETY: all of it is left to a lock that is one; the hook runs before.
unsafe impl RawMutex for SteppingLock {
    const INIT: Self = Self(<spin::Mutex<()> as RawMutex>::INIT);
    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        step();
        RawMutex::lock(&self.0);
        HELD.set(HELD.get() + 1);
    }

    fn try_lock(&self) -> bool {
        let taken = RawMutex::try_lock(&self.0);
        HELD.set(HELD.get() + usize::from(taken));
        taken
    }

    unsafe fn unlock(&self) {
        HELD.set(HELD.get() - 1);
        // SAFETY: the caller holds the lock.
        unsafe { RawMutex::unlock(&self.0) }
    }
}

impl Lock for SteppingLock {
    const DISABLES_INTERRUPTS: bool = false;
}

fn step() {
    if HELD.get() > 0 {
        return;
    }
    // Taken out meanwhile: what the hook does has no steps.
    if let Some(mut hook) = HOOK.take() {
        hook();
        HOOK.set(Some(hook));
    }
}

/// Runs `poll` without steps: how often a wait looks again is up to the machine.
pub(crate) fn unstepped<T>(poll: impl FnOnce() -> T) -> T {
    let hook = HOOK.take();
    let result = poll();
    HOOK.set(hook);
    result
}

/// Runs `work` with `hook` called at each step of it with the step's number.
pub(crate) fn stepping<T>(mut hook: impl FnMut(usize) + 'static, work: impl FnOnce() -> T) -> T {
    /// Ends the steps, also when `work` panics: the hook holds what the thread's end must not drop.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            HOOK.set(None);
        }
    }
    let mut at = 0;
    let _end = End;
    HOOK.set(Some(Box::new(move || {
        hook(at);
        at += 1;
    })));
    work()
}
