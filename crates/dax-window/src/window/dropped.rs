//! Tickets that were dropped: what they owed.

use super::{SlotUse, Window};
use crate::config::Upgrade;
use crate::descriptor::{State, flag};
use fs_dax::PAGE_SIZE;

impl Window {
    #[inline]
    pub(super) fn absorb_dropped(&mut self) {
        self.used_since = None;
        if self.shared.any_dropped() {
            self.absorb_dropped_now();
        }
    }

    #[cold]
    fn absorb_dropped_now(&mut self) {
        let dropped = self.shared.take_dropped();
        for (word, mut bits) in dropped.into_iter().enumerate() {
            while bits != 0 {
                let slot = (word as u32 * 32 + bits.trailing_zeros()) as u8;
                bits &= bits - 1;
                self.stats.dropped_tickets += 1;
                match self.slots[usize::from(slot)].kind {
                    SlotUse::Setup => self.setup_dropped(slot),
                    SlotUse::Remove => self.remove_dropped(slot),
                    SlotUse::Writeback => self.writeback_dropped(slot),
                    SlotUse::Freeze => self.freezes.thaw(slot),
                    SlotUse::Unused => {}
                }
                self.free_slot(slot);
            }
        }
    }

    /// A ticket was dropped: what it had not reported is unknown.
    fn setup_dropped(&mut self, slot: u8) {
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.descriptors) {
            self.stats.setups_unknown += 1;
            let upgrading = self.descriptors[i as usize].state == State::Upgrading;
            if upgrading {
                // How far it was to be widened went with the ticket.
                self.may_be_longer(i, (self.range_size() / PAGE_SIZE) as u32);
            }
            if upgrading && self.config.host.upgrade == Upgrade::Atomic {
                self.set_state(i, State::Mapped);
                self.settle(i);
            } else {
                self.doubt(i);
            }
        }
    }

    /// A ticket was dropped: it is not known whether page tables were cleared or stores written back.
    fn remove_dropped(&mut self, slot: u8) {
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.descriptors) {
            self.stats.removals_failed += 1;
            self.doubt(i);
        }
    }

    fn writeback_dropped(&mut self, slot: u8) {
        self.finish_writeback(slot, false);
    }

    /// Ends a write-back; if it was not done the ranges are dirty again.
    pub(super) fn finish_writeback(&mut self, slot: u8, done: bool) {
        while let Some(i) = self.slots[usize::from(slot)].list.pop_front(&mut self.descriptors) {
            self.descriptors[i as usize].clear(flag::WRITEBACK);
            if !done {
                self.descriptors[i as usize].set(flag::DIRTY);
            }
            self.settle(i);
        }
    }
}
