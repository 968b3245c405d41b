//! What late answers bring: look-ups and open files to give back, sizes that are known again.

use alloc::sync::Arc;

use dax_window::Frozen;
use fs_dax::{FileRange, MetadataChange};
use fuse_proto::Opcode;

use super::Volume;
use super::inode::Inode;
use super::late_change::{Change, LateChange, SharedSource};
use crate::Lock;
use crate::queue::channel::OrphanReply;
use crate::rpc::connection::SettleOrphans;
use crate::rpc::in_flight::GivenUp;
use crate::rpc::orphans;

impl<R: Lock> Volume<R> {
    /// Keeps bytes frozen until the request is answered that takes them away, if it was given up; else lets accesses in again.
    /// The same holds for the `source` of a copy.
    pub(super) fn thaw_when_settled(
        &self,
        (inode, frozen): (&Inode<R>, Option<Frozen>),
        change: Change,
        given_up: GivenUp<R>,
        source: Option<SharedSource<R>>,
    ) {
        match (given_up.unique(), self.known(inode)) {
            (Some(unique), Some(inode)) if frozen.is_some() => {
                inode.note_unsettled();
                self.late_changes.keep(LateChange { unique, inode, change, frozen, source });
            }
            _ => {
                self.inodes.mapped().thaw(frozen);
                end_sharing(source);
            }
        }
        // Given up only now: its answer is waited for.
        drop(given_up);
    }

    /// The inode as one to keep; `None`: its node id was reused, so that the file is gone.
    pub(super) fn known(&self, inode: &Inode<R>) -> Option<Arc<Inode<R>>> {
        self.inodes.get(inode.nodeid).filter(|known| known.key == inode.key)
    }

    /// Takes note of a late answer, if it is one to a change of a file's size or bytes.
    fn settle_change(&self, orphan: &OrphanReply) {
        let Some(LateChange { inode, change, frozen, source, .. }) = self.late_changes.take(orphan.meta.unique) else {
            return;
        };
        {
            let _layout = inode.layout.change();
            let _epoch = inode.epoch.change(MetadataChange::SizeChange);
            let refused = matches!(orphans::refusal(&self.rpc, orphan), Ok(Some(_)));
            if !refused {
                change.note(&inode, inode.truncate_seq());
                if let Some(start) = change.cut_from() {
                    self.inodes.mapped().take_copies(inode.key, FileRange::between(start, u64::MAX));
                }
            }
            inode.note_truncate();
            inode.note_change();
            inode.note_settled();
            inode.expire_attr();
        }
        self.inodes.mapped().thaw(frozen);
        end_sharing(source);
    }

    /// Forgets what is remembered, since it was given up, of what a request may have changed.
    fn settle_caches(&self, orphan: &OrphanReply) {
        let node = self.inodes.get(orphan.meta.node);
        match orphan.meta.opcode {
            // The other file or directory is not known any more.
            Opcode::RENAME | Opcode::RENAME2 | Opcode::COPY_FILE_RANGE => {
                self.inodes.all().iter().for_each(|inode| self.forget_all_of(inode));
            }
            Opcode::SETATTR
            | Opcode::FALLOCATE
            | Opcode::WRITE
            | Opcode::UNLINK
            | Opcode::RMDIR
            | Opcode::MKNOD
            | Opcode::MKDIR
            | Opcode::SYMLINK
            | Opcode::LINK
            | Opcode::CREATE => node.iter().for_each(|inode| self.forget_all_of(inode)),
            _ => {}
        }
    }

    fn forget_all_of(&self, inode: &Inode<R>) {
        inode.forget_attr();
        if inode.is_dir() {
            self.inodes.drop_names(inode);
        } else {
            self.inodes.note_changed(inode);
        }
    }

    /// Gives back what came with replies that nobody waits for any more, and takes note of what they say.
    pub(crate) fn settle_orphans(&self) {
        self.inodes.mapped().settle_late();
        let forgets = self.inodes.forgets();
        if orphans::settle(
            &self.rpc,
            |node| forgets.owe(node, 1),
            |orphan| {
                self.settle_change(orphan);
                self.settle_caches(orphan);
            },
        ) > 0
        {
            forgets.flush();
        }
    }
}

/// The blocks of a copy's source become shared no more.
fn end_sharing<R: Lock>(source: Option<SharedSource<R>>) {
    if let Some(SharedSource { inode, change }) = source {
        inode.epoch.end(change);
    }
}

impl<R: Lock> SettleOrphans for Volume<R> {
    fn settle_orphans(&self) {
        Self::settle_orphans(self);
    }
}
