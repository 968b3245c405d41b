//! Where a new range enters the eviction queue: learned from two miniature windows that are simulated alongside.
//!
//! The clock keeps what is visited again, which is right until more is used in turn than fits: then each range is
//! evicted just before it is needed. Evicting the *newest* instead keeps most of such a loop, but never lets a new
//! working set in. Which is right now is measured: a few chunks, picked by their hash in proportion to the size of the
//! miniature, pass through two simulated windows, one of each kind, and the one with more hits decides.

use crate::descriptor::MAX_VISITS;

/// Ranges of a miniature window.
const SIZE: usize = 32;

/// How far ahead one has to be; also bounds how long a change of mind takes.
const LIMIT: i32 = 2 * SIZE as i32;

/// In the window that evicts the newest, one in so many enters at the old end all the same, so that it can learn.
const SELDOM: u32 = 32;

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
struct Miniature {
    tags: [u16; SIZE],
    visits: [u8; SIZE],
    /// The queue is a full ring: the head is evicted next, the entry before it is the newest.
    head: usize,
}

impl Miniature {
    const EMPTY: Self = Self { tags: [0; SIZE], visits: [0; SIZE], head: 0 };

    /// Whether the chunk was there; if not, it is now.
    fn visit(&mut self, tag: u16, newest_first: bool) -> bool {
        // Looked through to the end, which takes a few wide comparisons.
        let place = self.tags.iter().enumerate().fold(SIZE, |place, (i, other)| if *other == tag { i } else { place });
        if place < SIZE {
            self.visits[place] = (self.visits[place] + 1).min(MAX_VISITS);
            return true;
        }
        while self.visits[self.head] > 0 {
            self.visits[self.head] -= 1;
            self.head = (self.head + 1) % SIZE;
        }
        self.tags[self.head] = tag;
        if !newest_first {
            self.head = (self.head + 1) % SIZE;
        }
        false
    }
}

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Placement {
    oldest: Miniature,
    newest: Miniature,
    /// Hits of the second less hits of the first, within [`LIMIT`].
    lead: i32,
    /// Chunks with a hash below this are followed.
    followed: u32,
    seldom: u32,
    placed: u32,
}

impl Placement {
    pub(crate) fn new(ranges: u32) -> Self {
        let share = (SIZE as u64) << 32;
        let followed = (share / u64::from(ranges.max(1))).min(u64::from(u32::MAX)) as u32;
        Self { oldest: Miniature::EMPTY, newest: Miniature::EMPTY, lead: 0, followed, seldom: 0, placed: 0 }
    }

    /// Learns from a visit to a chunk with this hash.
    pub(crate) fn visit(&mut self, hash: u64) {
        if (hash as u32) < self.followed {
            self.follow((hash >> 48) as u16 | 1);
        }
    }

    #[cold]
    fn follow(&mut self, tag: u16) {
        self.seldom = (self.seldom + 1) % SELDOM;
        let by_age = self.oldest.visit(tag, false);
        let by_youth = self.newest.visit(tag, self.seldom != 0);
        self.lead = (self.lead + i32::from(by_youth) - i32::from(by_age)).clamp(-LIMIT, LIMIT);
    }

    /// Chunks with a hash below this are followed.
    pub(crate) fn followed(&self) -> u32 {
        self.followed
    }

    /// Whether new ranges are to be evicted first now.
    pub(crate) fn newest_first(&self) -> bool {
        self.lead > LIMIT / 4
    }

    /// Whether the next new range is to be evicted first.
    pub(crate) fn place_newest_first(&mut self) -> bool {
        if !self.newest_first() {
            return false;
        }
        self.placed = (self.placed + 1) % SELDOM;
        self.placed != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(placement: &mut Placement, chunk: u64) {
        let hash = (chunk + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        placement.visit(hash ^ (hash >> 32));
    }

    #[test]
    fn a_loop_is_noticed_and_forgotten() {
        let mut placement = Placement::new(SIZE as u32);
        for i in 0..2000 {
            visit(&mut placement, i % (SIZE as u64 * 2));
        }
        assert!(placement.newest_first());
        // A working set that moves on: what is new is what is needed.
        for i in 0..20_000 {
            visit(&mut placement, 1000 + i / 20 + (i * 7) % 16);
        }
        assert!(!placement.newest_first());
    }

    #[test]
    fn what_fits_changes_nothing() {
        let mut placement = Placement::new(SIZE as u32);
        for i in 0..2000 {
            visit(&mut placement, i % (SIZE as u64 - 1));
        }
        assert!(!placement.newest_first());
    }
}
