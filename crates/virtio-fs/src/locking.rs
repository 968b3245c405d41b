//! The kind of lock inside the driver.

use lock_api::RawMutex;

/// The kind of lock inside the driver: a `lock_api` lock, of which the driver has to know one thing more.
///
/// ```
/// use lock_api::{GuardNoSend, RawMutex};
/// use virtio_fs::Lock;
///
/// /// A kernel's own lock, which disables interrupts while it is held.
/// struct IrqLock(spin::Mutex<()>);
///
/// // SAFETY: the spin lock inside excludes others.
/// unsafe impl RawMutex for IrqLock {
///     const INIT: Self = Self(spin::Mutex::new(()));
///     type GuardMarker = GuardNoSend;
///
///     fn lock(&self) {
///         // disable interrupts here
///         RawMutex::lock(&self.0);
///     }
///
///     fn try_lock(&self) -> bool {
///         RawMutex::try_lock(&self.0)
///     }
///
///     unsafe fn unlock(&self) {
///         // SAFETY: the caller holds the lock.
///         unsafe { RawMutex::unlock(&self.0) };
///         // and enable them again
///     }
/// }
///
/// impl Lock for IrqLock {
///     const DISABLES_INTERRUPTS: bool = true;
/// }
/// ```
pub trait Lock: RawMutex + Send + Sync + 'static {
    /// Whether no interrupt handler runs on a processor that holds the lock. Without, a handler that needs the lock waits
    /// for ever for what it interrupts, so a mount with [`Interrupts::InHandler`](crate::Interrupts::InHandler) is refused.
    const DISABLES_INTERRUPTS: bool;
}

/// Locks of spin spin with interrupts as they are.
impl Lock for spin::Mutex<()> {
    const DISABLES_INTERRUPTS: bool = false;
}

/// The lock of every type that names none: a short spin lock that leaves interrupts as they are.
pub type DefaultLock = spin::Mutex<()>;
