//! Changes of a file's size whose answer did not come in time: the bytes stay frozen until it comes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use dax_window::Frozen;
use fs_dax::{FileRange, MetadataChange};
use fuse_proto::FallocateMode;
use lock_api::Mutex;

use super::Volume;
use super::inode::Inode;
use super::resize::note_allocated;
use crate::Lock;
use crate::queue::channel::OrphanReply;
use crate::rpc::in_flight::GivenUp;
use crate::rpc::orphans;

/// What was asked of the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// This size, in bytes.
    Size(u64),
    /// A FALLOCATE.
    Allocate { mode: FallocateMode, offset: u64, len: u64 },
}

struct LateChange<R: Lock> {
    /// The request's number.
    unique: u64,
    inode: Arc<Inode<R>>,
    change: Change,
    frozen: Option<Frozen>,
}

/// The changes that were given up and not answered yet.
pub(super) struct LateChanges<R: Lock>(Mutex<R, Vec<LateChange<R>>>);

impl<R: Lock> LateChanges<R> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self, unique: u64) -> Option<LateChange<R>> {
        let mut changes = self.0.lock();
        let index = changes.iter().position(|change| change.unique == unique)?;
        Some(changes.swap_remove(index))
    }
}

impl<R: Lock> Volume<R> {
    /// Keeps bytes frozen until the request is answered that takes them away, if it was given up; else lets accesses in again.
    pub(super) fn thaw_when_settled(
        &self,
        inode: &Inode<R>,
        frozen: Option<Frozen>,
        change: Change,
        given_up: GivenUp<R>,
    ) {
        // An inode whose node id is another's now is nobody's any more.
        let inode = self.inodes.get(inode.nodeid).filter(|known| known.key == inode.key);
        match (given_up.unique(), inode) {
            (Some(unique), Some(inode)) if frozen.is_some() => {
                inode.note_unsettled();
                self.late_changes.0.lock().push(LateChange { unique, inode, change, frozen });
            }
            _ => self.inodes.mapped().thaw(frozen),
        }
        // Given up only now: its answer is waited for.
        drop(given_up);
    }

    /// Takes note of a late answer, if it is one to a change of a file's size.
    pub(super) fn settle_change(&self, orphan: &OrphanReply) {
        let Some(LateChange { inode, change, frozen, .. }) = self.late_changes.take(orphan.about.unique) else {
            return;
        };
        {
            let _layout = inode.layout.change();
            let _epoch = inode.epoch.change(MetadataChange::SizeChange);
            let refused = matches!(orphans::refusal(&self.rpc, orphan), Ok(Some(_)));
            if !refused {
                let start = match change {
                    Change::Size(size) => {
                        inode.set_size(size);
                        size
                    }
                    Change::Allocate { mode, offset, len } => {
                        note_allocated(&inode, mode, offset, len, inode.truncate_seq());
                        offset
                    }
                };
                let moves = FallocateMode::COLLAPSE_RANGE | FallocateMode::INSERT_RANGE;
                if !matches!(change, Change::Allocate { mode, .. } if !mode.intersects(moves)) {
                    self.inodes.mapped().take_copies(inode.key, FileRange::between(start, u64::MAX));
                }
            }
            inode.note_truncate();
            inode.note_size_change();
            inode.note_settled();
            inode.expire_attr();
        }
        self.inodes.mapped().thaw(frozen);
    }

    /// Gives up on the answers that have not come: nothing is mapped any more.
    pub(super) fn drop_late_changes(&self) {
        let changes = core::mem::take(&mut *self.late_changes.0.lock());
        drop(changes);
    }
}
