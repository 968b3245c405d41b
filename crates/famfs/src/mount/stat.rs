//! What files, directories and the file system are like.

use fs_dax::{DeviceIndex, Devices, SharedMemory};
use lock_api::RawMutex;

use super::state::Mount;
use crate::layout::Path;
use crate::{Error, Kind, NodeId, Room};

/// The attributes of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which.
    pub id: NodeId,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Size in bytes; 0 for a directory.
    pub size: u64,
    /// Permissions, 9 bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// How many names it has: 1 for a file, 2 and one for each directory in it for a directory.
    pub links: u64,
}

/// What the file system is like as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// The unit in which files are allocated, in bytes.
    pub block_size: u64,
    /// Units of the first device, superblock and log included.
    pub blocks: u64,
    /// Units that no file has.
    pub free_blocks: u64,
    /// How many entries the log has room for.
    pub entries: u64,
    /// How many of them are unused.
    pub free_entries: u64,
    /// The largest number of bytes of a path.
    pub max_path: u64,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Which file or directory.
    pub id: NodeId,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Where to go on. It stays valid when entries are added.
    pub next: u64,
    name: Path,
}

impl DirEntry {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.split().1
    }
}

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// The attributes of a file or directory.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`].
    pub fn stat(&self, id: NodeId) -> Result<Stat, Error> {
        self.inner.check_fresh()?;
        let state = self.inner.state.lock();
        let node = state.tree.node(id).ok_or(Error::NotFound)?;
        let (size, links) = match &node.kind {
            Kind::File(file) => (file.size(), 1),
            Kind::Dir(children) => {
                let dirs = children.iter().filter(|child| state.tree.node(**child).is_some_and(|n| n.file().is_none()));
                (0, 2 + dirs.count() as u64)
            }
        };
        let is_dir = node.file().is_none();
        Ok(Stat { id, is_dir, size, mode: node.mode, uid: node.uid, gid: node.gid, links })
    }

    /// The entry of a directory at `cursor`: 0 for the first, then what the entry before said. `None` at the end. The
    /// directory itself and its parent are not among them.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`], [`Error::NotADirectory`].
    pub fn read_dir(&self, dir: NodeId, cursor: u64) -> Result<Option<DirEntry>, Error> {
        self.inner.check_fresh()?;
        let state = self.inner.state.lock();
        let Kind::Dir(children) = &state.tree.node(dir).ok_or(Error::NotFound)?.kind else {
            return Err(Error::NotADirectory);
        };
        let id = usize::try_from(cursor).ok().and_then(|at| children.get(at)).copied();
        let entry = id.and_then(|id| Some((id, state.tree.node(id)?)));
        Ok(entry.map(|(id, node)| DirEntry { id, is_dir: node.file().is_none(), next: cursor + 1, name: node.path }))
    }

    /// The directory that a file or directory is in; the root is in itself.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotFound`].
    pub fn parent(&self, id: NodeId) -> Result<NodeId, Error> {
        self.inner.check_fresh()?;
        self.inner.state.lock().tree.node(id).map(|node| node.parent).ok_or(Error::NotFound)
    }

    /// What the file system is like as a whole.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn stat_fs(&self) -> Result<StatFs, Error> {
        self.inner.check_fresh()?;
        let superblock = &self.inner.superblock;
        let len = self.inner.devices.len_of(DeviceIndex(0)).unwrap_or(0);
        let state = self.inner.state.lock();
        let block_size = superblock.alloc_unit;
        Ok(StatFs {
            block_size,
            blocks: len / block_size,
            free_blocks: Room::new(&state.tree, len).free() / block_size,
            entries: superblock.slots(),
            free_entries: superblock.slots().saturating_sub(state.published),
            max_path: 79,
        })
    }
}
