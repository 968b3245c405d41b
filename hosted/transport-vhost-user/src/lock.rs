//! The driver's locks in a process.
#![expect(unsafe_code, reason = "the trait of locks is unsafe to implement")]

use lock_api::RawMutex;

/// A lock that sleeps while another thread holds it: the threads of a process lose the processor at any time, also while
/// they hold a lock, and to spin until they have it again is a waste.
pub struct HostLock(parking_lot::RawMutex);

impl std::fmt::Debug for HostLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostLock").field(&self.0.is_locked()).finish()
    }
}

// SAFETY: the lock inside excludes others.
unsafe impl RawMutex for HostLock {
    const INIT: Self = Self(parking_lot::RawMutex::INIT);

    type GuardMarker = <parking_lot::RawMutex as RawMutex>::GuardMarker;

    fn lock(&self) {
        self.0.lock();
    }

    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock.
        unsafe { self.0.unlock() };
    }
}

impl virtio_fs::Lock for HostLock {
    /// There are no interrupt handlers in a process.
    const DISABLES_INTERRUPTS: bool = false;
}
