//! The heap: `talc`, which takes more frames when it runs out.

use super::{LARGE_PAGE, PAGE, frames};
use core::alloc::Layout;
use talc::{
    TalcLock,
    base::{Talc, binning::Binning},
    source::Source,
};

/// Frames taken at a time, at least.
const GROWTH: u64 = 4 * LARGE_PAGE;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, FromFrames> = TalcLock::new(FromFrames);

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
