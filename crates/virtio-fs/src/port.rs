//! What the session needs of a running device.

use alloc::sync::Arc;

use virtio_transport::InterruptStatus;

use crate::Platform;

/// Completes what the device has returned. Allocates nothing and waits for nothing: interrupt handlers call it.
pub(crate) trait Completion: Send + Sync {
    /// Returns the number of completions.
    fn complete(&self) -> usize;
}

/// A running device, as those see it who have its queues.
pub(crate) trait DevicePort: Send + Sync {
    /// Notifies the device of new buffers in a queue.
    fn notify(&self, queue: u16);

    /// Acknowledges an interrupt; returns what it was for.
    fn ack_interrupt(&self) -> InterruptStatus;

    /// Resets the device and waits for it. Returns the status that the device shows at the deadline if it does not reset.
    fn reset(&self, platform: &dyn Platform) -> Result<(), u32>;

    /// Leaves the device alone for good.
    fn abandon(&self);

    /// Gives the transport up.
    fn close(&self);

    /// What interrupts complete from now on.
    fn attach(&self, completion: Arc<dyn Completion>);

    /// Interrupts complete nothing any more, and no handler does when this returns.
    fn detach(&self);
}
