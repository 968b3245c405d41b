//! Looking names up, in the cache first.

use alloc::sync::Arc;

use fuse_proto::Errno;

use super::Volume;
use super::inode::Inode;
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
        match parent.cached_name(name, self.rpc.now()) {
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
        match names::lookup(&self.rpc, who, parent.nodeid, name)? {
            Some(entry) if entry.is_negative() => {
                self.inodes.keep_name(parent, name, None, entry.entry_valid);
                Err(Error::Os(Errno::ENOENT))
            }
            Some(entry) => Ok(self.inodes.adopt(parent, name, &entry)),
            None => {
                self.inodes.drop_name(parent, name);
                Err(Error::Os(Errno::ENOENT))
            }
        }
    }

    /// The target of a symbolic link.
    pub(crate) fn read_link(&self, who: Credentials, inode: &Inode<R>) -> Result<alloc::vec::Vec<u8>, Error> {
        if !inode.is_symlink() {
            return Err(Error::refused(Errno::EINVAL, "no symbolic link"));
        }
        names::readlink(&self.rpc, who, inode.nodeid)
    }
}
