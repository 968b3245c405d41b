//! One configuration access for two users.

use core::cell::RefCell;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// A configuration access that is shared between a `PciRoot` and a transport.
///
/// `PciRoot` keeps what it is given to itself, and has no call that reads the fields of a capability. Where an embedder's
/// access is no cheap copy, this lends it to both:
///
/// ```
/// use core::cell::RefCell;
/// use virtio_drivers::transport::pci::bus::{ConfigurationAccess, PciRoot};
/// use virtio_transport::PciFunction;
/// use virtio_transport::virtio_drivers_0_13::{SharedAccess, WordAccess};
///
/// fn devices(access: impl ConfigurationAccess) {
///     let access = RefCell::new(access);
///     let root = PciRoot::new(SharedAccess::new(&access));
///     let mut config = WordAccess(SharedAccess::new(&access));
///     for (function, info) in root.enumerate_bus(0) {
///         // PciTransport::new(&mut config, function.into(), &memory)
///         # let _: (_, PciFunction, _) = (&mut config, function.into(), info);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct SharedAccess<'a, C> {
    access: &'a RefCell<C>,
}

impl<'a, C> SharedAccess<'a, C> {
    /// Shares `access`.
    pub const fn new(access: &'a RefCell<C>) -> Self {
        Self { access }
    }
}

impl<C> Clone for SharedAccess<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for SharedAccess<'_, C> {}

impl<C: ConfigurationAccess> ConfigurationAccess for SharedAccess<'_, C> {
    fn read_word(&self, device_function: DeviceFunction, register_offset: u8) -> u32 {
        self.access.borrow().read_word(device_function, register_offset)
    }

    fn write_word(&mut self, device_function: DeviceFunction, register_offset: u8, data: u32) {
        self.access.borrow_mut().write_word(device_function, register_offset, data);
    }

    #[expect(unsafe_code, reason = "the trait has it so")]
    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}
