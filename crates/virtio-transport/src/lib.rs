//! What virtio transports and drivers share.
//!
//! A driver names the traits of this crate only; which bus a device is on, and which other crates a kernel uses, is no
//! matter to it:
//!
//! ```
//! use virtio_transport::{ConfigError, ConfigSpace, DeviceStatus, Transport};
//!
//! /// The tag of a file system device (virtio 1.3, 5.11.4), padded with zeros.
//! fn tag(transport: &impl Transport) -> Result<[u8; 36], ConfigError> {
//!     transport.read_consistent(|| transport.read_config_space(0))
//! }
//!
//! /// Tells the device that a driver is there, as virtio 1.3, 3.1.1 has it.
//! fn greet(transport: &mut dyn Transport) {
//!     transport.set_status(DeviceStatus::ACKNOWLEDGE);
//!     transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
//! }
//! ```
//!
//! For drivers:
//!
//! - [`Transport`], with [`DeviceStatus`], [`InterruptStatus`] and, for fields of the configuration, [`ConfigSpace`].
//!
//! For kernels:
//!
//! - [`DmaMemory`]: memory that devices reach, and registers of devices; three functions.
//! - [`ConfigurationAccess`]: PCI configuration space.
//! - With the feature `virtio-drivers-0_13` (on by default), `virtio_drivers_0_13`: adaptors for kernels that have the
//!   traits of virtio-drivers 0.13 already. A later version of that crate gets a feature of its own, and breaks nobody.
//!
//! For transports:
//!
//! - [`Registers`], [`VolatileRegisters`]: the seam where a device model takes the place of a device.
//! - [`sequence`], [`read_config_registers`], [`write_config_registers`]: what every transport does the same way.
//! - With the feature `test-utils`, which needs an allocator, `model` and `conformance`: devices in the same process, and
//!   the tests that every transport must pass; on hosts also `qtest`, QEMU's devices without a guest.
#![no_std]
#![deny(unsafe_code)]
#![deny(clippy::incompatible_msrv)]

#[cfg(feature = "test-utils")]
extern crate alloc;
#[cfg(all(feature = "test-utils", unix))]
extern crate std;

mod config;
mod config_error;
#[cfg(feature = "test-utils")]
pub mod conformance;
mod fixed;
mod memory;
#[cfg(feature = "test-utils")]
pub mod model;
mod pci;
#[cfg(all(feature = "test-utils", unix))]
pub mod qtest;
mod registers;
pub mod sequence;
mod status;
mod transport;
#[cfg(feature = "virtio-drivers-0_13")]
pub mod virtio_drivers_0_13;
mod volatile;

pub use config::{ConfigSpace, read_config_registers, write_config_registers};
pub use config_error::ConfigError;
pub use memory::{DmaDirection, DmaMemory, PAGE_SIZE, PhysAddr};
pub use pci::{ConfigurationAccess, PciFunction};
pub use registers::Registers;
pub use status::{DeviceStatus, InterruptStatus};
pub use transport::Transport;
pub use volatile::VolatileRegisters;
