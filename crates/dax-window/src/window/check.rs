//! The invariants, checked by walking everything.

use super::Window;
use crate::descriptor::{NIL, STATES, State, flag};
use crate::entry;
use crate::list::List;
use crate::tree::Tree;
use thiserror::Error;

/// An invariant that does not hold: a bug in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("range {range}: {what}")]
pub struct Violation {
    /// The range where it shows (the number of ranges when none does).
    pub range: u32,
    /// What should be.
    pub what: &'static str,
}

impl Window {
    /// Walks all ranges, lists, the tree and the index, and compares them. For tests: it takes time in proportion to the
    /// window.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    // Long: one invariant after another, a line each.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        let mut counts = [0; STATES];
        let (mut in_tree, mut aside) = (0, 0);
        let mut refs = 0;
        for i in 0..self.len {
            let ensure = |ok: bool, what| if ok { Ok(()) } else { Err(Violation { range: i, what }) };
            let node = &self.descriptors[i as usize];
            counts[node.state as usize] += 1;
            in_tree += u32::from(node.has(flag::IN_TREE));
            aside += u32::from(node.has(flag::ASIDE));
            refs += u64::from(node.refs);
            let usable = matches!(node.state, State::Mapped | State::Upgrading);
            ensure(node.refs == 0 || usable, "only a usable range has references")?;
            ensure(!node.has(flag::WRITEBACK) || node.state == State::Mapped, "only a mapped range is written back")?;
            ensure(!usable || node.has(flag::IN_TREE), "a usable range has a key")?;
            ensure(!(node.has(flag::KEYED) && node.has(flag::ASIDE)), "a range is for newcomers or set aside")?;
            ensure(
                !node.has(flag::ASIDE) || node.state != State::Upgrading,
                "a range that was set aside stays as it is",
            )?;
            ensure(node.state != State::SettingUp || node.has(flag::KEYED), "a range being set up has a key")?;
            let entry = &self.entries[i as usize];
            ensure(!usable || entry.pages() > 0, "a usable range has a length")?;
            ensure(
                node.state != State::Free || node.has(flag::UNCLEAN) == (entry.pages() > 0),
                "of a free range it is known how much the host may have mapped",
            )?;
            ensure(
                !entry.is_open() || node.state == State::Mapped && node.has(flag::KEYED) && !node.has(flag::AHEAD),
                "only a mapped range is entered without the lock",
            )?;
            let writable = node.has(flag::WRITABLE) || entry.rights() & entry::WRITABLE == 0;
            let dirty = node.has(flag::DIRTY) || entry.rights() & entry::DIRTY == 0;
            ensure(!entry.is_open() || writable && dirty, "it is entered with no rights but its own")?;
            ensure(
                !matches!(node.state, State::Free | State::Retired)
                    || !node.has(flag::IN_TREE | flag::INSTALLED | flag::DIRTY),
                "a range out of use owes nothing",
            )?;
            if node.has(flag::KEYED) {
                let (file, chunk) = entry.key();
                ensure(self.index.find(&self.entries, file, chunk) == i, "the index finds a range by its key")?;
            }
            ensure(!node.has(flag::IN_TREE) || self.tree_finds(i), "the tree finds a range by its key")?;
        }
        let ensure = |ok: bool, what| if ok { Ok(()) } else { Err(Violation { range: self.len, what }) };
        ensure(counts == self.counts, "the counts of states are right")?;
        ensure(refs == self.holds, "holds and references agree")?;
        ensure(self.check_tree()? == in_tree, "the tree holds the keyed ranges and no others")?;
        ensure(self.stats.aside == aside, "the ranges that were set aside are counted")?;
        let clean = |state, flags: u16| state == State::Free && flags & flag::UNCLEAN == 0;
        let unclean = |state, flags: u16| state == State::Free && flags & flag::UNCLEAN != 0;
        let mut listed = self.check_list(&self.free, clean)? + self.check_list(&self.unclean, unclean)?;
        ensure(listed == counts[State::Free as usize], "every free range is on the free list")?;
        let idle = |state, flags: u16| state == State::Mapped && flags & (flag::PARKED | flag::WRITEBACK) == 0;
        let queued = self.check_list(&self.queue, |state, flags| idle(state, flags) && flags & flag::NEWCOMER == 0)?
            + self.check_list(&self.newcomers, |state, flags| idle(state, flags) && flags & flag::NEWCOMER != 0)?;
        let unparked = (0..self.len).filter(|i| {
            let node = &self.descriptors[*i as usize];
            node.state == State::Mapped && !node.has(flag::PARKED)
        });
        ensure(unparked.count() as u32 == queued, "a mapped range that is not parked is on the queue")?;
        for i in 0..self.len {
            let node = &self.descriptors[i as usize];
            let idle = node.state == State::Mapped && node.refs == 0 && !node.has(flag::WRITEBACK);
            if idle && node.has(flag::PARKED) {
                return Err(Violation { range: i, what: "a range that nobody uses can be evicted" });
            }
        }
        let suspects = self.check_list(&self.suspects, |state, _| state == State::Suspect)?;
        ensure(suspects == counts[State::Suspect as usize], "every suspect range is on its list")?;
        listed += queued + suspects;
        let mut owned = 0;
        for (number, slot) in self.slots.iter().enumerate() {
            let used = self.slots_used[number / 32] & (1 << (number % 32)) != 0;
            ensure(used == (slot.kind != super::SlotUse::Unused), "a slot is used or not")?;
            ensure(used || slot.list.len == 0, "a ticket that is gone owns nothing")?;
            owned += self.check_list(&slot.list, |state, flags| match slot.kind {
                super::SlotUse::Setup => matches!(state, State::SettingUp | State::Upgrading),
                super::SlotUse::Remove => state == State::Removing,
                super::SlotUse::Writeback => state == State::Mapped && flags & flag::WRITEBACK != 0,
                super::SlotUse::Freeze | super::SlotUse::Unused => false,
            })?;
        }
        let with_ticket = counts[State::SettingUp as usize]
            + counts[State::Upgrading as usize]
            + counts[State::Removing as usize]
            + (0..self.len).filter(|i| self.descriptors[*i as usize].has(flag::WRITEBACK)).count() as u32;
        ensure(owned == with_ticket, "what is being worked on belongs to a ticket")?;
        ensure(listed + owned <= self.len, "no range is in two lists")
    }

    fn check_list(&self, list: &List, fits: impl Fn(State, u16) -> bool) -> Result<u32, Violation> {
        let (mut at, mut prev, mut len) = (list.head, NIL, 0);
        while at != NIL {
            let node = &self.descriptors[at as usize];
            if node.prev != prev || len >= self.len || !fits(node.state, node.flags) {
                return Err(Violation { range: at, what: "a list is linked both ways and holds what belongs there" });
            }
            (prev, at, len) = (at, node.next, len + 1);
        }
        if prev != list.tail || len != list.len {
            return Err(Violation { range: self.len, what: "a list ends where it says" });
        }
        Ok(len)
    }

    fn tree_finds(&self, i: u32) -> bool {
        let key = self.entries[i as usize].key();
        let mut at = self.tree.lower_bound(&self.descriptors, &self.entries, key);
        while at != NIL && at != i && self.entries[at as usize].key() == key {
            at = Tree::next(&self.descriptors, at);
        }
        at == i
    }

    fn check_tree(&self) -> Result<u32, Violation> {
        let mut count = 0;
        let mut at = self.tree.lower_bound(&self.descriptors, &self.entries, (0, 0));
        let mut last = None;
        while at != NIL {
            let node = &self.descriptors[at as usize];
            let [left, right] = node.child;
            let ordered = last.is_none_or(|last| last < (self.entries[at as usize].key(), node.rank(at)));
            let linked = [left, right].iter().all(|i| *i == NIL || self.descriptors[*i as usize].parent == at);
            if !ordered || !linked || !node.has(flag::IN_TREE) || count >= self.len {
                return Err(Violation { range: at, what: "the tree is ordered and linked" });
            }
            last = Some((self.entries[at as usize].key(), node.rank(at)));
            count += 1;
            at = Tree::next(&self.descriptors, at);
        }
        if Tree::balanced_height(&self.descriptors, self.tree.root).is_none() {
            return Err(Violation { range: self.tree.root, what: "the tree is balanced" });
        }
        Ok(count)
    }
}
