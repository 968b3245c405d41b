//! Which frames are free: one bit for each 4 KiB of address space up to the end of RAM.

use super::{PAGE, PhysRange};

/// FrameBits, each free or not.
#[derive(Debug)]
pub(crate) struct FrameBits {
    /// A set bit is a free frame; bit `i % 64` of word `i / 64` is the frame at `i * 4096`.
    free: &'static mut [u64],
    /// No frame below this index is free.
    first_free: usize,
    free_count: usize,
    total: usize,
}

impl FrameBits {
    /// An allocator with no frames over storage for one bit a frame, which must be zeroed.
    pub(crate) const fn new(storage: &'static mut [u64]) -> Self {
        Self { free: storage, first_free: 0, free_count: 0, total: 0 }
    }

    /// Makes the whole frames inside a range free for use. FrameBits past the storage's end are left out.
    pub(crate) fn add(&mut self, range: PhysRange) {
        let first = range.start.div_ceil(PAGE) as usize;
        let end = ((range.end / PAGE) as usize).min(self.free.len() * 64);
        for index in first..end {
            if self.set(index, true) {
                self.total += 1;
            }
        }
        self.first_free = self.first_free.min(first);
    }

    /// Takes away every frame that touches a range.
    pub(crate) fn reserve(&mut self, range: PhysRange) {
        let end = (range.end.div_ceil(PAGE) as usize).min(self.free.len() * 64);
        for index in (range.start / PAGE) as usize..end {
            if self.set(index, false) {
                self.total -= 1;
            }
        }
    }

    /// Allocates `count` contiguous frames, the first at a multiple of `align` frames (a power of two); gives the
    /// physical address of the first. The frames hold whatever they held.
    pub(crate) fn allocate(&mut self, count: usize, align: usize) -> Option<u64> {
        debug_assert!(align.is_power_of_two());
        if count == 0 || count > self.free_count {
            return None;
        }
        let mut start = self.next_free(self.first_free)?;
        self.first_free = start;
        loop {
            start = self.next_free(start.next_multiple_of(align))?;
            if start % align != 0 {
                continue;
            }
            match (start..start + count).find(|&index| !self.is_free(index)) {
                None => break,
                Some(taken) => start = taken + 1,
            }
        }
        for index in start..start + count {
            self.set(index, false);
        }
        Some(start as u64 * PAGE)
    }

    /// Gives back frames that [`Self::allocate`] gave; `false`, with nothing changed, if one of them is free already or
    /// lies outside.
    pub(crate) fn free(&mut self, address: u64, count: usize) -> bool {
        let first = (address / PAGE) as usize;
        let range = first..first.saturating_add(count);
        if !address.is_multiple_of(PAGE)
            || range.end > self.free.len() * 64
            || range.clone().any(|index| self.is_free(index))
        {
            return false;
        }
        for index in range {
            self.set(index, true);
        }
        self.first_free = self.first_free.min(first);
        true
    }

    /// How many frames are free, and how many there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.free_count, self.total)
    }

    fn is_free(&self, index: usize) -> bool {
        self.free.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Sets a frame's state; returns whether it changed.
    fn set(&mut self, index: usize, free: bool) -> bool {
        let mask = 1 << (index % 64);
        let word = &mut self.free[index / 64];
        if (*word & mask != 0) == free {
            return false;
        }
        *word ^= mask;
        if free {
            self.free_count += 1;
        } else {
            self.free_count -= 1;
        }
        true
    }

    /// The first free frame at or after an index.
    fn next_free(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.free.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.free.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec};

    fn make(words: usize) -> FrameBits {
        FrameBits::new(Box::leak(vec![0; words].into_boxed_slice()))
    }

    #[test]
    fn only_whole_frames_are_used() {
        let mut frames = make(2);
        frames.add(PhysRange { start: 100, end: 5 * PAGE - 1 });
        assert_eq!(frames.counts(), (3, 3));
        assert_eq!(frames.allocate(3, 1), Some(PAGE));
        assert_eq!(frames.allocate(1, 1), None);
    }

    #[test]
    fn alignment_and_holes_are_respected() {
        let mut frames = make(4);
        frames.add(PhysRange { start: PAGE, end: 200 * PAGE });
        frames.reserve(PhysRange { start: 66 * PAGE + 1, end: 66 * PAGE + 2 });
        assert_eq!(frames.allocate(4, 64), Some(128 * PAGE));
        assert_eq!(frames.allocate(2, 64), Some(64 * PAGE));
        assert_eq!(frames.allocate(70, 1), None, "no run is that long");
        assert_eq!(frames.allocate(1, 1), Some(PAGE));
    }

    #[test]
    fn giving_back_twice_is_refused() {
        let mut frames = make(1);
        frames.add(PhysRange { start: 0, end: 64 * PAGE });
        let address = frames.allocate(64, 1).unwrap();
        assert!(frames.free(address + PAGE, 2));
        assert!(!frames.free(address, 2));
        assert!(!frames.free(address, 65));
        assert!(!frames.free(address + 1, 1));
        assert_eq!(frames.counts(), (2, 64));
        assert_eq!(frames.allocate(2, 1), Some(address + PAGE));
    }

    #[test]
    fn ranges_past_the_storage_are_left_out() {
        let mut frames = make(1);
        frames.add(PhysRange { start: 0, end: u64::MAX });
        assert_eq!(frames.counts(), (64, 64));
        assert_eq!(frames.allocate(64, 1), Some(0));
        assert_eq!(frames.allocate(1, 1), None);
    }
}
