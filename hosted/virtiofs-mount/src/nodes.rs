//! What the kernel knows of nodes: their numbers, and how often it looked them up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fuser::INodeNo;

use crate::driver::{Attr, Node};

/// The root's number.
const ROOT: u64 = 1;
/// Numbers of ours begin here: far from those of the host's file systems.
const OURS: u64 = 1 << 62;

#[derive(Debug)]
struct Known {
    node: Node,
    lookups: u64,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<u64, Known>,
    /// Numbers of ours by the driver's keys, where the host's numbers are not unique.
    ours: HashMap<u64, u64>,
    next: u64,
}

/// Nodes by number. A program sees the same number as `st_ino`, so it is the host's where that is unique: while the kernel
/// knows a node, the server does, and its inode keeps its number.
#[derive(Debug)]
pub(crate) struct Nodes {
    root: Node,
    table: Mutex<Table>,
}

impl Nodes {
    pub(crate) fn new(root: Node) -> Self {
        Self { root, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node with this number, if the kernel knows it.
    pub(crate) fn get(&self, number: INodeNo) -> Option<Node> {
        if number.0 == ROOT {
            return Some(self.root.clone());
        }
        self.table().known.get(&number.0).map(|known| known.node.clone())
    }

    /// The number of a node, which the kernel is about to look up once more.
    pub(crate) fn look_up(&self, node: &Node, attr: &Attr) -> INodeNo {
        if *node == self.root {
            return INodeNo(ROOT);
        }
        let mut table = self.table();
        let number = table.number(node, attr);
        let known = table.known.entry(number).or_insert_with(|| Known { node: node.clone(), lookups: 0 });
        known.lookups += 1;
        let before = if known.node == *node { None } else { Some(std::mem::replace(&mut known.node, node.clone())) };
        // Dropping a node can take a request.
        drop(table);
        drop(before);
        INodeNo(number)
    }

    /// The kernel forgets as many look-ups.
    pub(crate) fn forget(&self, number: INodeNo, lookups: u64) {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number.0) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups > 0 {
            return;
        }
        let gone = table.known.remove(&number.0);
        if let Some(known) = &gone {
            table.ours.remove(&known.node.key().0);
        }
        drop(table);
        drop(gone);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        let table = std::mem::take(&mut *self.table());
        drop(table);
    }
}

impl Table {
    fn number(&mut self, node: &Node, attr: &Attr) -> u64 {
        if node.device() == 0 && attr.ino > ROOT && attr.ino < OURS {
            return attr.ino;
        }
        let next = &mut self.next;
        *self.ours.entry(node.key().0).or_insert_with(|| {
            *next += 1;
            OURS + *next
        })
    }
}
