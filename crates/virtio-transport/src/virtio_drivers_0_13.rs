//! Adaptors between the traits of this crate and those of virtio-drivers 0.13.
//!
//! - [`HalMemory`]: a kernel's `Hal` as [`DmaMemory`](crate::DmaMemory).
//! - [`WordAccess`]: a kernel's `ConfigurationAccess` as [`ConfigurationAccess`](crate::ConfigurationAccess).
//! - [`SharedAccess`]: one of their `ConfigurationAccess` for two users.
//! - [`ForDrivers`]: a [`Transport`](crate::Transport) for the drivers of virtio-drivers.
//! - [`FromDrivers`]: a transport of virtio-drivers, or of a kernel that implements its trait, as a
//!   [`Transport`](crate::Transport).
//!
//! What an adaptor cannot do, because the trait on the other side cannot, is said at each.

mod access;
mod drivers;
mod from_drivers;
mod memory;
mod shared;

pub use access::WordAccess;
pub use drivers::ForDrivers;
pub use from_drivers::FromDrivers;
pub use memory::HalMemory;
pub use shared::SharedAccess;
