//! What every DAX file system shares: the decisions between a file and the memory that holds it, without doing
//! anything.
//!
//! A DAX file system lets programs load and store where a file's bytes really are: in a window onto a host's page cache
//! (virtio-fs), on memory that several hosts share (famfs), on persistent memory. What is hard about it is the same for
//! all: which memory, which page size, when a store is durable, which pages are dirty, what happens when the memory is
//! taken away. This crate holds those decisions as plain data and small state machines. It knows no device, takes no
//! lock, has no clock and allocates nothing; what it keeps on the heap or in an array is the embedder's choice.
//!
//! ```
//! use fs_dax::{
//!     Area, Backing, DirtyRange2M, Fault, FaultAccess, FaultOutcome, FileRange, MappedRun, MetadataState, PageSize,
//!     PageSizes, PhysAddr, Sharing, SyncMode, VirtAddr, Wanted,
//! };
//!
//! // A program has mapped 8 MiB of a file, and stores to the byte at 3 MiB.
//! let fault = Fault {
//!     area: Area::new(VirtAddr(0x7f00_0000_0000), 8 << 20, 0)?,
//!     at: VirtAddr(0x7f00_0030_0000),
//!     access: FaultAccess::Write,
//!     sharing: Sharing::Shared,
//!     sync: SyncMode::None,
//!     wanted: Wanted::Largest,
//! };
//! // The file system has the second 2 MiB of the file in its window.
//! let run = MappedRun { file_offset: 2 << 20, phys: PhysAddr(0x8_0040_0000), len: 2 << 20 };
//! let backing = Backing { eof: 8 << 20, run: Some(run), writable: true, metadata: MetadataState::DURABLE };
//!
//! let FaultOutcome::Map(mapping) = fault.resolve(PageSizes::SMALL_4K, &backing, ()) else { panic!() };
//! assert_eq!(mapping.page.size, PageSize::Huge);
//! assert_eq!(mapping.page.phys, PhysAddr(0x8_0040_0000));
//! assert!(mapping.writable);
//! // What becomes writable is marked dirty before it is installed.
//! let mut dirty = DirtyRange2M::new_2m(FileRange::new(2 << 20, 2 << 20)?)?;
//! assert_eq!(dirty.mark(mapping.page.range())?, 512);
//! # Ok::<(), fs_dax::Error>(())
//! ```
//!
//! # What it needs
//! Nothing but `core`, and atomics as wide as a pointer. Error numbers are [`Errno`]: positive, as Linux counts them.
//! Each [`Error`] has one, and each names the numbers that were wrong.
//!
//! # A fault
//! The embedder's page-fault handler has an address, an address space and a file. Then, in this order:
//!
//! 1. Ask [`FailureState::check`] and [`Capabilities::check_faults`]; an error is a bus error.
//! 2. Take [`Layout::seen`] and [`MetadataState::of`]: *before* the look-up, so that what changes after it shows.
//! 3. Under the file system's lock, look up the memory ([`FileMap::run_around`], or the range of a window), take what
//!    keeps it there, and let [`Fault::resolve`] decide. [`Hole`](FaultOutcome::Hole) and
//!    [`NeedsWritable`](FaultOutcome::NeedsWritable) mean work with the device and another try.
//! 4. If the page is to be writable, mark it in the range's [`DirtyRange`]. Drop the lock.
//! 5. Under the page-table lock, ask [`Layout::unchanged`]. If so, install the page; else install nothing, the
//!    processor faults again. Then drop what keeps the memory.
//!
//! A page that is loaded from is installed for reading, even in a writable mapping: so the first store is a fault of
//! its own, and that is how a page becomes dirty. A huge page is dirty as a whole. A file system that tracks no dirt
//! resolves [`Fault::untracked`] instead, and needs no second fault. [`FaultCounters`] count what was installed.
//!
//! # A synchronous fault
//! A mapping made with [`MapFlags::SYNC`] promises that a page becomes writable only once the metadata it needs is
//! durable, so that a program that flushes its own cache lines needs no fsync. Whether such a mapping may be made at
//! all is the embedder's statement ([`SyncPolicy`]); the default refuses. [`Decision::of`] has the truth table. If a
//! sync is needed, nothing is installed or marked, and the outcome is a token to be moved from hand to hand:
//!
//! ```text
//! NeedsAllocation(AllocateFault) --allocated(reply of FUSE_FALLOCATE)--> SyncFault
//! NeedsSync(SyncFault) --start(epoch)--> Syncing      the epoch is taken, then FUSE_FSYNC sent, with no lock held
//! Syncing --answered(reply, epoch)--> Synced          any error, ENOSYS too, is a bus error
//! Synced --finish(epoch, page now)--> InstallWritable | Retry
//! ```
//!
//! FUSE does not report whether a file's metadata is durable. [`MetadataEpoch`] counts what makes it not so, and calls the
//! inode clean only if nothing changed from before the FSYNC was sent until it was answered.
//!
//! # Writeback
//! [`Writeback`] is a ticket with phases in one order: take what is dirty; write-protect it everywhere, TLBs
//! included; flush its lines, where the host maps persistent memory; send one FUSE_FSYNC; only then is what was taken
//! clean, and after an error it is dirty again. What is stored to meanwhile faults, and is marked anew. A range that
//! leaves the window leaves its dirt to the inode ([`InodeDirt::fold`]), so that an fsync after a reclaim still sends
//! FUSE_FSYNC. Through a virtio-fs window nothing but FUSE_FSYNC makes data durable: a cache flush ([`CacheFlush`]) is
//! an addition, never a replacement.
//!
//! # Taking memory away
//! Before the bytes under a page become something else (reclaim, truncate, punch), the page is taken out of every
//! address space: [`Layout::break_range`] has the embedder unmap exactly that range ([`Mappings`]) and wait for pins,
//! while faults that race retry. No lock of the file system is held across it.
//!
//! # Modules
//! One subject a module, all re-exported here. Addresses: [`PhysAddr`], [`VirtAddr`], [`DeviceOffset`], [`FileRange`].
//! Maps: [`FileMap`], [`MapRules`], [`MappedFile`]. Devices: [`MemoryDevice`], [`Partition`], [`DeviceOwner`],
//! [`FailureState`], [`Damage`]. Faults: [`Fault`], [`FaultOutcome`], [`PageSizes`], [`FileMapping`], [`SyncFault`],
//! [`MetadataEpoch`]. Writeback: [`DirtyRange`], [`InodeDirt`], [`Writeback`], [`Flusher`]. The embedder: [`Mappings`],
//! [`Layout`], [`Capabilities`]. Memory: [`WindowMemory`], [`SharedMemory`], [`MappedMemory`], [`View`].
//!
//! The crate has no features. Unsafe code is denied outside two modules: the cache-line flush and mapped memory.
#![no_std]
#![deny(unsafe_code)]

mod addr;
mod capability;
mod change;
mod checked_range;
mod counters;
mod damage;
mod device;
mod dirty;
mod epoch;
mod error;
mod failure;
mod fault;
mod file;
mod flags;
mod flush;
mod key;
mod layout;
mod map;
mod memory;
mod owner;
mod owner_id;
mod page;
mod platform;
mod size;
mod sync;
mod writeback;

pub use addr::{DeviceOffset, FileRange, PhysAddr, VirtAddr};
pub use capability::Capability;
pub use counters::FaultCounters;
pub use damage::Damage;
pub use device::{AccessFlags, DirectAccess, DirectRange, LinearMemory, MemoryDevice, Partition};
pub use dirty::{ByteRuns, DirtyRange, DirtyRange2M, PageRuns, PageSet, WORDS_2M};
pub use epoch::{ChangeGuard, EpochSeen, MetadataChange, MetadataEpoch, OutstandingChange};
pub use error::Error;
pub use failure::FailureState;
pub use fault::{Backing, Fault, FaultAccess, FaultOutcome, PageMapping};
pub use file::MappedFile;
pub use flags::{Agreed, FileMapping, MapFlags, Sharing, SyncMode, SyncPolicy};
#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use flush::ArmFlush;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub use flush::X86Flush;
pub use flush::{CacheFlush, FlushCounts, Flusher, NoFlush};
pub use fs_errno::Errno;
pub use key::{FileKey, FileKeys};
pub use layout::{Layout, LayoutChange, LayoutSeen, Mappings, UnmapCause};
pub use map::{DeviceIndex, Devices, Extent, FileMap, MapError, MapRules, Segment};
pub use memory::{CopyFn, MappedMemory, SharedMemory, View, WritableView};
pub use owner::{Claim, DeviceOwner};
pub use owner_id::OwnerId;
pub use page::{Area, MappedRun, Page, PageSize, PageSizes, Placement, Wanted};
pub use platform::{Access, AtomicMemory, Capabilities, Pages, WindowMemory, check_inside};
pub use size::{PAGE_SIZE, RANGE_SIZE};
pub use sync::{Action, AllocateFault, BusError, Decision, MetadataState, SyncFault, SyncOutcome, Synced, Syncing};
pub use writeback::{Collecting, Flushed, InodeDirt, Protected, Settled, Writeback};
