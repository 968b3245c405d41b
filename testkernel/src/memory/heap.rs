//! The heap: `talc`, which takes more frames when it runs out.

use super::{LARGE_PAGE, PAGE, frames};
use core::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicU64, Ordering},
};
use talc::{
    TalcLock,
    base::{Talc, binning::Binning},
    source::Source,
};

/// Frames taken at a time, at least.
const GROWTH: u64 = 4 * LARGE_PAGE;

#[global_allocator]
static HEAP: Heap = Heap { talc: TalcLock::new(FromFrames), allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) };

/// How often memory was asked for.
pub(crate) fn allocations() -> u64 {
    HEAP.allocations.load(Ordering::Relaxed)
}

/// Bytes that are in use, as they were asked for.
pub(crate) fn bytes() -> u64 {
    HEAP.bytes.load(Ordering::Relaxed)
}

/// The allocator, which counts.
struct Heap {
    talc: TalcLock<spin::Mutex<()>, FromFrames>,
    allocations: AtomicU64,
    bytes: AtomicU64,
}

// SAFETY: `talc` does everything, with the arguments of these functions.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        let address = unsafe { self.talc.alloc(layout) };
        if !address.is_null() {
            self.bytes.fetch_add(layout.size() as u64, Ordering::Relaxed);
        }
        address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        self.bytes.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.talc.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        let moved = unsafe { self.talc.realloc(address, layout, size) };
        if !moved.is_null() {
            // Wraps round when it shrinks, as it should.
            self.bytes.fetch_add((size as u64).wrapping_sub(layout.size() as u64), Ordering::Relaxed);
        }
        moved
    }
}

/// Memory for the heap from the frame allocator; it is never given back.
#[derive(Debug)]
struct FromFrames;

// SAFETY: the frame allocator uses no heap, so the heap's lock is not taken again.
unsafe impl Source for FromFrames {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let slack = (layout.align() as u64).saturating_add(PAGE);
        let bytes = (layout.size() as u64).saturating_add(slack).max(GROWTH).next_multiple_of(PAGE);
        let count = usize::try_from(bytes / PAGE).map_err(|_| ())?;
        let address = frames::allocate(count, 1).ok_or(())?;
        // SAFETY: the frames are mapped one to one and were just taken for this, so nobody else uses them.
        unsafe { talc.claim(address as *mut u8, bytes as usize) }.map(|_| ()).ok_or(())
    }
}
