//! DMA memory for unit tests: from the allocator, physical addresses equal to virtual ones.
#![expect(unsafe_code, reason = "implements the unsafe trait DmaMemory")]

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Arc;

use virtio_transport::{DmaDirection, DmaMemory, PAGE_SIZE, PhysAddr};

use crate::dma_memory::Memory;

/// See the module.
pub(crate) struct TestMemory;

impl TestMemory {
    #[expect(clippy::new_ret_no_self, reason = "the driver knows the trait only")]
    pub(crate) fn new() -> Memory {
        Arc::new(Self)
    }
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a few pages")
}

// SAFETY: memory comes zeroed and page-aligned from the global allocator and is freed with the layout it was given.
unsafe impl DmaMemory for TestMemory {
    fn allocate(&self, pages: usize, _direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        // SAFETY: the layout's size is not 0.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout(pages)) })?;
        Some((pointer.as_ptr().expose_provenance() as PhysAddr, pointer))
    }

    unsafe fn free(&self, _paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
        // SAFETY: the caller gives back what `allocate` returned.
        unsafe { dealloc(vaddr.as_ptr(), layout(pages)) };
    }

    unsafe fn map_mmio(&self, _paddr: PhysAddr, _len: usize) -> Option<NonNull<u8>> {
        None
    }
}

/// What a device sees of a ring: raw access by physical address.
pub(crate) mod device {
    use virtio_transport::PhysAddr;

    fn at<T>(paddr: PhysAddr) -> *mut T {
        core::ptr::with_exposed_provenance_mut(paddr as usize)
    }

    pub(crate) fn read<T: Copy>(paddr: PhysAddr) -> T {
        // SAFETY: tests read inside the ring at the addresses that the driver gave.
        unsafe { at::<T>(paddr).read_volatile() }
    }

    pub(crate) fn write<T: Copy>(paddr: PhysAddr, value: T) {
        // SAFETY: tests write inside the ring at the addresses that the driver gave.
        unsafe { at::<T>(paddr).write_volatile(value) }
    }
}
