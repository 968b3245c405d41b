//! Paths of entries that are made, removed or renamed: what the host's own calls refuse before they look at the entry.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::{Errno, RenameFlags};

use super::Volume;
use super::inode::Inode;
use super::path::{Ending, Last, Walked, walk};
use crate::rpc::credentials::Credentials;
use crate::{Error, Lock};

/// An entry: its directory and its name.
pub(crate) type EntryPath<R> = (Arc<Inode<R>>, Vec<u8>);

impl<R: Lock> Volume<R> {
    /// Walks to an entry that a directory is made at.
    pub(crate) fn entry_for_dir(&self, who: Credentials, path: &[u8]) -> Result<EntryPath<R>, Error> {
        let walked = self.walk_to_entry(who, path)?;
        match walked.ending {
            Ending::Name => Ok((walked.parent, walked.name)),
            _ => Err(EXISTS),
        }
    }

    /// Walks to an entry that anything but a directory is made at.
    #[inline(always)]
    pub(crate) fn entry_for_node(&self, who: Credentials, path: &[u8]) -> Result<EntryPath<R>, Error> {
        let walked = self.walk_to_entry(who, path)?;
        if walked.ending != Ending::Name {
            return Err(EXISTS);
        }
        if walked.must_be_dir {
            self.look_up(who, &walked.parent, &walked.name)?;
            return Err(EXISTS);
        }
        Ok((walked.parent, walked.name))
    }

    /// Walks to an entry of a file that is removed.
    pub(crate) fn entry_of_file(&self, who: Credentials, path: &[u8]) -> Result<EntryPath<R>, Error> {
        let walked = self.walk_to_entry(who, path)?;
        if walked.ending != Ending::Name {
            return Err(Error::refused(Errno::EISDIR, "the path names a directory"));
        }
        if walked.must_be_dir {
            let inode = self.look_up(who, &walked.parent, &walked.name)?;
            let errno = if inode.is_dir() { Errno::EISDIR } else { Errno::ENOTDIR };
            return Err(Error::refused(errno, "a path that ends in / names no file"));
        }
        Ok((walked.parent, walked.name))
    }

    /// Walks to an entry of a directory that is removed.
    pub(crate) fn entry_of_dir(&self, who: Credentials, path: &[u8]) -> Result<EntryPath<R>, Error> {
        let walked = self.walk_to_entry(who, path)?;
        match walked.ending {
            Ending::Name => Ok((walked.parent, walked.name)),
            Ending::Dot => Err(Error::refused(Errno::EINVAL, "the path ends in .")),
            Ending::DotDot => Err(Error::refused(Errno::ENOTEMPTY, "the path ends in ..")),
            Ending::Root => Err(Error::refused(Errno::EBUSY, "the root directory")),
        }
    }

    /// Walks to the two entries of a rename.
    pub(crate) fn entries_of_rename(
        &self,
        who: Credentials,
        from: &[u8],
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<(EntryPath<R>, EntryPath<R>), Error> {
        let (from, to) = (self.walk_to_entry(who, from)?, self.walk_to_entry(who, to)?);
        let (exchanges, replaces) = (flags.contains(RenameFlags::EXCHANGE), !flags.contains(RenameFlags::NOREPLACE));
        if from.ending != Ending::Name {
            return Err(BUSY);
        }
        if to.ending != Ending::Name {
            return Err(if replaces { BUSY } else { EXISTS });
        }
        if from.must_be_dir || to.must_be_dir {
            let moved = self.look_up(who, &from.parent, &from.name)?;
            let replaced = self.look_up(who, &to.parent, &to.name);
            if !replaces && replaced.is_ok() {
                return Err(EXISTS);
            }
            if exchanges && !replaced?.is_dir() && to.must_be_dir {
                return Err(NO_DIRECTORY);
            }
            if !moved.is_dir() && (from.must_be_dir || !exchanges) {
                return Err(NO_DIRECTORY);
            }
        }
        Ok(((from.parent, from.name), (to.parent, to.name)))
    }

    fn walk_to_entry(&self, who: Credentials, path: &[u8]) -> Result<Walked<R>, Error> {
        walk(self, who, self.root()?, path, Last::Leave)
    }
}

const EXISTS: Error = Error::refused(Errno::EEXIST, "the path names something that exists");
const BUSY: Error = Error::refused(Errno::EBUSY, "the path names no entry of a directory");
const NO_DIRECTORY: Error = Error::refused(Errno::ENOTDIR, "a path that ends in / names no directory");
