//! The cache of names, each with its entry timeout. Each directory keeps its own; here they are counted, and those go
//! that were not looked up lately.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use fuse_proto::NodeId;
use lock_api::Mutex;

use super::cached_name::CachedName;
use super::inode::Inode;
use crate::Lock;

/// How many names eviction looks at for one that was not looked up lately; then it takes the next.
const TRIES: usize = 16;

/// Bounds how many names all directories together keep. Evicts by second chance.
pub(crate) struct NameCache<R: Lock> {
    /// All names, in the order in which eviction comes by. A name that its directory has forgotten is left here until then.
    ring: Mutex<R, VecDeque<Arc<CachedName>>>,
    names: AtomicUsize,
    max: usize,
}

impl<R: Lock> NameCache<R> {
    /// A cache of at most `max` names.
    pub(crate) fn new(max: usize) -> Self {
        Self { ring: Mutex::new(VecDeque::new()), names: AtomicUsize::new(0), max }
    }

    /// Keeps a name of a directory. `dir` finds the directories of names that have to go for it.
    pub(crate) fn keep(&self, parent: &Inode<R>, name: CachedName, dir: impl Fn(NodeId) -> Option<Arc<Inode<R>>>) {
        if self.max == 0 {
            self.forget(parent, &name.name);
            return;
        }
        let name = Arc::new(name);
        if let Some(replaced) = parent.cache_name(name.clone()) {
            self.gone(&replaced);
        }
        let count = self.names.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut ring = self.ring.lock();
            if ring.len() >= self.max.saturating_mul(2) {
                ring.retain(|name| !self.is_forgotten(name));
            }
            ring.push_back(name);
        }
        for _ in self.max..count {
            let Some(evicted) = self.evict() else { return };
            if let Some(dir) = dir(evicted.dir) {
                dir.forget_this_name(&evicted);
            }
        }
    }

    /// Forgets a name of a directory.
    pub(crate) fn forget(&self, parent: &Inode<R>, name: &[u8]) {
        if let Some(forgotten) = parent.forget_name(name) {
            self.gone(&forgotten);
        }
    }

    /// Forgets all names of a directory.
    pub(crate) fn forget_all(&self, parent: &Inode<R>) {
        parent.forget_names().iter().for_each(|forgotten| self.gone(forgotten));
    }

    /// Takes a name out that its directory has to forget.
    fn evict(&self) -> Option<Arc<CachedName>> {
        let mut ring = self.ring.lock();
        for tried in 0.. {
            let name = ring.pop_front()?;
            if self.is_forgotten(&name) {
                continue;
            }
            if tried < TRIES && name.take_used() {
                ring.push_back(name);
                continue;
            }
            self.gone(&name);
            return Some(name);
        }
        None
    }

    /// Whether no directory has the name any more.
    fn is_forgotten(&self, name: &Arc<CachedName>) -> bool {
        let forgotten = Arc::strong_count(name) == 1;
        if forgotten {
            // The directory itself may be gone.
            self.gone(name);
        }
        forgotten
    }

    fn gone(&self, name: &CachedName) {
        if name.stop_counting() {
            self.names.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use fs_dax::FileKeys;
    use fuse_proto::{Attr, Entry};

    use super::*;

    type Lock = spin::Mutex<()>;

    fn dir(nodeid: u64) -> Arc<Inode<Lock>> {
        let entry = Entry {
            node: NodeId(nodeid),
            generation: 0,
            entry_valid: Duration::ZERO,
            attr_valid: Duration::ZERO,
            attr: Attr::default(),
        };
        Arc::new(Inode::new(FileKeys::new().next_key(), &entry, 0, Duration::ZERO))
    }

    fn keep(cache: &NameCache<Lock>, dirs: &[Arc<Inode<Lock>>], parent: usize, name: &[u8]) {
        let name = CachedName::new(dirs[parent].nodeid, name, Some(NodeId(9)), Duration::MAX);
        let find = |nodeid| dirs.iter().find(|dir| dir.nodeid == nodeid).cloned();
        cache.keep(&dirs[parent], name, find);
    }

    fn knows(dir: &Inode<Lock>, name: &[u8]) -> bool {
        dir.last_known(name).is_some()
    }

    #[test]
    fn a_name_that_is_looked_up_outlives_others_of_any_directory() {
        let (cache, dirs) = (NameCache::new(3), [dir(1), dir(2)]);
        keep(&cache, &dirs, 0, b"hot");
        keep(&cache, &dirs, 0, b"cold");
        for name in 0..50u8 {
            assert!(dirs[0].cached_name(b"hot", Duration::ZERO).is_some());
            keep(&cache, &dirs, 1, &[name]);
            let known = (0..50u8).filter(|name| knows(&dirs[1], &[*name])).count();
            let others = usize::from(knows(&dirs[0], b"cold"));
            assert!(knows(&dirs[0], b"hot") && known + others <= 2, "{name}: {known} + {others}");
        }
        assert!(!knows(&dirs[0], b"cold") && knows(&dirs[1], &[49]));
        assert_eq!(cache.names.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn names_that_are_forgotten_leave_room_and_no_trace() {
        let (cache, dirs) = (NameCache::new(4), [dir(1), dir(2)]);
        for _ in 0..100 {
            keep(&cache, &dirs, 0, b"again");
            keep(&cache, &dirs, 0, b"removed");
            cache.forget(&dirs[0], b"removed");
        }
        assert_eq!(cache.names.load(Ordering::Relaxed), 1);
        assert!(cache.ring.lock().len() <= 8);
        keep(&cache, &dirs, 1, b"other");
        cache.forget_all(&dirs[0]);
        assert_eq!(cache.names.load(Ordering::Relaxed), 1);
        // A directory that is gone with its names.
        let (gone, rest) = (dir(3), [dir(4)]);
        keep(&cache, &[gone], 0, b"name");
        (0..8u8).for_each(|name| keep(&cache, &rest, 0, &[name]));
        assert_eq!(cache.names.load(Ordering::Relaxed), 4);
    }
}
