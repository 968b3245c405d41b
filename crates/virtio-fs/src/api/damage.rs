//! Damaged pages: what an embedder does with a machine check or a bad block.
//!
//! A page that is marked is EIO for reads, stores, views and faults that touch it, and for nothing else: its neighbours go on, as
//! does the rest of a read or write before it. What was stored to it may be lost, of which each open file learns once, when it
//! is synchronised next. A write of the whole page makes it whole again (it goes by WRITE, and the host has another page for
//! it), and so do a punch and a cut. Views that exist when a page is marked go on showing it: the embedder knows from its
//! machine checks who touches it.

use alloc::vec::Vec;

use fs_dax::FileRange;

use crate::{File, Lock, Node, VirtioFs};

impl<R: Lock> VirtioFs<R> {
    /// Marks the pages damaged that lie at these guest-physical addresses of the window, as a machine check reports them. Returns
    /// which bytes of which files they are: none for memory in which nothing is mapped.
    ///
    /// Waits as [`File::mark_damaged`]: for a thread, not for the handler of the machine check.
    pub fn mark_memory_damaged(&self, addr: u64, len: u64) -> Vec<(Node<R>, FileRange)> {
        let hit = self.mounted.io.files_at(addr, len);
        hit.into_iter()
            .map(|(inode, bytes)| {
                self.mounted.volume().mark_damaged(&inode, bytes);
                (Node::new(self.mounted.clone(), inode, self.credentials()), bytes)
            })
            .collect()
    }
}

impl<R: Lock> File<R> {
    /// Marks the pages damaged that `bytes` touch, for all who have the file open: bad blocks, or memory that was lost. They are taken
    /// out of the page tables, and what is mapped of them is removed; that waits for who is copying them, and for views and
    /// pins of them until the window's timeout. A file with more than 64 separate runs of damaged pages counts as failed
    /// ([`Node::mark_failed`]).
    pub fn mark_damaged(&self, bytes: FileRange) {
        self.mounted.volume().mark_damaged(&self.open.inode, bytes);
    }

    /// Returns the damaged runs of the file, in order.
    pub fn damaged(&self) -> Vec<FileRange> {
        self.open.inode.damage.all()
    }
}
