//! What the master adds, and what nobody can do.

use fs_dax::{DeviceIndex, Devices, SharedMemory};
use lock_api::RawMutex;

use super::state::{Inner, Mount, Role, State};
use crate::layout::{DirRecord, Entry, FileRecord, Path, RawMap, Record};
use crate::master::append;
use crate::{AppendError, Applied, Error, Interleave, NodeId, Room};

/// The flags of a file.
const READ_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;
/// What a mode may have: permissions, and that it is a file's or a directory's, as some writers put there.
const MODE_ALLOWED: u32 = 0o777 | 0o170_000;

/// Owner and permissions of what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Permissions: 9 bits.
    pub mode: u32,
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub enum Placement<'a> {
    /// In one piece.
    #[default]
    Simple,
    /// In strips.
    Interleaved(Interleave<'a>),
}

/// What a file is made with.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// Size in bytes, for ever; not 0.
    pub size: u64,
    /// Owner and permissions.
    pub owner: Owner,
    /// Whether all hosts only read it. Its contents cannot be written then.
    pub read_only: bool,
    /// How it is laid out.
    pub placement: Placement<'a>,
}

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// Makes a file, visible to all hosts when this returns. Its bytes are what the memory held before: what another
    /// file left there, if nobody cleared it.
    ///
    /// # Errors
    /// [`Error::NotMaster`], [`Error::ReadOnly`], [`Error::Stale`]; [`Error::Path`], [`Error::Attributes`],
    /// [`Error::NoRoom`]; [`Error::Append`] if the log is full, or somebody else wrote to it: then this mount adds
    /// nothing any more. Nothing has changed, here or elsewhere.
    pub fn create(&self, path: &[u8], file: &NewFile<'_>) -> Result<NodeId, Error> {
        let path = Path::new(path)?;
        let NewFile { size, owner: Owner { uid, gid, mode }, .. } = *file;
        if size == 0 || mode & !MODE_ALLOWED != 0 {
            return Err(Error::Attributes { size, mode });
        }
        self.inner.add(size, &mut |inner, state| {
            let record = |map| FileRecord {
                size,
                flags: if file.read_only { READ_ONLY } else { READ_WRITE },
                uid,
                gid,
                mode,
                path: path.field(),
                map,
            };
            state.tree.check_new(&path)?;
            let room = Room::new(&state.tree, inner.devices.len_of(DeviceIndex(0)).unwrap_or(0));
            let map: Option<RawMap> = match &file.placement {
                Placement::Simple => room.simple(size),
                Placement::Interleaved(how) => room.interleaved(size, how),
            };
            Ok(Record::File(record(map.ok_or(Error::NoRoom { size })?)))
        })
    }

    /// Makes a directory, visible to all hosts when this returns.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn mkdir(&self, path: &[u8], owner: &Owner) -> Result<NodeId, Error> {
        let path = Path::new(path)?;
        let Owner { uid, gid, mode } = *owner;
        if mode & !MODE_ALLOWED != 0 {
            return Err(Error::Attributes { size: 0, mode });
        }
        self.inner.add(0, &mut |_, state| {
            state.tree.check_new(&path)?;
            Ok(Record::Mkdir(DirRecord { uid, gid, mode, path: path.field() }))
        })
    }

    /// Refuses what no format has a record for: removing, renaming and linking, changing a size, an owner or a mode.
    /// Nothing is changed here that other hosts would not see.
    ///
    /// # Errors
    /// Always: [`Error::Stale`], or [`Error::NotPossible`].
    pub fn refuse(&self, operation: &'static str) -> Result<(), Error> {
        self.inner.check_fresh()?;
        Err(Error::NotPossible { operation })
    }
}

impl<M: SharedMemory, L: RawMutex> Inner<M, L> {
    /// Adds the record that `make` gives to log and tree, or to neither.
    fn add(&self, size: u64, make: &mut dyn FnMut(&Self, &State) -> Result<Record, Error>) -> Result<NodeId, Error> {
        self.check_metadata()?;
        let mut state = self.state.lock();
        match state.role {
            Role::Master => {}
            Role::FormerMaster => return Err(Error::ReadOnly),
            Role::Client if self.read_only => return Err(Error::ReadOnly),
            Role::Client => return Err(Error::NotMaster),
        }
        let record = make(self, &state)?;
        let entry = Entry { index: state.next, record: Ok(record) };
        let prepared = state.tree.prepare(&entry, &self.devices).map_err(|flaw| Error::from((flaw, size)))?;
        if let Err(error) = append(self.devices.first(), &self.superblock, state.next, &record) {
            if !matches!(error, AppendError::LogFull { .. } | AppendError::NoSuchRecord) {
                state.role = Role::FormerMaster;
            }
            return Err(error.into());
        }
        state.next += 1;
        state.published = state.next;
        match state.tree.commit(prepared) {
            Applied::Made(id) => Ok(id),
            // What was prepared is a new file or directory: its name was free.
            Applied::DirectoryAgain | Applied::Ignored => Err(Error::NotFound),
        }
    }
}
