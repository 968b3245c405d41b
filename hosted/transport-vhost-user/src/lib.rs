//! A virtio transport in a host process: a vhost-user front end.
//!
//! The driver, unchanged, in an ordinary process, against a virtiofsd that runs beside it:
//!
//! ```no_run
//! use transport_vhost_user::{Connection, HostLock, Options};
//! use virtio_fs::{Config, Device, Interrupts};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::open("/run/virtiofsd.sock", &Options::default())?;
//! let config = Config::default().interrupts(Interrupts::Deferred);
//! let device = Device::<HostLock>::with_lock(connection.transport(), connection.memory());
//! let fs = device.mount(connection.platform(), config)?;
//! println!("DAX {}", fs.dax_status());
//! fs.unmount()?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Connection`]: from a socket to a device; what the back end asked for, and whether it is still there.
//! - [`VhostUserTransport`], [`GuestMemory`], [`HostPlatform`], [`HostLock`]: what the driver is given.
//! - [`Refusal`]: a back end that asks for what QEMU 11.1 refuses is refused here too, so a daemon that works here works
//!   there.
//!
//! The README says more. Linux only.
#![deny(unsafe_code)]

mod allocator;
mod channel;
mod clock;
mod connection;
mod error;
mod gone;
mod interrupts;
mod link;
mod lock;
mod memory;
mod negotiation;
mod options;
mod platform;
mod record;
mod session;
mod sys;
mod table;
mod task;
mod transport;
mod window;

pub use clock::Clock;
pub use connection::Connection;
pub use error::{ConnectError, ControlError, GoneReason};
pub use interrupts::Interrupts;
pub use lock::HostLock;
pub use memory::GuestMemory;
pub use options::Options;
pub use platform::HostPlatform;
pub use record::{Asked, Counts, Event};
pub use table::Refusal;
pub use task::current_task;
pub use transport::VhostUserTransport;
pub use window::Unmapped;
