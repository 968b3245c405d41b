//! A virtio transport over PCI, with shared-memory regions.
//!
//! ```
//! use transport_pci::{PciError, PciTransport};
//! use virtio_shm::{FILE_SYSTEM, ShmId, ShmTransport};
//! use virtio_transport::{ConfigurationAccess, DmaMemory, PciFunction};
//!
//! fn find(
//!     access: &mut impl ConfigurationAccess,
//!     function: PciFunction,
//!     memory: &impl DmaMemory,
//! ) -> Result<(), PciError> {
//!     let mut transport = PciTransport::new(access, function, memory)?;
//!     if transport.device_id() == FILE_SYSTEM {
//!         let window = transport.shm_region(ShmId::FS_DAX_WINDOW);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! It needs virtio-transport's `ConfigurationAccess` and `DmaMemory`; a kernel with virtio-drivers' `ConfigurationAccess`
//! and `Hal` has them by the adaptors behind the feature `virtio-drivers-0_13`, which is on by default. The BARs must have
//! addresses, from firmware or from the kernel. It needs no allocator. The feature `test-utils` adds `model`, devices for
//! tests in the same process, which needs one.
//!
//! - [`PciTransport`]: a [`virtio_transport::Transport`] and a [`virtio_shm::ShmTransport`], for devices of any type; only
//!   modern ones.
//! - [`MsixMessage`], [`QueueVectors`]: interrupts by MSI-X, which are methods of the transport.
//! - [`bar_region`]: the memory behind a BAR of any function, such as that of an ivshmem device.
//! - [`PciError`], [`Note`]: why a device cannot be driven, and what was odd about one that can.
#![no_std]
#![deny(unsafe_code)]
#![deny(clippy::incompatible_msrv)]

#[cfg(feature = "test-utils")]
extern crate alloc;

mod bar;
mod capability;
mod config;
mod error;
mod interrupt;
mod layout;
mod map;
#[cfg(feature = "test-utils")]
pub mod model;
mod note;
mod regions;
mod shm;
mod span;
mod structures;
mod transport;
mod vectors;

pub use bar::bar_region;
pub use error::{PciError, Structure, StructureFault};
pub use interrupt::MsixMessage;
pub use note::Note;
pub use transport::PciTransport;
pub use vectors::QueueVectors;
