//! Device and interrupt status.

use bitflags::bitflags;

bitflags! {
    /// The device status (virtio 1.3, 2.1). Writing the empty status resets the device.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DeviceStatus: u32 {
        /// The driver has found the device and knows it as a virtio device.
        const ACKNOWLEDGE = 1;
        /// The driver knows how to drive the device.
        const DRIVER = 2;
        /// The driver is set up and drives the device.
        const DRIVER_OK = 4;
        /// The features are negotiated.
        const FEATURES_OK = 8;
        /// The device has failed and needs a reset.
        const DEVICE_NEEDS_RESET = 64;
        /// The driver has given up on the device.
        const FAILED = 128;
        // Whatever else a device says stays visible.
        const _ = !0;
    }
}

bitflags! {
    /// The interrupts that were pending (virtio 1.3, 4.1.4.5 and 4.2.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct InterruptStatus: u32 {
        /// The device used buffers of a queue.
        const QUEUE_INTERRUPT = 1;
        /// The device changed its configuration.
        const DEVICE_CONFIGURATION_INTERRUPT = 2;
    }
}
