//! The transport, shared by the driver and by interrupt handlers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use lock_api::Mutex;
use virtio_transport::{InterruptStatus, Transport};

use crate::port::{Completion, DevicePort};
use crate::{Lock, Platform};

/// How long the device may take to reset.
pub(crate) const RESET_TIMEOUT: Duration = Duration::from_secs(1);

/// How often to look whether handlers on other processors have returned.
const DETACH_LOOKS: u32 = 1_000_000;

/// The transport of a device. Its lock is held for single accesses and for the steps of the bring-up, never across a wait
/// or a call into the embedder.
pub(crate) struct Port<R> {
    /// `None` once the device is left alone, or closed.
    transport: Mutex<R, Option<Box<dyn Transport + Send>>>,
    completion: Mutex<R, Option<Arc<dyn Completion>>>,
    /// Handlers that may hold the completion at this moment.
    handlers: AtomicUsize,
}

impl<R: Lock> Port<R> {
    pub(crate) fn new(transport: Box<dyn Transport + Send>) -> Self {
        let transport = Mutex::new(Some(transport));
        Self { transport, completion: Mutex::new(None), handlers: AtomicUsize::new(0) }
    }

    /// Calls `step` with the transport; `None` if there is none any more.
    pub(crate) fn with<T>(&self, step: impl FnOnce(&mut (dyn Transport + Send)) -> T) -> Option<T> {
        self.transport.lock().as_mut().map(|transport| step(&mut **transport))
    }

    /// Acknowledges an interrupt and completes what the device has returned.
    pub(crate) fn handle_interrupt(&self) -> (InterruptStatus, usize) {
        let status = self.ack_interrupt();
        self.handlers.fetch_add(1, Ordering::AcqRel);
        let completion = self.completion.lock().clone();
        let completed = completion.as_ref().map_or(0, |completion| completion.complete());
        drop(completion);
        self.handlers.fetch_sub(1, Ordering::Release);
        (status, completed)
    }
}

impl<R: Lock> DevicePort for Port<R> {
    fn notify(&self, queue: u16) {
        self.with(|transport| transport.notify(queue));
    }

    fn ack_interrupt(&self) -> InterruptStatus {
        self.with(|transport| transport.ack_interrupt()).unwrap_or_default()
    }

    fn reset(&self, platform: &dyn Platform) -> Result<(), u32> {
        self.with(|transport| transport.begin_reset());
        let status = || self.with(|transport| transport.get_status().bits());
        // The lock is not held while waiting: an interrupt may want it.
        let deadline = platform.now().saturating_add(RESET_TIMEOUT);
        if platform.wait(deadline, &mut || status() == Some(0)) { Ok(()) } else { Err(status().unwrap_or(u32::MAX)) }
    }

    /// Leaves the device alone for good: transports reset their device when they are dropped, which is touching it, so
    /// this one never is.
    fn abandon(&self) {
        let transport = self.transport.lock().take();
        core::mem::forget(transport);
    }

    fn close(&self) {
        let transport = self.transport.lock().take();
        drop(transport);
    }

    fn attach(&self, completion: Arc<dyn Completion>) {
        let before = self.completion.lock().replace(completion);
        drop(before);
    }

    /// Interrupts complete nothing any more. Waits for handlers on other processors to return, so that none of them is
    /// left with the last reference and frees memory. Not for ever: a handler may wake what calls this.
    fn detach(&self) {
        let completion = self.completion.lock().take();
        for _ in 0..DETACH_LOOKS {
            if self.handlers.load(Ordering::Acquire) == 0 {
                break;
            }
            spin_loop();
        }
        drop(completion);
    }
}
