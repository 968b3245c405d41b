//! A virtio-fs driver with DAX for kernels: the host's files, read, written and mapped straight from its page cache.
//!
//! ```no_run
//! use core::ptr::NonNull;
//! use core::time::Duration;
//! use virtio_fs::{Config, DmaMemory, OpenOptions, Platform, ShmRegion, Transport, VirtioFs};
//!
//! /// What the kernel brings besides its memory.
//! struct Kernel;
//!
//! # fn uptime() -> Duration { Duration::ZERO }
//! # fn map_cached(_: u64, _: u64) -> Option<NonNull<u8>> { None }
//! // SAFETY: `map_cached` maps the physical range write-back cached, for good, at an address of its own.
//! unsafe impl Platform for Kernel {
//!     fn now(&self) -> Duration {
//!         uptime()
//!     }
//!
//!     fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
//!         map_cached(region.addr(), region.len())
//!     }
//! }
//!
//! /// `transport` is a `transport_pci::PciTransport` or a `transport_mmio::MmioTransport`.
//! fn use_the_hosts_files(
//!     transport: impl Transport + Send + 'static,
//!     memory: impl DmaMemory + Send + Sync + 'static,
//! ) -> Result<(), Box<dyn core::error::Error>> {
//!     let fs = VirtioFs::mount(transport, memory, Kernel, Config::default())?;
//!     println!("DAX: {}", fs.dax_status());
//!     for entry in fs.read_dir("/")? {
//!         println!("{}", entry?.name.escape_ascii());
//!     }
//!     let file = fs.open("data.bin", OpenOptions::new().read(true).write(true))?;
//!     let mut head = [0; 64];
//!     let count = file.read_at(&mut head, 0)?; // copied out of the window, no request
//!     let view = file.map(0, 4096)?; // no copy at all
//!     assert_eq!(head[..count], *view.iter().take(count).collect::<Vec<_>>());
//!     drop(view);
//!     file.write_at(b"hello", 0)?; // the host sees it at once
//!     file.sync_data()?; // and keeps it
//!     drop(file);
//!     fs.unmount()?;
//!     Ok(())
//! }
//! ```
//!
//! # What it needs
//!
//! - [`DmaMemory`], which gives DMA memory; nothing but memory from there is ever named to the device. A kernel with
//!   virtio-drivers' `Hal` has it by `virtio_drivers_0_13::HalMemory`, behind the feature `virtio-drivers-0_13` (on by
//!   default).
//! - A [`Transport`].
//! - A [`Platform`]: a clock; for DAX a write-back cached mapping of the window; a way to wait that is better than
//!   spinning, if there is one.
//! - An allocator (`alloc`). A read or write that hits the window allocates nothing.
//!
//! # What works how
//!
//! A read or write inside a file goes through the window; its state machine ([`dax_window`]) says which 2 MiB ranges to
//! map and which to give up. What cannot be mapped goes by READ and WRITE requests: the last, partial page on hosts that
//! map whole pages only, writes past the end of a file (always as a whole), files that the host refuses to map, and
//! accesses for which mapping costs more than it brings. [`VirtioFs::stats`] counts each with its reason, and
//! [`VirtioFs::dax_status`] says why there is no window where there is none. Nothing falls back in silence.
//!
//! # Consistency
//!
//! READ, WRITE and the window all reach the same pages of the host's page cache, so it does not matter which way an access
//! goes, and what the host or another guest writes is seen at once. Sizes and attributes are cached while `attr_valid`
//! holds; a read at the end of a file asks again, so growth on the host is seen. A file that somebody *else*
//! shrinks while it is mapped here is not safe on every host: QEMU dies of the access past the new end.
//!
//! # Without blocking
//!
//! [`File::read_async`] and [`File::write_async`] are futures that never block, misses included; [`VirtioFs::submit`] is one of
//! any request of the protocol.
//!
//! # For a VFS
//!
//! A [`Node`] is an inode: names are looked up, made, moved and removed in it one at a time, [`Node::as_user`] is the same
//! inode for another user, [`File::node`] leads back to it. [`DirEntry::cookie`] and [`ReadDir::seek`] go on with a listing.
//! [`Error::errno`] is the POSIX error of a failure, as Linux numbers it. Types of other crates that appear here are
//! re-exported, so that one `use virtio_fs::…` does.
//!
//! # Errors, deadlines, death
//!
//! Every request has a deadline ([`Config::request_timeout`]). One that is not answered in time is an error to its caller;
//! its buffers stay with the device until it returns them. After several in a row the device is taken for dead: everything
//! fails at once from then on, nothing touches the device any more, and its memory is never freed. What a device says is
//! checked before it is used; a lie is an error.
//!
//! # Interrupts
//!
//! The driver polls unless [`Config::interrupts`] says otherwise. A kernel with interrupts makes a [`Device`], connects its
//! [`InterruptHandle`], and then mounts.
//!
//! # Locks
//!
//! Short spin locks by default, of any `lock_api` kind by choice of `R`; none is held across a request, a wait, or a call
//! into the embedder. `VirtioFs`, [`File`] and [`Node`] are `Send` and `Sync`.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod api;
mod caller;
mod dax_status;
mod device;
mod dma_memory;
mod error;
mod io;
mod locking;
#[cfg(all(test, target_os = "linux"))]
mod model;
mod nanos;
mod platform;
mod port;
mod queue;
mod ring_error;
mod rpc;
mod tag;
#[cfg(test)]
mod test_memory;
mod volume;
mod wait;
mod window;

pub use api::asynchronous::{ReadAsync, WriteAsync};
pub use api::config::{Config, Interrupts};
pub use api::dir::{DirEntry, ReadDir};
pub use api::fault::{self, FaultGuard, LayoutWatch};
pub use api::file::{File, Sparse};
pub use api::fs::VirtioFs;
pub use api::locks::LockRange;
pub use api::map::{Map, MapMut};
pub use api::node::Node;
pub use api::request::{Answer, InFlight};
pub use api::stats::Stats;
pub use dax_status::DaxStatus;
pub use dax_window::HostRules;
pub use device::interrupts::{Device, InterruptHandle, Interrupted};
pub use error::{Error, MountError};
pub use fs_dax::{
    DeviceOffset, Fault, FaultAccess, FaultOutcome, FileKey, FileRange, Mappings, OwnerId, Page, PageMapping, PageSize,
    UnmapCause, View, WritableView,
};
pub use fuse_proto::{
    AccessMask, Attr, DecodeError, EncodeError, Errno, FallocateMode, FileType, NegotiationError, NodeId, Opcode,
    Operation, Protocol, RenameFlags, StatxMask, Timestamp, XattrFlags, ops,
};
pub use io::options::OpenOptions;
pub use io::{DaxMode, HoleStores};
pub use locking::{DefaultLock, Lock};
pub use platform::{Platform, WindowAccess};
pub use ring_error::RingError;
pub use rpc::attributes::{SetAttr, SetTime};
pub use rpc::credentials::Credentials;
pub use tag::Tag;
pub use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};
#[cfg(feature = "virtio-drivers-0_13")]
pub use virtio_transport::virtio_drivers_0_13;
pub use virtio_transport::{
    ConfigError, ConfigSpace, ConfigurationAccess, DeviceStatus, DmaDirection, DmaMemory, InterruptStatus, PAGE_SIZE,
    PciFunction, PhysAddr, Transport,
};
pub use volume::path;
pub use window::counters::BypassStats;
pub use window::part::{PartClaim, WindowPart};
pub use window::{PageTables, TailMapping};
// The rest of what types of these crates lead to.
pub use {dax_window, fs_dax, fuse_proto, virtio_shm};
