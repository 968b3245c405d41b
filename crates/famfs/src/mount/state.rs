//! What a mounted file system keeps.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use fs_dax::{DeviceIndex, Devices, FailureState, FaultCounters, Layout, SharedMemory, WindowMemory};
use lock_api::{Mutex, RawMutex};

use super::coherence::Shared;
use super::damaged::DamagedMemory;
use super::ownership::Claimed;
use crate::layout::Superblock;
use crate::{Error, Finding, Tree};

/// What this host may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read the log, read and write files.
    Client,
    /// Add to the log as well.
    Master,
    /// It was the master, and is none any more: somebody else wrote to the log, or the log is damaged.
    FormerMaster,
}

/// The state behind one lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) role: Role,
    /// How many entries of the log were taken over or skipped.
    pub(crate) next: u64,
    /// The largest number of published entries that was seen.
    pub(crate) published: u64,
    /// The entry at `next`, if it is published and not whole.
    pub(crate) torn: Option<Finding>,
    /// How many entries were skipped, and the last of them.
    pub(crate) refused: u64,
    pub(crate) last_refused: Option<Finding>,
}

/// What files need of their mount; it outlives the mount while a file is open.
#[derive(Debug)]
pub(crate) struct Inner<M, L: RawMutex> {
    pub(crate) devices: MountDevices<M>,
    pub(crate) superblock: Superblock,
    pub(crate) read_only: bool,
    pub(crate) stale: AtomicBool,
    /// The memory of superblock or log failed: nothing is followed or appended any more.
    pub(crate) metadata: FailureState,
    pub(crate) damage: DamagedMemory<L>,
    pub(crate) layout: Layout,
    pub(crate) faults: FaultCounters,
    pub(crate) state: Mutex<L, State>,
    /// Held for as long as anybody can reach the memory.
    pub(crate) _claimed: Option<Claimed<L>>,
}

/// The memory of all devices.
#[derive(Debug)]
pub(crate) struct MountDevices<M> {
    first: Shared<M>,
    /// What of the first device the file system says is there and the memory has.
    first_len: u64,
    others: Vec<(DeviceIndex, Shared<M>)>,
}

impl<M: SharedMemory> MountDevices<M> {
    /// `device_len` is what the file system says of the first device.
    pub(crate) fn new(first: Shared<M>, device_len: u64, others: Vec<(DeviceIndex, Shared<M>)>) -> Self {
        let first_len = device_len.min(first.len());
        Self { first, first_len, others }
    }

    pub(crate) const fn first(&self) -> &Shared<M> {
        &self.first
    }

    pub(crate) fn get(&self, device: DeviceIndex) -> Option<&Shared<M>> {
        if device.0 == 0 {
            return Some(&self.first);
        }
        self.others.iter().find(|(index, _)| *index == device).map(|(_, memory)| memory)
    }
}

impl<M: SharedMemory> Devices for MountDevices<M> {
    fn len_of(&self, device: DeviceIndex) -> Option<u64> {
        match device.0 {
            0 => Some(self.first_len),
            _ => self.get(device).map(|memory| memory.len()),
        }
    }
}

/// A mounted file system over memory `M`, with locks `L`.
///
/// Files that are open keep the memory claimed; they, and what is mapped of them, may outlive the mount.
#[derive(Debug)]
pub struct Mount<M, L: RawMutex> {
    pub(crate) inner: Arc<Inner<M, L>>,
}

impl<M, L: RawMutex> Inner<M, L> {
    /// Whether the file system is still the one that was mounted, as far as was seen.
    pub(crate) fn check_fresh(&self) -> Result<(), Error> {
        if self.stale.load(Ordering::Acquire) { Err(Error::Stale) } else { Ok(()) }
    }

    /// Whether the log may be read or written.
    pub(crate) fn check_metadata(&self) -> Result<(), Error> {
        self.check_fresh()?;
        Ok(self.metadata.check()?)
    }
}
