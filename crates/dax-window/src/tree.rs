//! The ordered tree of mapped intervals: a height-balanced (AVL) tree threaded through the descriptors by number.
//!
//! The key is (inode, chunk). All chunks of one inode are neighbours in that order, so one tree holds every inode's
//! ordered set of disjoint intervals at once and there is no root to find, store or allocate for each inode.

use crate::descriptor::{Descriptor, NIL};

const LEFT: usize = 0;
const RIGHT: usize = 1;

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Tree {
    pub(crate) root: u32,
}

impl Tree {
    pub(crate) const EMPTY: Self = Self { root: NIL };

    /// The first range whose key is at least `key`, or `NIL`.
    pub(crate) fn lower_bound(&self, d: &[Descriptor], key: (u64, u64)) -> u32 {
        let (mut at, mut best) = (self.root, NIL);
        while at != NIL {
            let node = &d[at as usize];
            if node.key() >= key {
                best = at;
                at = node.child[LEFT];
            } else {
                at = node.child[RIGHT];
            }
        }
        best
    }

    /// The range after `at` in key order, or `NIL`.
    pub(crate) fn next(d: &[Descriptor], mut at: u32) -> u32 {
        let right = d[at as usize].child[RIGHT];
        if right != NIL {
            return Self::first(d, right);
        }
        loop {
            let parent = d[at as usize].parent;
            if parent == NIL || d[parent as usize].child[LEFT] == at {
                return parent;
            }
            at = parent;
        }
    }

    fn first(d: &[Descriptor], mut at: u32) -> u32 {
        while d[at as usize].child[LEFT] != NIL {
            at = d[at as usize].child[LEFT];
        }
        at
    }

    /// Inserts range `i`, whose key is set and not yet in the tree. `before` is the range that directly precedes it
    /// when that is known (a sequential reader's last chunk), which spares the search; else `NIL`.
    pub(crate) fn insert(&mut self, d: &mut [Descriptor], i: u32, before: u32) {
        let (parent, side) =
            if before == NIL { self.place(d, d[i as usize].key()) } else { Self::place_after(d, before) };
        let node = &mut d[i as usize];
        node.child = [NIL; 2];
        node.height = 1;
        node.parent = parent;
        if parent == NIL {
            self.root = i;
        } else {
            d[parent as usize].child[side] = i;
            self.rebalance(d, parent);
        }
    }

    fn place(&self, d: &[Descriptor], key: (u64, u64)) -> (u32, usize) {
        let (mut at, mut parent, mut side) = (self.root, NIL, LEFT);
        while at != NIL {
            let node = &d[at as usize];
            parent = at;
            side = if key < node.key() { LEFT } else { RIGHT };
            at = node.child[side];
        }
        (parent, side)
    }

    fn place_after(d: &[Descriptor], before: u32) -> (u32, usize) {
        match d[before as usize].child[RIGHT] {
            NIL => (before, RIGHT),
            right => (Self::first(d, right), LEFT),
        }
    }

    /// Takes range `i` out.
    pub(crate) fn remove(&mut self, d: &mut [Descriptor], i: u32) {
        let [left, right] = d[i as usize].child;
        let parent = d[i as usize].parent;
        let lowest = if left == NIL || right == NIL {
            let only = if left == NIL { right } else { left };
            self.replace(d, parent, i, only);
            parent
        } else {
            // The next range in order has no left child, so it can leave its place and take this one.
            let heir = Self::first(d, right);
            let mut lowest = d[heir as usize].parent;
            if lowest == i {
                lowest = heir;
            } else {
                let heirs_right = d[heir as usize].child[RIGHT];
                self.replace(d, lowest, heir, heirs_right);
                d[heir as usize].child[RIGHT] = right;
                d[right as usize].parent = heir;
            }
            d[heir as usize].child[LEFT] = left;
            d[left as usize].parent = heir;
            d[heir as usize].height = d[i as usize].height;
            self.replace(d, parent, i, heir);
            lowest
        };
        let node = &mut d[i as usize];
        node.child = [NIL; 2];
        node.parent = NIL;
        node.height = 0;
        self.rebalance(d, lowest);
    }

    /// Hangs `new` where `old` hung under `parent`.
    fn replace(&mut self, d: &mut [Descriptor], parent: u32, old: u32, new: u32) {
        if parent == NIL {
            self.root = new;
        } else {
            let side = usize::from(d[parent as usize].child[RIGHT] == old);
            d[parent as usize].child[side] = new;
        }
        if new != NIL {
            d[new as usize].parent = parent;
        }
    }

    /// Moves `at`'s child on `side` up into its place; returns that child.
    fn rotate(&mut self, d: &mut [Descriptor], at: u32, side: usize) -> u32 {
        let up = d[at as usize].child[side];
        let across = d[up as usize].child[1 - side];
        let parent = d[at as usize].parent;
        self.replace(d, parent, at, up);
        d[up as usize].child[1 - side] = at;
        d[at as usize].parent = up;
        d[at as usize].child[side] = across;
        if across != NIL {
            d[across as usize].parent = at;
        }
        Self::measure(d, at);
        Self::measure(d, up);
        up
    }

    fn height(d: &[Descriptor], at: u32) -> u8 {
        if at == NIL { 0 } else { d[at as usize].height }
    }

    fn measure(d: &mut [Descriptor], at: u32) {
        let [left, right] = d[at as usize].child;
        d[at as usize].height = 1 + Self::height(d, left).max(Self::height(d, right));
    }

    /// Restores the balance from `at` up to where the height no longer changes.
    fn rebalance(&mut self, d: &mut [Descriptor], mut at: u32) {
        while at != NIL {
            let before = d[at as usize].height;
            let [left, right] = d[at as usize].child;
            let (l, r) = (Self::height(d, left), Self::height(d, right));
            let top = if l.abs_diff(r) > 1 {
                let side = if l > r { LEFT } else { RIGHT };
                let tall = d[at as usize].child[side];
                let [inner, outer] = [d[tall as usize].child[1 - side], d[tall as usize].child[side]];
                if Self::height(d, inner) > Self::height(d, outer) {
                    self.rotate(d, tall, 1 - side);
                }
                self.rotate(d, at, side)
            } else {
                d[at as usize].height = 1 + l.max(r);
                at
            };
            if d[top as usize].height == before {
                break;
            }
            at = d[top as usize].parent;
        }
    }
}
