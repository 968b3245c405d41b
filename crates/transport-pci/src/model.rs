//! PCI functions in the same process, for tests: a configuration space and structures in BARs for a
//! [`Device`](virtio_transport::model::Device), which write down every mistake of the driver.
//!
//! ```
//! use virtio_transport::model::{Device, Spec};
//! use transport_pci::{PciError, PciTransport, model::PciModel};
//! use virtio_shm::{ShmId, ShmTransport};
//!
//! let device = Device::new(Spec::file_system("myfs", 1).with_region(0, 0xf800_0000, 64 << 20));
//! let mut function = PciModel::new(&device);
//! let mut transport = function.open()?;
//! assert_eq!(transport.device_id(), 26);
//! let window = transport.shm_region(ShmId::FS_DAX_WINDOW);
//! assert_eq!(window.map(|window| window.map(|window| window.len())), Ok(Some(64 << 20)));
//! assert_eq!(device.mistakes(), [""; 0]);
//! # Ok::<(), PciError>(())
//! ```

mod function;
mod mapping;
mod space;
mod structure;

pub use function::{FUNCTION, PciModel};
pub use structure::StructureModel;
