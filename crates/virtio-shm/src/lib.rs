//! What a virtio shared-memory region is, and which transports have them.
//!
//! A device may lend regions of guest-physical memory to its driver (virtio 1.3, 2.10): the file system device its DAX
//! window, the GPU its host-visible memory. This crate has the words that transports and drivers share about them, and
//! nothing that touches a device.
//!
//! ```
//! use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};
//!
//! /// The window of a file system device, if it can be used on this machine.
//! fn window(transport: &mut impl ShmTransport, ram: core::ops::Range<u64>) -> Result<Option<ShmRegion>, ShmError> {
//!     let Some(region) = transport.shm_region(ShmId::FS_DAX_WINDOW)? else {
//!         return Ok(None); // normal: the file system works without DAX
//!     };
//!     region.check_outside([ram])?;
//!     region.check_aligned(4096)?;
//!     region.check_at_least(2 << 20)?;
//!     Ok(Some(region))
//! }
//! # struct Ccw;
//! # impl ShmTransport for Ccw {}
//! # assert_eq!(window(&mut Ccw, 0..1), Ok(None));
//! ```
//!
//! It needs no allocator and has no features.
//!
//! - [`ShmRegion`], [`ShmId`]: a region, and the checks an embedder wants before it maps one.
//! - [`ShmTransport`]: what a driver asks of a transport about shared memory.
//! - [`FixedRegions`], [`WithFixedRegions`]: regions that the embedder gives.
//! - [`ShmError`]: everything that can be wrong with a region, over any transport.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::incompatible_msrv)]

mod error;
mod fixed;
mod id;
mod region;
mod transport;

pub use error::{BarFault, Neighbour, ShmError};
pub use fixed::{FixedRegions, WithFixedRegions};
pub use id::ShmId;
pub use region::ShmRegion;
pub use transport::{FILE_SYSTEM, GPU, ShmTransport};
