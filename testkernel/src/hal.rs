//! Memory for devices. Physical and virtual addresses are the same here, and devices see all of RAM.

use crate::memory::{
    PAGE, PhysRange, frames,
    paging::{self, Caching},
};
use core::ptr::{self, NonNull};
use virtio_fs::{DmaDirection, DmaMemory, PhysAddr};

/// The kernel's implementation of [`DmaMemory`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelMemory;

// SAFETY: see the methods; the frames that are handed out are nobody else's, and memory is mapped one to one.
unsafe impl DmaMemory for KernelMemory {
    fn allocate(&self, pages: usize, _direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        let address = frames::allocate(pages, 1)?;
        let pointer = NonNull::new(address as *mut u8)?;
        // SAFETY: the frames were just taken for this call and are mapped and writable.
        unsafe { ptr::write_bytes(pointer.as_ptr(), 0, pages * PAGE as usize) };
        Some((address, pointer))
    }

    unsafe fn free(&self, paddr: PhysAddr, _vaddr: NonNull<u8>, pages: usize) {
        if !frames::free(paddr, pages) {
            log::error!("{pages} frames at {paddr:#x} were freed that nobody had");
        }
    }

    unsafe fn map_mmio(&self, paddr: PhysAddr, len: usize) -> Option<NonNull<u8>> {
        let range = PhysRange { start: paddr, end: paddr.saturating_add(len as u64) };
        if let Err(error) = paging::map_range(range, Caching::Uncached) {
            log::error!("cannot map device registers: {error}");
            return None;
        }
        NonNull::new(paddr as *mut u8)
    }
}
