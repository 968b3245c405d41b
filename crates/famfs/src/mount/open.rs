//! Mounting, and finding files.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use fs_dax::{DeviceIndex, DeviceOffset, FailureState, FaultCounters, Layout, SharedMemory, WindowMemory};
use lock_api::{Mutex, RawMutex};

use super::coherence::{Coherence, Shared};
use super::damaged::DamagedMemory;
use super::ownership::Claimed;
use super::state::{Inner, Mount, MountDevices, Role, State};
use crate::layout::{MAX_SUPERBLOCK_LEN, Superblock, Uuid};
use crate::master::{read_counters, settle};
use crate::replay::{forget, read_superblock};
use crate::{AppendError, Claims, Error, File, NodeId, Tree};

/// How to mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions {
    /// The identity of this host. The one that made the file system is its master and may add to it; all others are
    /// clients, and so is a host that does not say who it is.
    pub system: Option<Uuid>,
    /// Whether to store nothing, contents of files included.
    pub read_only: bool,
    /// Who keeps the hosts' caches coherent.
    pub coherence: Coherence,
}

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// Mounts the file system in `memory`. `others` are the further devices that its log names, by index: files on
    /// those that are not brought are refused.
    ///
    /// Nothing is stored, but for a master that finds an append of its own interrupted: it settles it.
    ///
    /// # Errors
    /// [`Error::Refused`] if nothing is readable, [`Error::Busy`] if some of the memory belongs to another mount.
    pub fn open(
        memory: M,
        others: impl IntoIterator<Item = (DeviceIndex, M)>,
        options: &MountOptions,
        claims: &Arc<Claims<L>>,
    ) -> Result<Self, Error> {
        let first = Shared::new(memory, options.coherence);
        let others: Vec<_> =
            others.into_iter().map(|(index, memory)| (index, Shared::new(memory, options.coherence))).collect();
        let claimed = claim(claims, core::iter::once(&first).chain(others.iter().map(|(_, memory)| memory)))?;
        forget(&first, 0, MAX_SUPERBLOCK_LEN.min(usize::try_from(first.len()).unwrap_or(usize::MAX)))?;
        let superblock = read_superblock(&first).map_err(Error::Refused)?;
        let read_only = options.read_only || !first.is_writable();
        let is_master = options.system == Some(superblock.system_uuid) && !read_only;
        let state = State {
            tree: Tree::new(&superblock),
            role: if is_master { Role::Master } else { Role::Client },
            next: 0,
            published: 0,
            torn: None,
            refused: 0,
            last_refused: None,
        };
        let inner = Inner {
            devices: MountDevices::new(first, superblock.device_len, others),
            superblock,
            read_only,
            stale: AtomicBool::new(false),
            metadata: FailureState::new(),
            damage: DamagedMemory::new(),
            layout: Layout::new(),
            faults: FaultCounters::new(),
            state: Mutex::new(state),
            _claimed: claimed,
        };
        inner.start()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.inner.superblock
    }

    /// What this host may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.inner.state.lock().role
    }

    /// Looks up a path from the root; empty for the root itself.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`].
    pub fn lookup(&self, path: &[u8]) -> Result<NodeId, Error> {
        self.inner.check_fresh()?;
        self.inner.state.lock().tree.lookup(path).ok_or(Error::NotFound)
    }

    /// Looks up a name in a directory.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`].
    pub fn lookup_in(&self, dir: NodeId, name: &[u8]) -> Result<NodeId, Error> {
        self.inner.check_fresh()?;
        self.inner.state.lock().tree.child(dir, name).ok_or(Error::NotFound)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`], [`Error::IsADirectory`].
    pub fn open_file(&self, id: NodeId) -> Result<File<M, L>, Error> {
        self.inner.check_fresh()?;
        let state = self.inner.state.lock();
        let node = state.tree.node(id).ok_or(Error::NotFound)?;
        let file = node.file().ok_or(Error::IsADirectory)?;
        Ok(File::new(Arc::clone(&self.inner), Arc::clone(file)))
    }
}

impl<M: SharedMemory, L: RawMutex> Inner<M, L> {
    /// Takes over what the log holds when the file system is mounted.
    fn start(&self) -> Result<(), Error> {
        let first = self.devices.first();
        let mut state = self.state.lock();
        if state.role == Role::Master && settle(first, &self.superblock).is_err() {
            state.role = Role::FormerMaster;
        }
        let counters = read_counters(first, &self.superblock).map_err(|error| match error {
            AppendError::Damaged(finding) => Error::Refused(finding),
            error => error.into(),
        })?;
        let published = counters.next_index.min(self.superblock.slots());
        state.published = published;
        self.take_over(&mut state, published, u64::MAX);
        // What cannot be read must not be followed by more.
        if state.role == Role::Master && state.next != counters.next_index {
            state.role = Role::FormerMaster;
        }
        Ok(())
    }
}

/// Claims the memory of all devices. Memory without physical addresses has no identity, so it is not claimed.
fn claim<'m, M: SharedMemory + 'm, L: RawMutex>(
    claims: &Arc<Claims<L>>,
    memories: impl Iterator<Item = &'m Shared<M>>,
) -> Result<Option<Claimed<L>>, Error> {
    let mut ranges = Vec::new();
    for memory in memories {
        let len = memory.len();
        match memory.phys(DeviceOffset(0), len) {
            Ok(phys) => ranges.push((phys.0, len)),
            Err(fs_dax::Error::Platform(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    claims.claim(&ranges).map(Some)
}
