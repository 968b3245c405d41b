//! Ranges that are set aside: mapped for whoever holds them, and for nobody else.
//!
//! A reference keeps a range as it is, for as long as it likes, but it is for some of the chunk's bytes only. Where the chunk
//! has to be mapped otherwise (for stores, longer, after a cut) and the host cannot do that in place, the range steps
//! aside and the chunk gets another one. All mappings show the host's one copy of the bytes. What a range holds of stores
//! is its own affair until it is written back or removed, as ever: a write-back of the chunk takes every range of it.

use super::Window;
use crate::descriptor::{State, flag};
use crate::entry::Uses;
use crate::tree::Beside;
use crate::units::RangeIndex;

impl Window {
    /// The ranges that were set aside. It looks at all of them.
    pub fn set_aside_ranges(&self) -> impl Iterator<Item = RangeIndex> + '_ {
        (0..self.len).filter(|i| self.descriptors[*i as usize].has(flag::ASIDE)).map(RangeIndex)
    }

    /// Has a mapped range step aside; it is evicted next once nobody has references to it.
    pub(super) fn set_aside(&mut self, i: u32) {
        if !self.descriptors[i as usize].has(flag::KEYED) {
            return;
        }
        debug_assert_eq!(self.descriptors[i as usize].state, State::Mapped);
        self.park(i);
        self.count_wasted(i);
        self.leave(i);
        let node = &mut self.descriptors[i as usize];
        node.clear(flag::NEWCOMER);
        node.set(flag::ASIDE);
        self.stats.aside += 1;
        let uses = self.uses(i);
        self.entries[i as usize].set_uses(Uses { visits: 0, ..uses });
        self.tree.insert(&mut self.descriptors, &self.entries, i, Beside::Unknown);
        self.settle(i);
    }
}
