//! A virtio-mmio device in the same process, for tests: the registers of a [`virtio_transport::model::Device`], which
//! writes down every mistake of the driver.
//!
//! ```
//! use transport_mmio::{MmioTransport, model::MmioModel};
//! use virtio_shm::{ShmId, ShmTransport};
//! use virtio_transport::model::{Device, Spec};
//!
//! let device = Device::new(Spec::file_system("myfs", 1).with_region(0, 0x1_0000_0000, 1 << 30));
//! let mut transport = MmioTransport::new(MmioModel::new(&device))?;
//! let window = transport.shm_region(ShmId::FS_DAX_WINDOW)?.expect("the model has one");
//! assert_eq!(window.len(), 1 << 30);
//! drop(transport);
//! assert_eq!(device.mistakes(), [""; 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod mmio;

pub use mmio::MmioModel;
