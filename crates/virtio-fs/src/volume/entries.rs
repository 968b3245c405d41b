//! Entries of directories: making, removing and moving them, and what the caches have to know of that.

use alloc::sync::Arc;
use core::time::Duration;

use fuse_proto::{Entry, NodeId, RenameFlags};

use super::Volume;
use super::inode::Inode;
use crate::rpc::credentials::Credentials;
use crate::rpc::names;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Takes over the inode that a request made under `name`.
    pub(crate) fn made(&self, parent: &Inode<R>, name: &[u8], entry: &Entry) -> Arc<Inode<R>> {
        let inode = self.inodes.adopt(parent, name, entry);
        parent.expire_attr();
        inode
    }

    /// Removes the name of a file.
    pub(crate) fn unlink(&self, who: Credentials, parent: &Inode<R>, name: &[u8]) -> Result<(), Error> {
        let result = names::unlink(&self.rpc, who, parent.nodeid, name);
        self.removed(who, parent, name, result)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, who: Credentials, parent: &Inode<R>, name: &[u8]) -> Result<(), Error> {
        let result = names::rmdir(&self.rpc, who, parent.nodeid, name);
        self.removed(who, parent, name, result)
    }

    fn removed(
        &self,
        who: Credentials,
        parent: &Inode<R>,
        name: &[u8],
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        let known = parent.last_known(name);
        let listed = self.inodes.drop_name(parent, name);
        result?;
        parent.expire_attr();
        self.let_go_of(who, known, listed);
        Ok(())
    }

    /// The inode that was last known by a name is not it any more; `listed`: a look-up of it is owed. The server keeps the space of
    /// what has no other name until all are given back.
    fn let_go_of(&self, who: Credentials, known: Option<NodeId>, listed: bool) {
        if let Some(inode) = known.and_then(|nodeid| self.inodes.get(nodeid)) {
            self.lost_name(who, inode);
        } else if listed {
            self.inodes.forgets().flush();
        }
    }

    /// Moves a name; what the new one named is replaced.
    pub(crate) fn rename(
        &self,
        who: Credentials,
        (parent, name): (&Inode<R>, &[u8]),
        (new_parent, new_name): (&Inode<R>, &[u8]),
        flags: RenameFlags,
    ) -> Result<(), Error> {
        let result = names::rename(&self.rpc, who, (parent.nodeid, name), (new_parent.nodeid, new_name), flags);
        let moved = parent.last_known(name);
        let replaced = new_parent.last_known(new_name);
        self.inodes.drop_name(parent, name);
        let listed = self.inodes.drop_name(new_parent, new_name);
        result?;
        parent.expire_attr();
        new_parent.expire_attr();
        // Remembered without a timeout: the next look-up asks the server.
        if moved.is_some() {
            self.inodes.keep_name(new_parent, new_name, moved, Duration::ZERO);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            if replaced.is_some() {
                self.inodes.keep_name(parent, name, replaced, Duration::ZERO);
            }
            return Ok(());
        }
        self.let_go_of(who, replaced, listed);
        Ok(())
    }
}
