//! Looking names up, in the cache first.

use alloc::sync::Arc;

use fuse_proto::{Entry, Errno};

use super::Volume;
use super::inode::{Inode, changes_so_far};
use crate::rpc::credentials::Credentials;
use crate::rpc::names;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Looks a name up in a directory.
    pub(crate) fn look_up(
        &self,
        who: Credentials,
        parent: &Arc<Inode<R>>,
        name: &[u8],
    ) -> Result<Arc<Inode<R>>, Error> {
        self.take_notifications();
        self.settle_orphans();
        let now = self.rpc.now();
        match parent.cached_name(name, now) {
            Some(None) => {
                self.counters.negative_hits.add(1);
                return Err(Error::Os(Errno::ENOENT));
            }
            Some(Some(nodeid)) => {
                if let Some(inode) = self.inodes.get(nodeid) {
                    self.counters.entry_hits.add(1);
                    return Ok(inode);
                }
            }
            None => {}
        }
        if let Some(inode) = self.inodes.claim_listed(parent, name, now) {
            self.counters.entry_hits.add(1);
            return Ok(inode);
        }
        let since = changes_so_far();
        let mut entry = Entry::default();
        if !names::lookup(&self.rpc, who, parent.nodeid, name, &mut entry)? {
            self.inodes.drop_name(parent, name);
            return Err(Error::Os(Errno::ENOENT));
        }
        if entry.is_negative() {
            self.inodes.keep_name(parent, name, None, entry.entry_valid);
            return Err(Error::Os(Errno::ENOENT));
        }
        Ok(self.inodes.adopt(parent, name, &entry, since))
    }

    /// The target of a symbolic link.
    pub(crate) fn read_link(&self, who: Credentials, inode: &Inode<R>) -> Result<alloc::vec::Vec<u8>, Error> {
        if !inode.is_symlink() {
            return Err(Error::refused(Errno::EINVAL, "no symbolic link"));
        }
        names::readlink(&self.rpc, who, inode.nodeid)
    }
}
