//! Devices in the same process, for tests: register models that obey the specification and write down every mistake of
//! the driver.
//!
//! A [`Device`] is what virtio makes of any device: status, features, queues, configuration, interrupts, regions of
//! shared memory. [`MmioModel`] gives it virtio-mmio registers; transport-pci gives it a configuration space. What the
//! device does with its queues is up to the test, in [`Device::on_notify`].
//!
//! ```
//! use transport_mmio::{MmioTransport, model::{Device, MmioModel, Spec}};
//! use virtio_shm::{ShmId, ShmTransport};
//!
//! let device = Device::new(Spec::file_system("myfs", 1).with_region(0, 0x1_0000_0000, 1 << 30));
//! let mut transport = MmioTransport::new(MmioModel::new(&device))?;
//! let window = transport.shm_region(ShmId::FS_DAX_WINDOW)?.expect("the model has one");
//! assert_eq!(window.len(), 1 << 30);
//! drop(transport);
//! assert_eq!(device.mistakes(), [""; 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod device;
mod mmio;

pub use device::{Area, Device, Manners, Queue, Region, Spec};
pub use mmio::MmioModel;
