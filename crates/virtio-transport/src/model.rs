//! Devices in the same process, for tests: register models that obey the specification and write down every mistake of
//! the driver.
//!
//! A [`Device`] is what virtio makes of any device: status, features, queues, configuration, interrupts, regions of
//! shared memory. The crates of the transports give it registers: transport-mmio those of virtio-mmio, transport-pci a
//! configuration space. What the device does with its queues is up to the test, in [`Device::on_notify`].
//!
//! ```
//! use virtio_transport::model::{Device, Spec};
//!
//! let device = Device::new(Spec::file_system("myfs", 1).with_region(0, 0x1_0000_0000, 1 << 30));
//! device.set_status(3);
//! assert_eq!(device.mistakes(), ["status 0x0 -> 0x3: bits go one at a time, and stay"]);
//! ```

mod device;

pub use device::{Area, Device, Manners, Queue, Region, Spec};
