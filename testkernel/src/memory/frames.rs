//! The allocator of physical frames: one bit for each 4 KiB of address space up to the end of RAM.

use super::PAGE;
use crate::boot::start_info::PhysRange;

/// Nothing below this address is given away: interrupt tables, firmware data and a trampoline for other processors.
#[cfg(target_os = "none")]
const LOW_MEMORY: u64 = 1 << 20;

/// Frames, each free or not.
#[derive(Debug)]
pub(crate) struct Frames {
    /// A set bit is a free frame; bit `i % 64` of word `i / 64` is the frame at `i * 4096`.
    free: &'static mut [u64],
    /// No frame below this index is free.
    first_free: usize,
    free_count: usize,
    total: usize,
}

impl Frames {
    /// An allocator with no frames over storage for one bit a frame, which must be zeroed.
    pub(crate) const fn new(storage: &'static mut [u64]) -> Self {
        Self { free: storage, first_free: 0, free_count: 0, total: 0 }
    }

    /// Makes the whole frames inside a range free for use. Frames past the storage's end are left out.
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

    /// Allocates `count` contiguous frames whose first is a multiple of `align` frames (a power of two); gives the
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
        if address % PAGE != 0 || range.end > self.free.len() * 64 || range.clone().any(|index| self.is_free(index)) {
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

    /// Sets a frame's state; tells whether it changed.
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

#[cfg(target_os = "none")]
pub(crate) use global::*;

#[cfg(target_os = "none")]
mod global {
    use super::*;
    use crate::{boot::start_info::StartInfo, memory::layout};
    use core::slice;
    use spin::{Mutex, Once};

    static FRAMES: Once<Mutex<Frames>> = Once::new();

    /// Hands the machine's RAM to the allocator, without the kernel's image, low memory and the allocator's own bits.
    ///
    /// # Panics
    /// When no range of RAM behind the kernel and below 4 GiB can hold the bits.
    ///
    /// # Safety
    /// To be called once, before anything else uses RAM outside the image; the first 4 GiB must be mapped one to one.
    pub(crate) unsafe fn init(info: &StartInfo) {
        let top = info.memory().iter().map(|range| range.end).max().unwrap_or(0);
        let words = (top / PAGE).div_ceil(64) as usize;
        let image = layout::image();
        let start = image.end.next_multiple_of(PAGE);
        let bits = PhysRange { start, end: start + words as u64 * 8 };
        assert!(
            bits.end < 1 << 32 && info.memory().iter().any(|range| range.start <= bits.start && bits.end <= range.end),
            "no room behind the kernel for the frame allocator's bits"
        );
        let pointer = bits.start as *mut u64;
        // SAFETY: the range is RAM by the boot loader's map, mapped, behind the image, and used by nobody else yet.
        unsafe { pointer.write_bytes(0, words) };
        // SAFETY: as above; zeroes are valid for u64, and the reference lives in one place only.
        let storage = unsafe { slice::from_raw_parts_mut(pointer, words) };
        let mut frames = Frames::new(storage);
        for &range in info.memory() {
            frames.add(range);
        }
        frames.reserve(PhysRange { start: 0, end: LOW_MEMORY });
        frames.reserve(image);
        frames.reserve(bits);
        FRAMES.call_once(|| Mutex::new(frames));
    }

    /// Allocates contiguous frames, see [`Frames::allocate`].
    pub(crate) fn allocate(count: usize, align: usize) -> Option<u64> {
        FRAMES.get()?.lock().allocate(count, align)
    }

    /// Gives back frames, see [`Frames::free`].
    pub(crate) fn free(address: u64, count: usize) -> bool {
        FRAMES.get().is_some_and(|frames| frames.lock().free(address, count))
    }

    /// Free frames and all frames.
    pub(crate) fn counts() -> (usize, usize) {
        FRAMES.get().map_or((0, 0), |frames| frames.lock().counts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec};

    fn frames(words: usize) -> Frames {
        Frames::new(Box::leak(vec![0; words].into_boxed_slice()))
    }

    #[test]
    fn only_whole_frames_are_used() {
        let mut frames = frames(2);
        frames.add(PhysRange { start: 100, end: 5 * PAGE - 1 });
        assert_eq!(frames.counts(), (3, 3));
        assert_eq!(frames.allocate(3, 1), Some(PAGE));
        assert_eq!(frames.allocate(1, 1), None);
    }

    #[test]
    fn alignment_and_holes_are_respected() {
        let mut frames = frames(4);
        frames.add(PhysRange { start: PAGE, end: 200 * PAGE });
        frames.reserve(PhysRange { start: 66 * PAGE + 1, end: 66 * PAGE + 2 });
        assert_eq!(frames.allocate(4, 64), Some(128 * PAGE));
        assert_eq!(frames.allocate(2, 64), Some(64 * PAGE));
        assert_eq!(frames.allocate(70, 1), None, "no run is that long");
        assert_eq!(frames.allocate(1, 1), Some(PAGE));
    }

    #[test]
    fn giving_back_twice_is_refused() {
        let mut frames = frames(1);
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
        let mut frames = frames(1);
        frames.add(PhysRange { start: 0, end: u64::MAX });
        assert_eq!(frames.counts(), (64, 64));
        assert_eq!(frames.allocate(64, 1), Some(0));
        assert_eq!(frames.allocate(1, 1), None);
    }
}
