//! What every DAX file system shares: file maps, faults and page sizes, synchronous faults, dirty tracking, cache flush, failure state.
#![no_std]
#![deny(unsafe_code)]

mod addr;
mod change;
mod device;
mod dirty;
mod epoch;
mod errno;
mod error;
mod failure;
mod fault;
mod file;
mod flags;
mod flush;
mod layout;
mod map;
mod owner;
mod page;
mod platform;
mod sync;
mod writeback;

pub use addr::{DeviceOffset, FileRange, PhysAddr, VirtAddr};
pub use device::{AccessFlags, DirectAccess, DirectRange, LinearMemory, MemoryDevice, Partition};
pub use dirty::{ByteRuns, DirtyRange, DirtyRange2M, EXTENT, ExtentRuns, ExtentSet, WORDS_2M};
pub use epoch::{ChangeGuard, EpochSeen, MetadataChange, MetadataEpoch};
pub use errno::Errno;
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
pub use layout::{FileKey, Layout, LayoutChange, LayoutSeen, Mappings, UnmapCause};
pub use map::{DeviceIndex, Devices, Extent, FileMap, MapError, MapRules, Segment};
pub use owner::{Claim, DeviceOwner, OwnerId};
pub use page::{Area, MappedRun, Page, PageSize, PageSizes, Placement, Wanted};
pub use platform::{Access, AtomicMemory, Capabilities, Capability, Pages, WindowMemory, check_inside};
pub use sync::{Action, AllocateFault, BusError, Decision, MetadataState, SyncFault, SyncOutcome, Synced, Syncing};
pub use writeback::{Collecting, Flushed, InodeDirt, Protected, Settled, Writeback};
