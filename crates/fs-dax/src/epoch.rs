//! Whether an inode's metadata is durable, as far as a client of FUSE can know.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::change::Changes;

/// A change of an inode's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetadataChange {
    /// The file was created.
    Create,
    /// A write past the end made it longer.
    ExtendingWrite,
    /// Its size was set, up or down.
    SizeChange,
    /// Space was allocated, and no bytes changed (fallocate without a mode, or with "keep size").
    Allocate,
    /// Blocks were given back, zeroed or moved (fallocate with any other mode).
    Deallocate,
    /// Bytes arrived by copy_file_range, perhaps as blocks shared with another file.
    CopyFileRange,
}

impl MetadataChange {
    /// Whether blocks that a page was mapped from may be gone or others now. Growth leaves what was there in its place.
    #[must_use]
    pub const fn moves_blocks(self) -> bool {
        match self {
            Self::Create | Self::ExtendingWrite | Self::Allocate => false,
            Self::SizeChange | Self::Deallocate | Self::CopyFileRange => true,
        }
    }
}

/// An inode's metadata epoch.
///
/// FUSE has no way to ask whether a file's metadata is durable. So the client counts what makes it not so: each change
/// is counted from before its request is sent until its reply has come, the count is taken before a FUSE_FSYNC is sent,
/// and the inode is called clean after it only if nothing was under way then and nothing has begun since.
///
/// A new epoch is dirty: what happened to the file before this client met it is not known. Shared by reference between
/// processors; no lock.
///
/// ```
/// use fs_dax::{MetadataChange, MetadataEpoch};
///
/// let epoch = MetadataEpoch::new();
/// let before = epoch.seen();
/// // ... FUSE_FSYNC is sent, and succeeds ...
/// assert!(epoch.synced(before));
/// assert!(!epoch.is_dirty());
///
/// let change = epoch.change(MetadataChange::ExtendingWrite);
/// // ... FUSE_WRITE is sent and answered ...
/// drop(change);
/// assert!(epoch.is_dirty());
/// ```
#[derive(Debug)]
pub struct MetadataEpoch {
    all: Changes,
    /// Only those that move blocks.
    moves: Changes,
    /// The newest count that a FUSE_FSYNC has covered.
    durable: AtomicUsize,
}

/// A moment in an inode's metadata history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSeen {
    all: usize,
    moves: usize,
}

impl EpochSeen {
    pub(crate) const NEVER: Self = Self { all: 0, moves: 0 };
}

impl MetadataEpoch {
    /// An inode with unknown metadata: dirty.
    #[must_use]
    pub const fn new() -> Self {
        Self { all: Changes::new(1), moves: Changes::new(0), durable: AtomicUsize::new(0) }
    }

    /// Begins a change: to be called before its request is sent, and the guard kept until the reply has come, whatever
    /// it is.
    pub fn change(&self, change: MetadataChange) -> ChangeGuard<'_> {
        if change.moves_blocks() {
            self.moves.begin();
        }
        self.all.begin();
        ChangeGuard { epoch: self, change }
    }

    /// Ends a change that outlasted its guard.
    pub fn end(&self, change: OutstandingChange) {
        drop(ChangeGuard { epoch: self, change: change.0 });
    }

    /// Counts a change that somebody else made and that has been noticed only now (an attribute that differs, say).
    pub fn noticed(&self, change: MetadataChange) {
        drop(self.change(change));
    }

    /// This moment: to be taken before FUSE_FSYNC is sent, and in a fault before the page is looked up.
    #[must_use]
    pub fn seen(&self) -> EpochSeen {
        // Of a change that ends between the two loads each half says the safe thing: blocks moved, metadata dirty.
        let moves = self.moves.seen();
        EpochSeen { all: self.all.seen(), moves }
    }

    /// Reports that a FUSE_FSYNC sent after `seen` was taken has succeeded: itself, not an fsync that took ENOSYS for
    /// success. Gives whether the inode is clean now.
    pub fn synced(&self, seen: EpochSeen) -> bool {
        // The newest wins, in whatever order replies come. Once the count wraps this only errs to "dirty".
        self.durable.fetch_max(seen.all, Ordering::SeqCst);
        !self.is_dirty()
    }

    /// Whether metadata may be not durable.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.all.unchanged_since(self.durable.load(Ordering::SeqCst))
    }

    /// Whether no change since `seen`, and none that was under way then, moves blocks.
    #[must_use]
    pub fn blocks_stayed(&self, seen: EpochSeen) -> bool {
        self.moves.unchanged_since(seen.moves)
    }
}

impl Default for MetadataEpoch {
    fn default() -> Self {
        Self::new()
    }
}

/// A metadata change under way; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the change is under way until this is dropped"]
pub struct ChangeGuard<'a> {
    epoch: &'a MetadataEpoch,
    change: MetadataChange,
}

impl ChangeGuard<'_> {
    /// Leaves the change under way without a guard, for a request that was given up and may still be carried out: until
    /// [`MetadataEpoch::end`], and for good if that never comes.
    #[must_use = "the change is under way until it is ended"]
    pub const fn outlast(self) -> OutstandingChange {
        let change = self.change;
        core::mem::forget(self);
        OutstandingChange(change)
    }
}

/// A metadata change that is under way although its request was given up. To be ended at the epoch where it began.
#[derive(Debug)]
#[must_use = "the change is under way until it is ended"]
pub struct OutstandingChange(MetadataChange);

impl Drop for ChangeGuard<'_> {
    fn drop(&mut self) {
        self.epoch.all.end();
        if self.change.moves_blocks() {
            self.epoch.moves.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_outlasts_its_guard_is_under_way_until_it_is_ended() {
        let epoch = MetadataEpoch::new();
        let outstanding = epoch.change(MetadataChange::CopyFileRange).outlast();
        let seen = epoch.seen();
        assert!(!epoch.synced(seen) && !epoch.blocks_stayed(seen));
        epoch.end(outstanding);
        assert!(epoch.is_dirty() && !epoch.blocks_stayed(seen));
        let seen = epoch.seen();
        assert!(epoch.synced(seen) && epoch.blocks_stayed(seen));
    }

    #[test]
    fn which_changes_move_blocks() {
        let table = [
            (MetadataChange::Create, false),
            (MetadataChange::ExtendingWrite, false),
            (MetadataChange::SizeChange, true),
            (MetadataChange::Allocate, false),
            (MetadataChange::Deallocate, true),
            (MetadataChange::CopyFileRange, true),
        ];
        for (change, moves) in table {
            let epoch = MetadataEpoch::new();
            let seen = epoch.seen();
            epoch.noticed(change);
            assert_eq!(epoch.blocks_stayed(seen), !moves, "{change:?}");
        }
    }
}
