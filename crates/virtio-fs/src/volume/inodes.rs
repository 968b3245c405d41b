//! The inodes of a volume: taking them over from replies, and letting them go.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use fuse_proto::{Attr, Directory, Entry, NodeId};
use lock_api::Mutex;

use super::cached_name::CachedName;
use super::forgets::Forgets;
use super::inode::Inode;
use super::inode_table::{InodeTable, Inserted};
use super::listed::{Listed, ListedId};
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
    listed: Listed<R>,
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
            listed: Listed::new(),
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

    /// Takes all inodes out, with the look-ups to give back; those that came with listings are owed.
    pub(crate) fn drain(&self) -> Vec<(Arc<Inode<R>>, u64)> {
        self.listed.end_all(self.rpc.protocol(), |node| self.forgets.owe(node, 1));
        self.table.lock().drain()
    }

    /// Takes over the entry of a reply: the inode, its attributes, its name. `since`: see [`Inode::update_attr`].
    pub(crate) fn adopt(&self, parent: &Inode<R>, name: &[u8], entry: &Entry, since: u64) -> Arc<Inode<R>> {
        let inode = self.adopt_unnamed(parent, entry, since);
        self.keep_name(parent, name, Some(entry.node), entry.entry_valid);
        inode
    }

    /// Takes over the inode of an entry without a name, which was found or made in `parent`.
    pub(crate) fn adopt_unnamed(&self, parent: &Inode<R>, entry: &Entry, since: u64) -> Arc<Inode<R>> {
        let now = self.rpc.now();
        let inserted = self.table.lock().insert(entry, parent.device, now);
        match &inserted {
            Inserted::Known(inode) => self.take_attr(inode, &entry.attr, entry.attr_valid, since),
            Inserted::New(_) => self.trim(),
            Inserted::Replacing { old, .. } => self.mapped.drop_file(old.key),
        }
        inserted.into_inode()
    }

    /// Keeps the entries of a reply to READDIRPLUS for who looks one of them up, in place of those of the reply `before`. Those with
    /// inodes that are known bring newer attributes. `since`: what [`changes_so_far`](super::inode::changes_so_far) said before the
    /// request.
    pub(crate) fn keep_listed(&self, dir: &Inode<R>, before: Option<ListedId>, reply: &[u8], since: u64) -> ListedId {
        let entries = || {
            let all = Directory::new(reply).entries_plus(self.rpc.protocol()).map_while(Result::ok);
            all.filter(|found| !found.dirent.is_dot()).filter_map(|found| Some((found.dirent.name, found.entry?)))
        };
        for (_, entry) in entries() {
            let known = self.table.lock().known(&entry);
            if let Some(inode) = known {
                self.take_attr(&inode, &entry.attr, entry.attr_valid, since);
            }
        }
        let mut bytes = before.and_then(|id| self.end_listed(id)).unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(reply);
        let now = self.rpc.now();
        let id = self.listed.keep(self.rpc.protocol(), dir.key, bytes, now, || dir.changes() > since);
        for (name, entry) in entries() {
            // Which of the two is newer only the server knows.
            if dir.cached_name(name, now).is_some_and(|cached| cached != Some(entry.node)) {
                self.drop_name(dir, name);
            }
        }
        id
    }

    /// Owes the look-ups of a reply that nobody asked for. Returns its buffer.
    pub(crate) fn end_listed(&self, id: ListedId) -> Option<Vec<u8>> {
        self.listed.end(self.rpc.protocol(), id, |node| self.forgets.owe(node, 1))
    }

    /// The inode of a name that a listing under way has brought and that nobody asked for before.
    // Apart: its entry is not on the stack of who asks the server instead.
    #[inline(never)]
    pub(crate) fn claim_listed(&self, parent: &Inode<R>, name: &[u8], now: Duration) -> Option<Arc<Inode<R>>> {
        let before = parent.changes();
        let (entry, claimed) = {
            // Together, so that the inode cannot come and go in between: what the listing says would be old.
            let mut table = self.table.lock();
            let entry = self.listed.claim(self.rpc.protocol(), parent.key, name, now)?;
            (entry, if entry.entry_valid.is_zero() { None } else { table.claim(&entry, parent.device, now) })
        };
        let Some(inode) = claimed else {
            self.forgets.owe(entry.node, 1);
            return None;
        };
        self.trim();
        self.cache_name(parent, name, Some(entry.node), entry.entry_valid);
        if parent.changes() != before {
            // It may be gone by now.
            self.drop_name(parent, name);
        }
        Some(inode)
    }

    /// Uses attributes that came with a reply. `since`: see [`Inode::update_attr`].
    pub(crate) fn take_attr(&self, inode: &Inode<R>, attr: &Attr, valid: Duration, since: u64) {
        if inode.has_filled() && inode.had_other_bytes(attr) {
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
            self.drop_name(parent, name);
            return;
        }
        self.drop_listed(parent, name);
        self.cache_name(parent, name, nodeid, valid);
    }

    /// As [`Inodes::keep_name`], of a name that no listing has brought, or not any more.
    fn cache_name(&self, parent: &Inode<R>, name: &[u8], nodeid: Option<NodeId>, valid: Duration) {
        // A name without a timeout is kept all the same: when it is removed, it says which inode to let go.
        let until = self.rpc.now().saturating_add(valid);
        let name = CachedName::new(parent.nodeid, name, nodeid, until);
        self.names.keep(parent, name, |dir| self.table.lock().get(dir));
    }

    /// Forgets a name; if a listing had brought it, its look-up is owed now.
    pub(crate) fn drop_name(&self, parent: &Inode<R>, name: &[u8]) {
        self.names.forget(parent, name);
        self.drop_listed(parent, name);
    }

    fn drop_listed(&self, parent: &Inode<R>, name: &[u8]) {
        while let Some(node) = self.listed.forget_name(self.rpc.protocol(), parent.key, name) {
            self.forgets.owe(node, 1);
        }
    }

    /// Forgets all names of a directory.
    pub(crate) fn drop_names(&self, parent: &Inode<R>) {
        self.names.forget_all(parent);
        self.listed.forget_names(parent.key);
    }

    /// What listings have brought of an inode is old. Returns whether they had: the look-ups are owed now.
    pub(crate) fn drop_listed_node(&self, nodeid: NodeId) -> bool {
        let count = self.listed.forget_node(self.rpc.protocol(), nodeid);
        self.forgets.owe(nodeid, count);
        count > 0
    }

    /// Drops inodes that nobody holds while there are more than the configuration allows.
    fn trim(&self) {
        loop {
            let removed = {
                let mut table = self.table.lock();
                if table.len() <= self.max {
                    return;
                }
                let removed = table.remove_any_unused(DROP_TRIES);
                removed.map(|(inode, owed)| self.with_listed(inode, owed))
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
            let Some((inode, owed)) = table.remove_unused(nodeid) else { return table.get(nodeid) };
            self.with_listed(inode, owed)
        };
        let (inode, owed) = removed;
        self.let_go(&inode, owed);
        // At once: the server keeps the file's space until then.
        self.forgets.flush();
        None
    }

    /// An inode that was taken out of the table, which is locked still, with the look-ups that listings have brought of it added:
    /// what they say of it is older than what was known.
    fn with_listed(&self, inode: Arc<Inode<R>>, owed: u64) -> (Arc<Inode<R>>, u64) {
        let listed = self.listed.forget_node(self.rpc.protocol(), inode.nodeid);
        (inode, owed + listed)
    }

    fn let_go(&self, inode: &Inode<R>, owed: u64) {
        self.drop_names(inode);
        self.mapped.drop_file(inode.key);
        self.forgets.owe(inode.nodeid, owed);
    }
}
