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
    /// Takes over the inode that a request made under `name`. `since`: see [`Inode::update_attr`].
    pub(crate) fn made(&self, parent: &Inode<R>, name: &[u8], entry: &Entry, since: u64) -> Arc<Inode<R>> {
        parent.note_change();
        let inode = self.inodes.adopt(parent, name, entry, since);
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
        parent.note_change();
        self.inodes.drop_name(parent, name);
        result?;
        parent.expire_attr();
        self.let_go_of(who, known);
        Ok(())
    }

    /// The inode that was last known by a name is not it any more. The server keeps the space of what has no other name until all
    /// look-ups are given back: one that is not known may have some that are owed, since a listing brought it or it was let go.
    fn let_go_of(&self, who: Credentials, known: Option<NodeId>) {
        match known.and_then(|nodeid| self.inodes.get(nodeid)) {
            Some(inode) => self.lost_name(who, inode),
            None => self.inodes.forgets().flush(),
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
        for (dir, name) in [(parent, name), (new_parent, new_name)] {
            dir.note_change();
            self.inodes.drop_name(dir, name);
        }
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
        self.let_go_of(who, replaced);
        Ok(())
    }
}
