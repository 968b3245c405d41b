//! What `virtio-drivers` asks of a kernel. Physical and virtual addresses are the same here, and devices see all of RAM.

use crate::memory::{
    PAGE, PhysRange, frames,
    paging::{self, Caching},
};
use core::ptr::{self, NonNull};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// The kernel's implementation of [`Hal`].
#[derive(Debug)]
pub(crate) struct KernelHal;

// SAFETY: see the methods; the frames that are handed out are nobody else's, and memory is mapped one to one.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let address = frames::allocate(pages, 1).unwrap_or(0);
        match NonNull::new(address as *mut u8) {
            Some(pointer) => {
                // SAFETY: the frames were just taken for this call and are mapped and writable.
                unsafe { ptr::write_bytes(pointer.as_ptr(), 0, pages * PAGE as usize) };
                (address, pointer)
            }
            // virtio-drivers reads address 0 as failure.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _vaddr: NonNull<u8>, pages: usize) -> i32 {
        if frames::free(paddr, pages) { 0 } else { -1 }
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        let range = PhysRange { start: paddr, end: paddr.saturating_add(size as u64) };
        if let Err(error) = paging::map_range(range, Caching::Uncached) {
            panic!("cannot map device registers: {error}");
        }
        NonNull::new(paddr as *mut u8).expect("device registers are not at address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().addr().get() as PhysAddr
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
