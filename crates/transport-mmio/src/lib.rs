//! A virtio transport over MMIO, with shared-memory regions.
//!
//! ```no_run
//! use core::ptr::NonNull;
//! use transport_mmio::{MmioError, MmioTransport};
//! use virtio_shm::{FILE_SYSTEM, ShmId, ShmTransport};
//!
//! /// `base` is where the embedder has mapped 0x200 bytes of registers.
//! fn find(base: NonNull<u8>) -> Result<(), MmioError> {
//!     // SAFETY: the embedder's memory map says that a virtio-mmio device is there, and nothing else uses it.
//!     let mut transport = unsafe { MmioTransport::from_base(base, 0x200) }?;
//!     if transport.device_id() == FILE_SYSTEM {
//!         let window = transport.shm_region(ShmId::FS_DAX_WINDOW);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! It needs the registers mapped as device memory, but no allocator. The feature `test-utils` adds `model`, devices for
//! tests in the same process, which needs one. The feature `virtio-drivers-0_13`, on by default, has virtio-transport's
//! adaptors compiled in, by which virtio-drivers' own drivers use the transport.
//!
//! - [`MmioTransport`]: a [`virtio_transport::Transport`] and a [`virtio_shm::ShmTransport`], for devices of any type; only
//!   version 2.
//! - [`MmioError`]: why a device cannot be driven.
#![no_std]
#![deny(unsafe_code)]
#![deny(clippy::incompatible_msrv)]

#[cfg(feature = "test-utils")]
extern crate alloc;

mod base;
mod error;
#[cfg(feature = "test-utils")]
pub mod model;
mod registers;
mod shm;
mod transport;

pub use error::MmioError;
pub use shm::MAX_REGIONS;
pub use transport::MmioTransport;
