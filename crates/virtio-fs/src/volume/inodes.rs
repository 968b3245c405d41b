//! The inodes of a volume: taking them over from replies, and letting them go.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use fuse_proto::{Attr, Entry, NodeId};
use lock_api::Mutex;

use super::cached_name::CachedName;
use super::forgets::Forgets;
use super::inode::Inode;
use super::inode_table::InodeTable;
use super::mapped_bytes::{Mapped, MappedBytes};
use super::name_cache::NameCache;
use crate::Lock;
use crate::rpc::Rpc;

/// How much a volume keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Inodes that nobody holds.
    pub(crate) max_inodes: usize,
    /// Names.
    pub(crate) max_names: usize,
}

/// How many inodes to look at for one that can be dropped.
const DROP_TRIES: usize = 8;

/// See the module.
pub(crate) struct Inodes<R: Lock> {
    rpc: Arc<Rpc<R>>,
    table: Mutex<R, InodeTable<R>>,
    names: NameCache<R>,
    forgets: Forgets<R>,
    mapped: Mapped,
    max: usize,
}

impl<R: Lock> Inodes<R> {
    /// No inodes yet; `mapped` is who maps their bytes.
    pub(crate) fn new(rpc: Arc<Rpc<R>>, mapped: Option<Arc<dyn MappedBytes>>, limits: Limits) -> Self {
        Self {
            forgets: Forgets::new(rpc.clone(), limits.max_inodes),
            rpc,
            table: Mutex::new(InodeTable::new()),
            names: NameCache::new(limits.max_names),
            mapped: Mapped(mapped),
            max: limits.max_inodes.max(1),
        }
    }

    /// Adds the root, for which the server counts no look-ups.
    pub(crate) fn insert_root(&self, entry: &Entry) -> Arc<Inode<R>> {
        let now = self.rpc.now();
        self.table.lock().insert_root(entry, now)
    }

    /// Who maps the inodes' bytes.
    pub(crate) fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The look-ups that are owed.
    pub(crate) fn forgets(&self) -> &Forgets<R> {
        &self.forgets
    }

    /// The inode that the server knows by `nodeid`, if the driver holds it.
    pub(crate) fn get(&self, nodeid: NodeId) -> Option<Arc<Inode<R>>> {
        self.table.lock().get(nodeid)
    }

    /// All inodes, also those with node ids that were reused.
    pub(crate) fn all(&self) -> Vec<Arc<Inode<R>>> {
        self.table.lock().all()
    }

    /// Takes all inodes out, with the look-ups to give back.
    pub(crate) fn drain(&self) -> Vec<(Arc<Inode<R>>, u64)> {
        self.table.lock().drain()
    }

    /// Takes over the entry of a reply: the inode, its attributes, its name.
    pub(crate) fn adopt(&self, parent: &Inode<R>, name: &[u8], entry: &Entry) -> Arc<Inode<R>> {
        let inode = self.adopt_unnamed(parent, entry);
        self.keep_name(parent, name, Some(entry.node), entry.entry_valid);
        inode
    }

    /// Takes over the inode of an entry without a name, which was found or made in `parent`.
    pub(crate) fn adopt_unnamed(&self, parent: &Inode<R>, entry: &Entry) -> Arc<Inode<R>> {
        let now = self.rpc.now();
        let (inode, replaced) = self.table.lock().insert(entry, parent.device, now);
        if let Some(replaced) = replaced {
            self.mapped.drop_file(replaced.key);
        }
        let since = inode.size_changes();
        self.take_attr(&inode, &entry.attr, entry.attr_valid, since);
        self.trim();
        inode
    }

    /// Uses attributes that came with a reply. `since`: see [`Inode::update_attr`].
    pub(crate) fn take_attr(&self, inode: &Inode<R>, attr: &Attr, valid: Duration, since: u64) {
        let before = inode.cached_attr().attr;
        if (before.mtime, before.size) != (attr.mtime, attr.size) {
            self.note_changed(inode);
        }
        if inode.update_attr(attr, valid, self.rpc.now(), since).is_some() {
            // The host cut the file: mappings past its end must go before anybody touches them.
            self.mapped.cut(inode.key, attr.size);
        }
    }

    /// Bytes of a file became others by a request, or on the host: pages that were filled by reading show the old ones.
    pub(crate) fn note_changed(&self, inode: &Inode<R>) {
        if inode.take_filled() {
            // Those that are read now and not installed yet are not current any more.
            let _layout = inode.layout.change();
            self.mapped.take_filled(inode.key);
        }
    }

    /// Keeps a name for its entry timeout; `None`: there is no such name.
    pub(crate) fn keep_name(&self, parent: &Inode<R>, name: &[u8], nodeid: Option<NodeId>, valid: Duration) {
        if valid.is_zero() && nodeid.is_none() {
            self.names.forget(parent, name);
            return;
        }
        // A name without a timeout is kept all the same: when it is removed, it says which inode to let go.
        let until = self.rpc.now().saturating_add(valid);
        let name = CachedName::new(parent.nodeid, name, nodeid, until);
        self.names.keep(parent, name, |dir| self.table.lock().get(dir));
    }

    /// Forgets a name.
    pub(crate) fn drop_name(&self, parent: &Inode<R>, name: &[u8]) {
        self.names.forget(parent, name);
    }

    /// Forgets all names of a directory.
    pub(crate) fn drop_names(&self, parent: &Inode<R>) {
        self.names.forget_all(parent);
    }

    /// Drops inodes that nobody holds while there are more than the configuration allows.
    fn trim(&self) {
        loop {
            let removed = {
                let mut table = self.table.lock();
                if table.len() <= self.max {
                    return;
                }
                table.remove_any_unused(DROP_TRIES)
            };
            match removed {
                Some((inode, owed)) => self.let_go(&inode, owed),
                None => return,
            }
        }
    }

    /// Drops an inode that nobody holds, so that the host can free a file that is gone. Returns it if somebody else holds it.
    pub(crate) fn drop_unless_used(&self, inode: Arc<Inode<R>>) -> Option<Arc<Inode<R>>> {
        let nodeid = inode.nodeid;
        drop(inode);
        let removed = {
            let mut table = self.table.lock();
            let Some(removed) = table.remove_unused(nodeid) else { return table.get(nodeid) };
            removed
        };
        let (inode, owed) = removed;
        self.let_go(&inode, owed);
        // At once: the server keeps the file's space until then.
        self.forgets.flush();
        None
    }

    fn let_go(&self, inode: &Inode<R>, owed: u64) {
        self.drop_names(inode);
        self.mapped.drop_file(inode.key);
        self.forgets.owe(inode.nodeid, owed);
    }
}
