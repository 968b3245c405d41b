//! The ordered tree of mapped intervals: a height-balanced (AVL) tree threaded through the descriptors by number.
//!
//! The key is (file, chunk). All chunks of one file are neighbours in that order, so one tree holds every file's
//! ordered set of intervals at once and there is no root to find, store or allocate for each file. They are disjoint but
//! for ranges that were set aside, which stand before the one that took their place.

use crate::descriptor::{Descriptor, NIL};
use crate::entry::RangeEntry;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// [`Descriptor::tilt`] of a range both of whose subtrees are equally high,
const EVEN: u8 = 0;
/// and of one whose subtree on this side is one level higher than the other.
const TALLER: [u8; 2] = [1, 2];

/// What is known of a range's place in the tree before it is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// It directly follows this one.
    After(u32),
    /// It directly precedes this one.
    Before(u32),
    /// Nothing.
    Unknown,
}

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Tree {
    pub(crate) root: u32,
}

impl Tree {
    pub(crate) const EMPTY: Self = Self { root: NIL };

    /// The first range whose key is at least `key`, or `NIL`.
    pub(crate) fn lower_bound(&self, descriptors: &[Descriptor], entries: &[RangeEntry], key: (u64, u64)) -> u32 {
        let (mut at, mut best) = (self.root, NIL);
        while at != NIL {
            let node = &descriptors[at as usize];
            if entries[at as usize].key() >= key {
                best = at;
                at = node.child[LEFT];
            } else {
                at = node.child[RIGHT];
            }
        }
        best
    }

    /// The range after `at` in key order, or `NIL`.
    pub(crate) fn next(descriptors: &[Descriptor], mut at: u32) -> u32 {
        let right = descriptors[at as usize].child[RIGHT];
        if right != NIL {
            return Self::first(descriptors, right);
        }
        loop {
            let parent = descriptors[at as usize].parent;
            if parent == NIL || descriptors[parent as usize].child[LEFT] == at {
                return parent;
            }
            at = parent;
        }
    }

    fn first(descriptors: &[Descriptor], mut at: u32) -> u32 {
        while descriptors[at as usize].child[LEFT] != NIL {
            at = descriptors[at as usize].child[LEFT];
        }
        at
    }

    /// Inserts range `i`, whose key is set and not yet in the tree. A neighbour (a sequential reader's last chunk) spares
    /// the search.
    pub(crate) fn insert(&mut self, descriptors: &mut [Descriptor], entries: &[RangeEntry], i: u32, beside: Beside) {
        let (parent, side) = match beside {
            Beside::After(before) => Self::place_after(descriptors, before),
            Beside::Before(after) => Self::place_before(descriptors, after),
            Beside::Unknown => self.place(descriptors, entries, i),
        };
        let node = &mut descriptors[i as usize];
        node.child = [NIL; 2];
        node.tilt = EVEN;
        node.parent = parent;
        if parent == NIL {
            self.root = i;
        } else {
            descriptors[parent as usize].child[side] = i;
            self.grown(descriptors, parent, side);
        }
    }

    fn place(&self, descriptors: &[Descriptor], entries: &[RangeEntry], i: u32) -> (u32, usize) {
        let new = &descriptors[i as usize];
        let key = entries[i as usize].key();
        let (mut at, mut parent, mut side) = (self.root, NIL, LEFT);
        while let Some(node) = descriptors.get(at as usize) {
            parent = at;
            let there = entries[at as usize].key();
            let after = if key == there { new.rank(i) > node.rank(at) } else { key > there };
            side = usize::from(after);
            at = node.child[side];
        }
        (parent, side)
    }

    fn place_after(descriptors: &[Descriptor], before: u32) -> (u32, usize) {
        match descriptors[before as usize].child[RIGHT] {
            NIL => (before, RIGHT),
            right => (Self::first(descriptors, right), LEFT),
        }
    }

    fn place_before(descriptors: &[Descriptor], after: u32) -> (u32, usize) {
        let mut at = descriptors[after as usize].child[LEFT];
        if at == NIL {
            return (after, LEFT);
        }
        while descriptors[at as usize].child[RIGHT] != NIL {
            at = descriptors[at as usize].child[RIGHT];
        }
        (at, RIGHT)
    }

    /// Takes range `i` out.
    pub(crate) fn remove(&mut self, descriptors: &mut [Descriptor], i: u32) {
        let Descriptor { child: [left, right], parent, tilt, .. } = descriptors[i as usize];
        let (shrunk, side) = if left == NIL || right == NIL {
            let only = if left == NIL { right } else { left };
            (parent, self.replace(descriptors, parent, i, only))
        } else {
            // The next range in order has no left child, so it can leave its place and take this one.
            let heir = Self::first(descriptors, right);
            let mut shrunk = (heir, RIGHT);
            if heir != right {
                let Descriptor { child: [_, heirs_right], parent: heirs_parent, .. } = descriptors[heir as usize];
                shrunk = (heirs_parent, self.replace(descriptors, heirs_parent, heir, heirs_right));
                descriptors[heir as usize].child[RIGHT] = right;
                descriptors[right as usize].parent = heir;
            }
            descriptors[heir as usize].child[LEFT] = left;
            descriptors[left as usize].parent = heir;
            descriptors[heir as usize].tilt = tilt;
            self.replace(descriptors, parent, i, heir);
            shrunk
        };
        self.shrunk(descriptors, shrunk, side);
    }

    /// Hangs `new` where `old` hung under `parent`; returns on which side that is.
    fn replace(&mut self, descriptors: &mut [Descriptor], parent: u32, old: u32, new: u32) -> usize {
        let mut side = LEFT;
        if let Some(node) = descriptors.get_mut(parent as usize) {
            side = usize::from(node.child[RIGHT] == old);
            node.child[side] = new;
        } else {
            self.root = new;
        }
        if let Some(node) = descriptors.get_mut(new as usize) {
            node.parent = parent;
        }
        side
    }

    /// Moves `at`'s child on `side` up into its place; returns that child.
    fn rotate(&mut self, descriptors: &mut [Descriptor], at: u32, side: usize) -> u32 {
        let Descriptor { child, parent, .. } = descriptors[at as usize];
        let up = child[side];
        let across = descriptors[up as usize].child[1 - side];
        self.replace(descriptors, parent, at, up);
        descriptors[up as usize].child[1 - side] = at;
        descriptors[at as usize].parent = up;
        descriptors[at as usize].child[side] = across;
        if let Some(node) = descriptors.get_mut(across as usize) {
            node.parent = at;
        }
        up
    }

    /// The subtree on `side` of `at` grew by one level: restores the balance up to where the height no longer changes.
    fn grown(&mut self, descriptors: &mut [Descriptor], mut at: u32, mut side: usize) {
        loop {
            let node = &mut descriptors[at as usize];
            if node.tilt == EVEN {
                node.tilt = TALLER[side];
                let (below, parent) = (at, node.parent);
                let Some(node) = descriptors.get(parent as usize) else { return };
                side = usize::from(node.child[RIGHT] == below);
                at = parent;
            } else if node.tilt == TALLER[1 - side] {
                node.tilt = EVEN;
                return;
            } else {
                self.even_out(descriptors, at, side);
                return;
            }
        }
    }

    /// The subtree on `side` of `at` lost one level: the same.
    fn shrunk(&mut self, descriptors: &mut [Descriptor], mut at: u32, mut side: usize) {
        while let Some(node) = descriptors.get_mut(at as usize) {
            let mut top = at;
            if node.tilt == EVEN {
                node.tilt = TALLER[1 - side];
                return;
            } else if node.tilt == TALLER[side] {
                node.tilt = EVEN;
            } else {
                top = self.even_out(descriptors, at, 1 - side);
                if descriptors[top as usize].tilt != EVEN {
                    return;
                }
            }
            at = descriptors[top as usize].parent;
            side = descriptors.get(at as usize).map_or(LEFT, |node| usize::from(node.child[RIGHT] == top));
        }
    }

    /// The subtree on `side` of `at` is two levels taller than the other: rotates. Returns the new top, which is even
    /// unless the height is what it was.
    fn even_out(&mut self, descriptors: &mut [Descriptor], at: u32, side: usize) -> u32 {
        let tall = descriptors[at as usize].child[side];
        let tilt = descriptors[tall as usize].tilt;
        if tilt == TALLER[1 - side] {
            let middle = self.rotate(descriptors, tall, 1 - side);
            self.rotate(descriptors, at, side);
            let tilt = descriptors[middle as usize].tilt;
            descriptors[at as usize].tilt = if tilt == TALLER[side] { TALLER[1 - side] } else { EVEN };
            descriptors[tall as usize].tilt = if tilt == TALLER[1 - side] { TALLER[side] } else { EVEN };
            descriptors[middle as usize].tilt = EVEN;
            return middle;
        }
        self.rotate(descriptors, at, side);
        let was_even = tilt == EVEN;
        descriptors[at as usize].tilt = if was_even { TALLER[side] } else { EVEN };
        descriptors[tall as usize].tilt = if was_even { TALLER[1 - side] } else { EVEN };
        tall
    }

    /// The height of the subtree at `at` if it is balanced everywhere and says so, for the check of the invariants.
    pub(crate) fn balanced_height(descriptors: &[Descriptor], at: u32) -> Option<u32> {
        let Some(node) = descriptors.get(at as usize) else { return Some(0) };
        let [left, right] = [
            Self::balanced_height(descriptors, node.child[LEFT])?,
            Self::balanced_height(descriptors, node.child[RIGHT])?,
        ];
        let said = match node.tilt {
            EVEN => left == right,
            tilt if tilt == TALLER[LEFT] => left == right + 1,
            _ => right == left + 1,
        };
        said.then_some(1 + left.max(right))
    }
}
