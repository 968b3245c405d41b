//! The table of inodes by node id.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as Slot;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use fs_dax::FileKeys;
use fuse_proto::{Entry, NodeId};

use super::inode::Inode;
use crate::Lock;

/// All inodes that the driver holds, by node id.
pub(crate) struct InodeTable<R: Lock> {
    inodes: BTreeMap<u64, Arc<Inode<R>>>,
    /// Those with node ids that the server gave to other files while somebody still held them.
    replaced: Vec<Weak<Inode<R>>>,
    keys: FileKeys,
    /// Where the search for an inode to drop goes on.
    hand: u64,
}

/// What came of an entry.
pub(crate) enum Inserted<R: Lock> {
    Known(Arc<Inode<R>>),
    /// With the entry's attributes.
    New(Arc<Inode<R>>),
    /// Likewise; its node id is that of a file that is gone (other generation).
    Replacing {
        inode: Arc<Inode<R>>,
        old: Arc<Inode<R>>,
    },
}

impl<R: Lock> Inserted<R> {
    pub(crate) fn into_inode(self) -> Arc<Inode<R>> {
        match self {
            Self::Known(inode) | Self::New(inode) | Self::Replacing { inode, .. } => inode,
        }
    }
}

/// Whether an inode is that of an entry with its node id, not of a file that is gone.
fn is_of<R: Lock>(inode: &Inode<R>, entry: &Entry) -> bool {
    inode.generation == entry.generation && inode.has_type(entry.attr.file_type())
}

/// The inode of an entry, looked up once.
fn new_inode<R: Lock>(keys: &mut FileKeys, entry: &Entry, device: u64, now: Duration) -> Arc<Inode<R>> {
    let key = keys.next_key();
    let device = if entry.attr.is_submount() { key.0 } else { device };
    let inode = Arc::new(Inode::new(key, entry, device, now));
    inode.lookups.store(1, Ordering::Relaxed);
    inode
}

impl<R: Lock> InodeTable<R> {
    pub(crate) const fn new() -> Self {
        Self { inodes: BTreeMap::new(), replaced: Vec::new(), keys: FileKeys::new(), hand: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    pub(crate) fn get(&self, nodeid: NodeId) -> Option<Arc<Inode<R>>> {
        let inode = self.inodes.get(&nodeid.0)?;
        inode.touch();
        Some(inode.clone())
    }

    /// The inode of an entry that the server just returned, with one more look-up to give back.
    ///
    /// A new one is on the same file system of the host's as its parent, on `device`, unless another begins with it.
    pub(crate) fn insert(&mut self, entry: &Entry, device: u64, now: Duration) -> Inserted<R> {
        match self.inodes.entry(entry.node.0) {
            Slot::Occupied(place) if is_of(place.get(), entry) => {
                let known = place.get();
                known.lookups.fetch_add(1, Ordering::Relaxed);
                known.touch();
                Inserted::Known(known.clone())
            }
            Slot::Occupied(mut place) => {
                let inode = new_inode(&mut self.keys, entry, device, now);
                let old = place.insert(inode.clone());
                // The server counts look-ups by node id: those of the old file go with the new one.
                inode.lookups.fetch_add(old.lookups.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                self.replaced.retain(|held| held.strong_count() > 0);
                self.replaced.push(Arc::downgrade(&old));
                Inserted::Replacing { inode, old }
            }
            Slot::Vacant(place) => {
                let inode = new_inode(&mut self.keys, entry, device, now);
                place.insert(inode.clone());
                Inserted::New(inode)
            }
        }
    }

    /// The inode of an entry, if it is known.
    pub(crate) fn known(&self, entry: &Entry) -> Option<Arc<Inode<R>>> {
        self.inodes.get(&entry.node.0).filter(|inode| is_of(inode, entry)).cloned()
    }

    /// As [`InodeTable::insert`], for an entry that the server returned a while ago: `None` if another file has its node id by now.
    pub(crate) fn claim(&mut self, entry: &Entry, device: u64, now: Duration) -> Option<Arc<Inode<R>>> {
        let other = self.inodes.get(&entry.node.0).is_some_and(|inode| !is_of(inode, entry));
        (!other).then(|| self.insert(entry, device, now).into_inode())
    }

    /// Adds the root, for which the server counts no look-ups.
    pub(crate) fn insert_root(&mut self, entry: &Entry, now: Duration) -> Arc<Inode<R>> {
        let root = self.insert(entry, 0, now).into_inode();
        root.lookups.store(0, Ordering::Relaxed);
        root
    }

    /// Takes an inode out if nobody else holds it and what is known of it may be forgotten, with the look-ups to give back.
    pub(crate) fn remove_unused(&mut self, nodeid: NodeId) -> Option<(Arc<Inode<R>>, u64)> {
        let unused = nodeid != NodeId::ROOT
            && self.inodes.get(&nodeid.0).is_some_and(|held| Arc::strong_count(held) == 1 && !held.must_be_kept());
        if !unused {
            return None;
        }
        let inode = self.inodes.remove(&nodeid.0)?;
        let owed = inode.lookups.swap(0, Ordering::Relaxed);
        Some((inode, owed))
    }

    /// Takes some inode out that nobody else holds and that was not looked up since this came by last, going round the table;
    /// looks at no more than `tries`.
    pub(crate) fn remove_any_unused(&mut self, tries: usize) -> Option<(Arc<Inode<R>>, u64)> {
        for _ in 0..tries {
            let next = self.inodes.range(self.hand..).next().or_else(|| self.inodes.iter().next());
            let nodeid = NodeId(*next?.0);
            self.hand = nodeid.0.wrapping_add(1);
            let unused = self.inodes.get(&nodeid.0).is_some_and(|inode| !inode.take_used());
            if unused && let Some(removed) = self.remove_unused(nodeid) {
                return Some(removed);
            }
        }
        None
    }

    /// Takes all inodes out, with the look-ups to give back.
    pub(crate) fn drain(&mut self) -> Vec<(Arc<Inode<R>>, u64)> {
        core::mem::take(&mut self.inodes)
            .into_values()
            .map(|inode| {
                let owed = inode.lookups.swap(0, Ordering::Relaxed);
                (inode, owed)
            })
            .collect()
    }

    /// All inodes, also those with node ids that were reused.
    pub(crate) fn all(&self) -> Vec<Arc<Inode<R>>> {
        self.inodes.values().cloned().chain(self.replaced.iter().filter_map(Weak::upgrade)).collect()
    }
}

#[cfg(test)]
mod tests {
    use fuse_proto::Attr;

    use super::*;

    #[test]
    fn an_inode_that_is_looked_up_outlives_others() {
        let mut table = InodeTable::<spin::Mutex<()>>::new();
        let entry = |nodeid| Entry {
            node: NodeId(nodeid),
            generation: 1,
            entry_valid: Duration::ZERO,
            attr_valid: Duration::ZERO,
            attr: Attr::default(),
        };
        let hot = NodeId(2);
        drop(table.insert(&entry(hot.0), 0, Duration::ZERO));
        for other in 3..40 {
            drop(table.insert(&entry(other), 0, Duration::ZERO));
            assert!(table.get(hot).is_some(), "{other}");
            while table.len() > 2 {
                assert!(table.remove_any_unused(2).is_some_and(|(inode, _)| inode.nodeid != hot), "{other}");
            }
        }
        // Nobody looks it up any more.
        assert!(table.remove_any_unused(4).is_some() && table.remove_any_unused(4).is_some());
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_file_whose_node_id_was_reused_is_not_forgotten_while_it_is_held() {
        let mut table = InodeTable::<spin::Mutex<()>>::new();
        let entry = |generation| Entry {
            node: NodeId(7),
            generation,
            entry_valid: Duration::ZERO,
            attr_valid: Duration::ZERO,
            attr: Attr::default(),
        };
        let old = table.insert(&entry(1), 0, Duration::ZERO).into_inode();
        let Inserted::Replacing { inode: new, old: replaced } = table.insert(&entry(2), 0, Duration::ZERO) else {
            panic!("another file");
        };
        assert!(Arc::ptr_eq(&replaced, &old));
        drop(replaced);
        let keys = |table: &InodeTable<_>| table.all().iter().map(|inode| inode.key).collect::<Vec<_>>();
        assert_eq!(keys(&table), [new.key, old.key]);
        drop(old);
        assert_eq!(keys(&table), [new.key]);
    }
}
