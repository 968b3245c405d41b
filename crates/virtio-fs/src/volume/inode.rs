//! An inode: what the driver knows of a file of the server, and the look-up count that it owes.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use fs_dax::{EpochSeen, FailureState, FileKey, FileRange, Layout, MetadataChange, MetadataEpoch};
use fuse_proto::{Attr, Entry, FileType, NodeId};
use lock_api::Mutex;

use super::cached_name::CachedName;
use super::commits::Commits;
use super::damaged_pages::DamagedPages;
use super::dirty_pages::DirtyPages;
use super::name_hash::name_hash;
use super::room::Room;
use crate::Lock;
use crate::nanos::nanos;

/// The unit in which attributes count what a file takes up on the host, in bytes.
const BLOCK: u64 = 512;

/// Runs as the file's owner.
const SET_USER: u32 = 0o4000;
/// Runs as the file's group, if that may run it; else a mark for locks.
const SET_GROUP: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o10;

/// The host's times do not show the last stores.
const TIMES: u8 = 1 << 0;
/// The host may have found or converted blocks for the last stores.
const BLOCKS: u8 = 1 << 1;

/// Attributes are fetched again no more often than this for a read, whatever the server says.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);

/// What is known of an inode's attributes.
#[derive(Clone, Debug)]
pub(crate) struct CachedAttr {
    pub(crate) attr: Attr,
    /// Until when `attr_valid` holds.
    pub(crate) valid_until: Duration,
    /// When they were fetched.
    pub(crate) fetched: Duration,
}

impl CachedAttr {
    /// The bits of the mode that are cleared when an unprivileged caller changes the file.
    fn set_id(&self) -> u32 {
        let group = if self.attr.mode & GROUP_RUNS == 0 { 0 } else { SET_GROUP };
        self.attr.mode & (SET_USER | group)
    }

    /// Until when they need not be fetched again for a read.
    fn fresh_until(&self) -> Duration {
        if self.fetched.is_zero() {
            self.valid_until
        } else {
            self.valid_until.max(self.fetched.saturating_add(REFRESH))
        }
    }

    /// Whether blocks are missing, as far as their number tells.
    fn has_holes(&self) -> bool {
        self.attr.blocks.saturating_mul(BLOCK) < self.attr.size
    }
}

/// An inode that the server knows by `nodeid`.
pub(crate) struct Inode<R: Lock> {
    /// The driver's own number: node ids are used again by the server after FORGET, these never.
    pub(crate) key: FileKey,
    pub(crate) nodeid: NodeId,
    pub(crate) generation: u64,
    /// Which of the host's file systems it is on: 0 for the share's own.
    pub(crate) device: u64,
    /// Whether it is a regular file, which it stays.
    is_regular: bool,
    /// Look-ups that the server counted and that FORGET has to give back.
    pub(crate) lookups: AtomicU64,
    attr: Mutex<R, CachedAttr>,
    /// [`CachedAttr::fresh_until`] once more, in nanoseconds.
    fresh_until: AtomicU64,
    /// The file's size: `attr.size` once more, for the paths that need nothing else.
    size: AtomicU64,
    /// Whether its blocks are too few for its size, by the attributes.
    holes: AtomicBool,
    /// Whether the mode has bits that are cleared when an unprivileged caller changes the file.
    set_id: AtomicBool,
    /// What stores through the window have changed that the rest of this does not show yet.
    stores: AtomicU8,
    /// Where it has room on the host.
    pub(crate) room: Room,
    /// Whether an FSYNC failed since all was durable last.
    sync_failed: AtomicBool,
    /// Whether programs may have pages that were filled by reading.
    filled: AtomicBool,
    /// When all of the file was found to have blocks that were written.
    written: Mutex<R, Option<EpochSeen>>,
    /// Whether it has no name any more.
    unlinked: AtomicBool,
    /// The number of the last change of a file's size or a directory's names.
    changes: AtomicU64,
    /// Grows with each operation that cuts the file, before and after it.
    truncate_seq: AtomicU64,
    /// Changes of the size with answers that are not known.
    unsettled: AtomicUsize,
    /// Tells a fault that the file was cut or punched while it was looked up.
    pub(crate) layout: Layout,
    /// Whether the file's metadata is durable on the host, as far as can be known.
    pub(crate) epoch: MetadataEpoch,
    /// Pages stored to through page tables.
    pub(crate) dirty_pages: Mutex<R, DirtyPages>,
    /// Who waits for an FSYNC, and the errors for each.
    pub(crate) commits: Mutex<R, Commits>,
    /// Once failed, always failed.
    pub(crate) failure: FailureState,
    /// Pages that are lost until they are overwritten.
    pub(crate) damage: DamagedPages<R>,
    /// By [`name_hash`]. Of two names with the same number, which nobody has by chance, the later one is kept.
    names: Mutex<R, BTreeMap<u64, Arc<CachedName>>>,
    /// It was looked up since eviction came by.
    used: AtomicBool,
}

/// Numbers the changes of all inodes together. What a reply says of an inode is old if that was changed after the request was sent,
/// and which inodes a reply will be about is not always known before. One for all mounts, since nothing but the order counts.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// The number of the last change of any inode: to be asked before a request whose reply brings attributes.
pub(crate) fn changes_so_far() -> u64 {
    CHANGES.load(Ordering::SeqCst)
}

impl<R: Lock> Inode<R> {
    pub(crate) fn new(key: FileKey, entry: &Entry, device: u64, now: Duration) -> Self {
        let attr = CachedAttr { attr: entry.attr, valid_until: now.saturating_add(entry.attr_valid), fetched: now };
        Self {
            key,
            nodeid: entry.node,
            generation: entry.generation,
            device,
            is_regular: entry.attr.is_file(),
            lookups: AtomicU64::new(0),
            fresh_until: AtomicU64::new(nanos(attr.fresh_until())),
            size: AtomicU64::new(attr.attr.size),
            holes: AtomicBool::new(attr.has_holes()),
            set_id: AtomicBool::new(entry.attr.is_file() && attr.set_id() != 0),
            stores: AtomicU8::new(0),
            room: Room::default(),
            sync_failed: AtomicBool::new(false),
            filled: AtomicBool::new(false),
            written: Mutex::new(None),
            unlinked: AtomicBool::new(attr.attr.nlink == 0),
            attr: Mutex::new(attr),
            changes: AtomicU64::new(0),
            truncate_seq: AtomicU64::new(0),
            unsettled: AtomicUsize::new(0),
            layout: Layout::new(),
            epoch: MetadataEpoch::new(),
            dirty_pages: Mutex::new(DirtyPages::new()),
            commits: Mutex::new(Commits::new()),
            failure: FailureState::new(),
            damage: DamagedPages::new(),
            names: Mutex::new(BTreeMap::new()),
            used: AtomicBool::new(false),
        }
    }

    /// The file's last known size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Whether the file has no name any more, as far as is known: it lives only as long as somebody holds it.
    pub(crate) fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::Acquire)
    }

    /// Its last name was removed.
    pub(crate) fn note_unlinked(&self) {
        self.unlinked.store(true, Ordering::Release);
    }

    /// Whether the file has holes, as far as the number of its blocks tells: a store there has to find room on the host.
    pub(crate) fn has_holes(&self) -> bool {
        self.holes.load(Ordering::Acquire)
    }

    /// Whether the mode has bits that are cleared when an unprivileged caller changes the file.
    #[inline]
    pub(crate) fn has_set_id(&self) -> bool {
        self.set_id.load(Ordering::Acquire)
    }

    /// The mode without its set-user-id and set-group-id bits, if it has any.
    pub(crate) fn mode_without_set_id(&self) -> Option<u32> {
        if !self.has_set_id() {
            return None;
        }
        let cached = self.attr.lock();
        Some(cached.attr.mode & 0o7777 & !cached.set_id())
    }

    /// Whether the mode marks the file for mandatory locks: the group's bit, where the group may not run it.
    pub(crate) fn has_lock_mark(&self) -> bool {
        self.attr.lock().attr.mode & (SET_GROUP | GROUP_RUNS) == SET_GROUP
    }

    /// Stores went through the window. To be called after them: what looks before is made durable with them or not at all.
    #[inline]
    pub(crate) fn note_stores(&self) {
        if self.stores.load(Ordering::Acquire) != TIMES | BLOCKS {
            self.stores.store(TIMES | BLOCKS, Ordering::Release);
        }
    }

    /// As [`Inode::note_stores`], of stores to blocks that are durable as they are.
    pub(crate) fn note_times(&self) {
        self.stores.fetch_or(TIMES, Ordering::AcqRel);
    }

    /// Whether the host's times do not show the last stores; from now on they do.
    pub(crate) fn take_times(&self) -> bool {
        self.stores.fetch_and(!TIMES, Ordering::AcqRel) & TIMES != 0
    }

    /// Whether the host's times do not show the last stores.
    pub(crate) fn owes_times(&self) -> bool {
        self.stores.load(Ordering::Acquire) & TIMES != 0
    }

    /// Counts what stores did to blocks as a change of metadata.
    pub(crate) fn fold_stores(&self) {
        if self.stores.fetch_and(!BLOCKS, Ordering::AcqRel) & BLOCKS != 0 {
            self.epoch.noticed(MetadataChange::Allocate);
        }
    }

    /// An FSYNC failed, or all is durable again.
    pub(crate) fn note_sync_failed(&self, failed: bool) {
        self.sync_failed.store(failed, Ordering::Release);
    }

    /// Whether an FSYNC failed since all was durable last: the host may take pages for clean that it has not written.
    pub(crate) fn has_sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// A program may get a page that is filled by reading.
    pub(crate) fn note_filled(&self) {
        self.filled.store(true, Ordering::Release);
    }

    /// Whether programs may have such pages.
    pub(crate) fn has_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Whether programs may have such pages; from now on they have none.
    pub(crate) fn take_filled(&self) -> bool {
        self.has_filled() && self.filled.swap(false, Ordering::AcqRel)
    }

    /// Whether these attributes are of other bytes than those that are known.
    pub(crate) fn had_other_bytes(&self, attr: &Attr) -> bool {
        let before = &self.attr.lock().attr;
        (before.mtime, before.size) != (attr.mtime, attr.size)
    }

    /// Whether all of the file has blocks that were written, as was found out since its metadata changed last.
    pub(crate) fn is_written(&self) -> bool {
        *self.written.lock() == Some(self.epoch.seen())
    }

    /// All of the file was found to have blocks that were written, by a look that began at `seen`.
    pub(crate) fn note_written(&self, seen: EpochSeen) {
        *self.written.lock() = Some(seen);
    }

    /// Whether `attr_valid` has ended and the attributes were fetched longer ago than [`REFRESH`].
    #[inline]
    pub(crate) fn attr_is_old(&self, now: Duration) -> bool {
        nanos(now) >= self.fresh_until.load(Ordering::Acquire)
    }

    /// Changes what is known of the attributes, and what is made of it for those who take no lock.
    fn change_cached<T>(&self, change: impl FnOnce(&mut CachedAttr) -> T) -> T {
        let mut cached = self.attr.lock();
        let result = change(&mut cached);
        self.fresh_until.store(nanos(cached.fresh_until()), Ordering::Release);
        self.holes.store(cached.has_holes(), Ordering::Release);
        result
    }

    pub(crate) fn cached_attr(&self) -> CachedAttr {
        self.attr.lock().clone()
    }

    /// Takes attributes that the server sent. `since` is what [`changes_so_far`], or [`Inode::changes`], said before the request: if the
    /// size was changed meanwhile the attributes are used, but not trusted any longer.
    ///
    /// Returns the size before, if the file became smaller.
    pub(crate) fn update_attr(&self, attr: &Attr, valid: Duration, now: Duration, since: u64) -> Option<u64> {
        self.change_cached(|cached| {
            if self.changes() > since || !self.is_settled() {
                // Which of the two the server saw first is unknown: keep the size that was made here, ask again soon.
                cached.valid_until = now;
                return None;
            }
            self.notice(&cached.attr, attr);
            *cached = CachedAttr { attr: *attr, valid_until: now.saturating_add(valid), fetched: now };
            self.unlinked.store(attr.nlink == 0, Ordering::Release);
            self.set_id.store(self.is_regular && cached.set_id() != 0, Ordering::Release);
            let before = self.size.swap(attr.size, Ordering::AcqRel);
            if attr.size < before {
                self.damage.clear(FileRange::from(attr.size));
            }
            (attr.size < before).then_some(before)
        })
    }

    /// Counts what attributes show of changes on the host, or of the driver's own with an outcome that was a guess.
    fn notice(&self, before: &Attr, now: &Attr) {
        if now.size < before.size || now.blocks < before.blocks {
            // Not only past the end, perhaps.
            self.room.hole_from(0);
        }
        if now.size < before.size {
            self.epoch.noticed(MetadataChange::SizeChange);
        } else if now.size != before.size || (now.blocks != before.blocks && now.ctime != before.ctime) {
            // A host that finds blocks for what was written, at an FSYNC say, changes their number and no time.
            self.epoch.noticed(MetadataChange::Deallocate);
        }
    }

    /// Marks the attributes as expired.
    pub(crate) fn expire_attr(&self) {
        self.change_cached(|cached| cached.valid_until = Duration::ZERO);
    }

    /// Somebody else changed the file: attributes that are known or being fetched are not used any more.
    pub(crate) fn forget_attr(&self) {
        self.note_change();
        self.change_cached(|cached| (cached.valid_until, cached.fetched) = (Duration::ZERO, Duration::ZERO));
    }

    /// The number of the last change, by [`changes_so_far`].
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Marks the begin or the end of an operation that can change the size of a file, or a name in a directory.
    pub(crate) fn note_change(&self) {
        let number = CHANGES.fetch_add(1, Ordering::SeqCst) + 1;
        self.changes.fetch_max(number, Ordering::SeqCst);
    }

    /// How many operations that cut the file began or ended so far.
    pub(crate) fn truncate_seq(&self) -> u64 {
        self.truncate_seq.load(Ordering::Acquire)
    }

    /// Marks the begin or the end of an operation that cuts the file.
    pub(crate) fn note_truncate(&self) {
        self.truncate_seq.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the answers to all changes of the size are known.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire) == 0
    }

    /// A change of the size was given up: whether and when the server carries it out is not known until
    /// [`Inode::note_settled`].
    pub(crate) fn note_unsettled(&self) {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
    }

    /// The answer has come after all.
    pub(crate) fn note_settled(&self) {
        self.unsettled.fetch_sub(1, Ordering::AcqRel);
    }

    /// The file was written from `start` to `end`: it is at least that large now, unless it was cut since [`Inode::truncate_seq`]
    /// said `since`; then the server knows.
    pub(crate) fn grow_to(&self, start: u64, end: u64, since: u64) {
        self.change_cached(|cached| {
            if self.truncate_seq() == since {
                self.room.filled(start, end);
                self.note_overwritten(start, end);
                self.size.fetch_max(end, Ordering::AcqRel);
                // The host has found room for what is new; whether it had to for the rest is asked again soon.
                let new = end.saturating_sub(start.max(cached.attr.size)).div_ceil(BLOCK);
                cached.attr.blocks = cached.attr.blocks.saturating_add(new);
                cached.attr.size = cached.attr.size.max(end);
            }
            // Times and blocks have changed too.
            cached.valid_until = Duration::ZERO;
        });
    }

    /// The bytes from `start` to `end` were overwritten or given back, which makes their damaged pages whole; of the last page of
    /// the file they are all that there is.
    pub(crate) fn note_overwritten(&self, start: u64, end: u64) {
        if !self.damage.is_none() {
            let bytes = FileRange::between(start, end);
            let end = if end >= self.size() { bytes.pages().end() } else { end };
            self.damage.clear(FileRange::between(start, end));
        }
    }

    /// The file was cut or stretched to `size` by an operation of this driver.
    pub(crate) fn set_size(&self, size: u64) {
        self.change_cached(|cached| {
            self.room.hole_from(size.min(cached.attr.size));
            self.damage.clear(FileRange::from(size));
            self.size.store(size, Ordering::Release);
            if size < cached.attr.size {
                // Which blocks went is not known.
                cached.attr.blocks = 0;
            }
            cached.attr.size = size;
            cached.valid_until = Duration::ZERO;
        });
    }

    /// A hole was punched by an operation of this driver: until the server is asked again, it may be anywhere.
    pub(crate) fn note_hole(&self) {
        self.change_cached(|cached| {
            self.room.hole_from(0);
            cached.attr.blocks = 0;
            cached.valid_until = Duration::ZERO;
        });
    }

    /// Whether the last known attributes say that it is such a file.
    pub(crate) fn has_type(&self, file_type: Option<FileType>) -> bool {
        self.attr.lock().attr.file_type() == file_type
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.attr.lock().attr.is_dir()
    }

    pub(crate) fn is_regular(&self) -> bool {
        self.is_regular
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.attr.lock().attr.is_symlink()
    }

    /// Whether the server marks the file for DAX.
    pub(crate) fn has_dax_attr(&self) -> bool {
        self.attr.lock().attr.wants_dax()
    }

    /// What the cache says of a name: `None` nothing, `Some(None)` there is none, `Some(Some(nodeid))` it is that one.
    pub(crate) fn cached_name(&self, name: &[u8], now: Duration) -> Option<Option<NodeId>> {
        let names = self.names.lock();
        let cached = names.get(&name_hash(name)).filter(|cached| cached.is_valid(now) && *cached.name == *name)?;
        cached.touch();
        Some(cached.nodeid())
    }

    /// The last known inode of a name, whether its entry timeout has passed or not.
    pub(crate) fn last_known(&self, name: &[u8]) -> Option<NodeId> {
        let names = self.names.lock();
        names.get(&name_hash(name)).filter(|cached| *cached.name == *name).and_then(|cached| cached.nodeid())
    }

    /// Notes a name; returns what it takes the place of, which is most often what was known of it before.
    pub(crate) fn cache_name(&self, name: Arc<CachedName>) -> Option<Arc<CachedName>> {
        self.names.lock().insert(name.hash(), name)
    }

    /// Forgets a name; returns what was known of it.
    pub(crate) fn forget_name(&self, name: &[u8]) -> Option<Arc<CachedName>> {
        let mut names = self.names.lock();
        let hash = name_hash(name);
        names.get(&hash).filter(|cached| *cached.name == *name)?;
        names.remove(&hash)
    }

    /// Forgets a name, unless something newer is known of it.
    pub(crate) fn forget_this_name(&self, cached: &Arc<CachedName>) {
        let mut names = self.names.lock();
        let hash = cached.hash();
        if names.get(&hash).is_some_and(|known| Arc::ptr_eq(known, cached)) {
            names.remove(&hash);
        }
    }

    /// Forgets all names; returns them.
    pub(crate) fn forget_names(&self) -> Vec<Arc<CachedName>> {
        core::mem::take(&mut *self.names.lock()).into_values().collect()
    }

    /// Whether the embedder has said of it what no server can say again: it failed, or pages of it are damaged.
    pub(crate) fn must_be_kept(&self) -> bool {
        !self.is_unlinked() && (self.failure.failed().is_some() || !self.damage.is_none())
    }

    /// It was looked up. Writes only once, so that hits of several processors share the cache line.
    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was looked up since eviction came by, which is now.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}
