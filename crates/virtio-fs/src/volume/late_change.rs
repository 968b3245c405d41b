//! Changes of a file's size or bytes that were not answered in time: the bytes stay frozen until the answer comes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use dax_window::Frozen;
use fs_dax::OutstandingChange;
use fuse_proto::FallocateMode;
use lock_api::Mutex;

use super::inode::Inode;
use crate::Lock;

/// What was asked of the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// This size, in bytes.
    Size(u64),
    /// A FALLOCATE.
    Allocate { mode: FallocateMode, offset: u64, len: u64 },
    /// A COPY_FILE_RANGE to the bytes from there on.
    Copy { offset: u64 },
}

/// The source of a copy, of which blocks may still become shared.
pub(super) struct SharedSource<R: Lock> {
    pub(super) inode: Arc<Inode<R>>,
    pub(super) change: OutstandingChange,
}

/// A change that was given up.
pub(super) struct LateChange<R: Lock> {
    /// The request's number.
    pub(super) unique: u64,
    pub(super) inode: Arc<Inode<R>>,
    pub(super) change: Change,
    pub(super) frozen: Option<Frozen>,
    pub(super) source: Option<SharedSource<R>>,
}

/// The changes that were given up and not answered yet.
pub(super) struct LateChanges<R: Lock>(Mutex<R, Vec<LateChange<R>>>);

impl<R: Lock> LateChanges<R> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Keeps a change that is about to be given up; not after that, or its answer may have come already.
    pub(super) fn keep(&self, change: LateChange<R>) {
        self.0.lock().push(change);
    }

    /// Takes the change that a late answer is about.
    pub(super) fn take(&self, unique: u64) -> Option<LateChange<R>> {
        let mut changes = self.0.lock();
        let index = changes.iter().position(|change| change.unique == unique)?;
        Some(changes.swap_remove(index))
    }

    /// Gives up on the answers that have not come.
    pub(super) fn clear(&self) {
        let changes = core::mem::take(&mut *self.0.lock());
        drop(changes);
    }
}

impl Change {
    /// Takes note of the change that the server carried out, before anybody is let in again. `cuts`: [`Inode::truncate_seq`] before
    /// it.
    pub(super) fn note<R: Lock>(self, inode: &Inode<R>, cuts: u64) {
        match self {
            Self::Size(size) => inode.set_size(size),
            Self::Allocate { mode, offset, len } => note_allocated(inode, mode, offset, len, cuts),
            // What was a hole there is one here.
            Self::Copy { offset } => inode.room.hole_from(offset),
        }
    }

    /// Where the bytes begin that are no longer what they were, all to the end of the file; `None`: there are none.
    pub(super) fn cut_from(self) -> Option<u64> {
        match self {
            Self::Size(size) => Some(size),
            Self::Allocate { mode, offset, .. } => mode.intersects(MOVES).then_some(offset),
            Self::Copy { .. } => None,
        }
    }
}

/// The modes that move the bytes behind the range.
pub(super) const MOVES: FallocateMode = FallocateMode::COLLAPSE_RANGE.union(FallocateMode::INSERT_RANGE);

/// The modes that put zeros in the place of bytes.
pub(super) const TAKES: FallocateMode = FallocateMode::PUNCH_HOLE.union(FallocateMode::ZERO_RANGE);

fn note_allocated<R: Lock>(inode: &Inode<R>, mode: FallocateMode, offset: u64, len: u64, cuts: u64) {
    let moves = mode.intersects(MOVES);
    if mode.contains(FallocateMode::COLLAPSE_RANGE) {
        inode.set_size(inode.size().saturating_sub(len));
    } else if !moves && !mode.contains(FallocateMode::KEEP_SIZE) {
        inode.grow_to(offset, offset.saturating_add(len), cuts);
    }
    if moves || mode.contains(FallocateMode::PUNCH_HOLE) {
        inode.note_hole();
    }
    if mode.intersects(TAKES) {
        inode.note_overwritten(offset, offset.saturating_add(len));
    }
}
