//! The ordered tree of mapped intervals: a height-balanced (AVL) tree threaded through the descriptors by number.
//!
//! The key is (inode, chunk). All chunks of one inode are neighbours in that order, so one tree holds every inode's
//! ordered set of disjoint intervals at once and there is no root to find, store or allocate for each inode.

use crate::descriptor::{Descriptor, NIL};

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

    /// Inserts range `i`, whose key is set and not yet in the tree. A neighbour (a sequential reader's last chunk) spares
    /// the search.
    pub(crate) fn insert(&mut self, d: &mut [Descriptor], i: u32, beside: Beside) {
        let (parent, side) = match beside {
            Beside::After(before) => Self::place_after(d, before),
            Beside::Before(after) => Self::place_before(d, after),
            Beside::Unknown => {
                let Descriptor { inode, chunk, .. } = d[i as usize];
                self.place(d, inode, chunk)
            }
        };
        let node = &mut d[i as usize];
        node.child = [NIL; 2];
        node.tilt = EVEN;
        node.parent = parent;
        if parent == NIL {
            self.root = i;
        } else {
            d[parent as usize].child[side] = i;
            self.grown(d, parent, side);
        }
    }

    fn place(&self, d: &[Descriptor], inode: u64, chunk: u64) -> (u32, usize) {
        let (mut at, mut parent, mut side) = (self.root, NIL, LEFT);
        while let Some(node) = d.get(at as usize) {
            parent = at;
            side = if node.inode == inode { usize::from(chunk > node.chunk) } else { usize::from(inode > node.inode) };
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

    fn place_before(d: &[Descriptor], after: u32) -> (u32, usize) {
        let mut at = d[after as usize].child[LEFT];
        if at == NIL {
            return (after, LEFT);
        }
        while d[at as usize].child[RIGHT] != NIL {
            at = d[at as usize].child[RIGHT];
        }
        (at, RIGHT)
    }

    /// Takes range `i` out.
    pub(crate) fn remove(&mut self, d: &mut [Descriptor], i: u32) {
        let Descriptor { child: [left, right], parent, tilt, .. } = d[i as usize];
        let (shrunk, side) = if left == NIL || right == NIL {
            let only = if left == NIL { right } else { left };
            (parent, self.replace(d, parent, i, only))
        } else {
            // The next range in order has no left child, so it can leave its place and take this one.
            let heir = Self::first(d, right);
            let mut shrunk = (heir, RIGHT);
            if heir != right {
                let Descriptor { child: [_, heirs_right], parent: heirs_parent, .. } = d[heir as usize];
                shrunk = (heirs_parent, self.replace(d, heirs_parent, heir, heirs_right));
                d[heir as usize].child[RIGHT] = right;
                d[right as usize].parent = heir;
            }
            d[heir as usize].child[LEFT] = left;
            d[left as usize].parent = heir;
            d[heir as usize].tilt = tilt;
            self.replace(d, parent, i, heir);
            shrunk
        };
        self.shrunk(d, shrunk, side);
    }

    /// Hangs `new` where `old` hung under `parent`; returns on which side that is.
    fn replace(&mut self, d: &mut [Descriptor], parent: u32, old: u32, new: u32) -> usize {
        let mut side = LEFT;
        if let Some(node) = d.get_mut(parent as usize) {
            side = usize::from(node.child[RIGHT] == old);
            node.child[side] = new;
        } else {
            self.root = new;
        }
        if let Some(node) = d.get_mut(new as usize) {
            node.parent = parent;
        }
        side
    }

    /// Moves `at`'s child on `side` up into its place; returns that child.
    fn rotate(&mut self, d: &mut [Descriptor], at: u32, side: usize) -> u32 {
        let Descriptor { child, parent, .. } = d[at as usize];
        let up = child[side];
        let across = d[up as usize].child[1 - side];
        self.replace(d, parent, at, up);
        d[up as usize].child[1 - side] = at;
        d[at as usize].parent = up;
        d[at as usize].child[side] = across;
        if let Some(node) = d.get_mut(across as usize) {
            node.parent = at;
        }
        up
    }

    /// The subtree on `side` of `at` grew by one level: restores the balance up to where the height no longer changes.
    fn grown(&mut self, d: &mut [Descriptor], mut at: u32, mut side: usize) {
        loop {
            let node = &mut d[at as usize];
            if node.tilt == EVEN {
                node.tilt = TALLER[side];
                let (below, parent) = (at, node.parent);
                let Some(node) = d.get(parent as usize) else { return };
                side = usize::from(node.child[RIGHT] == below);
                at = parent;
            } else if node.tilt == TALLER[1 - side] {
                node.tilt = EVEN;
                return;
            } else {
                self.even_out(d, at, side);
                return;
            }
        }
    }

    /// The subtree on `side` of `at` lost one level: the same.
    fn shrunk(&mut self, d: &mut [Descriptor], mut at: u32, mut side: usize) {
        while let Some(node) = d.get_mut(at as usize) {
            let mut top = at;
            if node.tilt == EVEN {
                node.tilt = TALLER[1 - side];
                return;
            } else if node.tilt == TALLER[side] {
                node.tilt = EVEN;
            } else {
                top = self.even_out(d, at, 1 - side);
                if d[top as usize].tilt != EVEN {
                    return;
                }
            }
            at = d[top as usize].parent;
            side = d.get(at as usize).map_or(LEFT, |node| usize::from(node.child[RIGHT] == top));
        }
    }

    /// The subtree on `side` of `at` is two levels taller than the other: rotates. Returns the new top, which is even
    /// unless the height is what it was.
    fn even_out(&mut self, d: &mut [Descriptor], at: u32, side: usize) -> u32 {
        let tall = d[at as usize].child[side];
        let tilt = d[tall as usize].tilt;
        if tilt == TALLER[1 - side] {
            let middle = self.rotate(d, tall, 1 - side);
            self.rotate(d, at, side);
            let tilt = d[middle as usize].tilt;
            d[at as usize].tilt = if tilt == TALLER[side] { TALLER[1 - side] } else { EVEN };
            d[tall as usize].tilt = if tilt == TALLER[1 - side] { TALLER[side] } else { EVEN };
            d[middle as usize].tilt = EVEN;
            return middle;
        }
        self.rotate(d, at, side);
        let was_even = tilt == EVEN;
        d[at as usize].tilt = if was_even { TALLER[side] } else { EVEN };
        d[tall as usize].tilt = if was_even { TALLER[1 - side] } else { EVEN };
        tall
    }

    /// The height of the subtree at `at` if it is balanced everywhere and says so, for the check of the invariants.
    pub(crate) fn balanced_height(d: &[Descriptor], at: u32) -> Option<u32> {
        let Some(node) = d.get(at as usize) else { return Some(0) };
        let [left, right] = [Self::balanced_height(d, node.child[LEFT])?, Self::balanced_height(d, node.child[RIGHT])?];
        let said = match node.tilt {
            EVEN => left == right,
            tilt if tilt == TALLER[LEFT] => left == right + 1,
            _ => right == left + 1,
        };
        said.then_some(1 + left.max(right))
    }
}
