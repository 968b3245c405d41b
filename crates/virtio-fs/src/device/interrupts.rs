//! What the embedder calls when the device interrupts.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use virtio_transport::{DmaMemory, InterruptStatus, Transport};

use super::port::Port;
use crate::Lock;
use crate::dma_memory::Memory;

/// A device that is not mounted yet.
///
/// It exists so that interrupts can be connected before the device can raise any: a level-triggered line with a handler that
/// cannot acknowledge the device yet never falls, and the processor does nothing else any more.
///
/// ```no_run
/// # use virtio_fs::{Config, Device, DmaMemory, Interrupts, Lock, MountError, Platform, Transport, VirtioFs};
/// # fn connect(_: impl Fn() + Send + Sync + 'static) {}
/// fn mount<R: Lock>(
///     transport: impl Transport + Send + 'static,
///     memory: impl DmaMemory + Send + Sync + 'static,
///     platform: impl Platform + 'static,
/// ) -> Result<VirtioFs<R>, MountError> {
///     let device = Device::<R>::with_lock(transport, memory);
///     let interrupt = device.interrupt();
///     connect(move || {
///         interrupt.handle();
///     });
///     device.mount(platform, Config::default().interrupts(Interrupts::InHandler))
/// }
/// ```
pub struct Device<R: Lock = spin::Mutex<()>> {
    pub(crate) port: Arc<Port<R>>,
    pub(crate) memory: Memory,
}

impl Device {
    /// The device behind `transport`, with the default lock. Nothing is written to it yet.
    pub fn new(transport: impl Transport + Send + 'static, memory: impl DmaMemory + Send + Sync + 'static) -> Self {
        Self::with_lock(transport, memory)
    }
}

impl<R: Lock> Device<R> {
    /// The device behind `transport`, with locks of the kind `R`. Nothing is written to it yet.
    pub fn with_lock(
        transport: impl Transport + Send + 'static,
        memory: impl DmaMemory + Send + Sync + 'static,
    ) -> Self {
        Self { port: Arc::new(Port::new(Box::new(transport))), memory: Arc::new(memory) }
    }

    /// What to call when the device interrupts, before, during and after the mount.
    pub fn interrupt(&self) -> InterruptHandle<R> {
        InterruptHandle { port: self.port.clone() }
    }
}

impl<R: Lock> fmt::Debug for Device<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

/// Acknowledges a device's interrupts and completes its requests. Clones are for the same device.
///
/// Once the file system is gone the handle does nothing. It keeps no memory of the device's alive.
pub struct InterruptHandle<R: Lock = spin::Mutex<()>> {
    port: Arc<Port<R>>,
}

/// What an interrupt was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupted {
    /// What the device said. Empty if it was not this device that interrupted, which matters on a line that several share;
    /// also with MSI-X, where devices need not say anything.
    pub status: InterruptStatus,
    /// How many requests came back.
    pub completed: usize,
}

impl<R: Lock> InterruptHandle<R> {
    /// Acknowledges the interrupt, which ends it on a level-triggered line, and completes what the device has returned:
    /// wakers are woken. Allocates nothing, and waits for nothing but the driver's locks.
    ///
    /// Called by interrupt handlers, the lock `R` has to keep them out while it is held ([`Lock::DISABLES_INTERRUPTS`]).
    pub fn handle(&self) -> Interrupted {
        let (status, completed) = self.port.handle_interrupt();
        Interrupted { status, completed }
    }
}

impl<R: Lock> Clone for InterruptHandle<R> {
    fn clone(&self) -> Self {
        Self { port: self.port.clone() }
    }
}

impl<R: Lock> fmt::Debug for InterruptHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptHandle").finish_non_exhaustive()
    }
}
