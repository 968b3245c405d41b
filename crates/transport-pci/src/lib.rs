//! virtio over PCI, with shared-memory regions, for drivers built on virtio-drivers.
//!
//! ```
//! use transport_pci::{PciError, PciTransport};
//! use virtio_drivers::{Hal, transport::pci::bus::{ConfigurationAccess, DeviceFunction}};
//! use virtio_shm::{FILE_SYSTEM, ShmId, ShmTransport};
//!
//! fn find<H: Hal>(access: &mut impl ConfigurationAccess, function: DeviceFunction) -> Result<(), PciError> {
//!     let mut transport = PciTransport::new::<H, _>(access, function)?;
//!     if transport.device_id() == FILE_SYSTEM {
//!         let window = transport.shm_region(ShmId::FS_DAX_WINDOW);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! It needs virtio-drivers' `Hal` and `ConfigurationAccess`; where the latter has been given to a `PciRoot`,
//! [`SharedAccess`] serves both. The BARs must have addresses, from firmware or by `PciRoot::set_bar_64`. It needs no
//! allocator. The feature `test-utils` adds `model`, devices for tests in the same process, which needs one.
//!
//! - [`PciTransport`]: a `virtio_drivers::transport::Transport` and a [`virtio_shm::ShmTransport`], for devices of any
//!   type; only modern ones.
//! - [`MsixMessage`], [`QueueVectors`]: interrupts by MSI-X, which are methods of the transport.
//! - [`PciError`], [`Note`]: why a device cannot be driven, and what was odd about one that can.
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "test-utils")]
extern crate alloc;

mod access;
mod bar;
mod capability;
mod config;
mod error;
mod hal;
mod interrupt;
mod layout;
#[cfg(feature = "test-utils")]
pub mod model;
mod note;
mod shm;
mod structures;
mod transport;

pub use access::SharedAccess;
pub use error::{PciError, Structure, StructureFault};
pub use interrupt::{MsixMessage, QueueVectors};
pub use note::Note;
pub use transport::PciTransport;
