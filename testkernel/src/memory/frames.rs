//! The allocator of physical frames.

use super::{PAGE, PhysRange, bits::FrameBits, layout};
use crate::boot::start_info::StartInfo;
use core::slice;
use spin::{Mutex, Once};

/// Nothing below this address is given away: interrupt tables, firmware data and a trampoline for other processors.
const LOW_MEMORY: u64 = 1 << 20;

static FRAMES: Once<Mutex<FrameBits>> = Once::new();

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
    let mut frames = FrameBits::new(storage);
    for &range in info.memory() {
        frames.add(range);
    }
    frames.reserve(PhysRange { start: 0, end: LOW_MEMORY });
    frames.reserve(image);
    frames.reserve(bits);
    FRAMES.call_once(|| Mutex::new(frames));
}

/// Allocates contiguous frames, see [`FrameBits::allocate`].
pub(crate) fn allocate(count: usize, align: usize) -> Option<u64> {
    FRAMES.get()?.lock().allocate(count, align)
}

/// Gives back frames, see [`FrameBits::free`].
pub(crate) fn free(address: u64, count: usize) -> bool {
    FRAMES.get().is_some_and(|frames| frames.lock().free(address, count))
}

/// Free frames and all frames.
pub(crate) fn counts() -> (usize, usize) {
    FRAMES.get().map_or((0, 0), |frames| frames.lock().counts())
}
