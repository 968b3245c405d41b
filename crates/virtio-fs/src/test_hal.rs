//! A `Hal` for unit tests: DMA memory from the allocator, physical addresses equal to virtual ones.
#![expect(unsafe_code, reason = "implements the unsafe trait Hal")]

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// See the module.
pub(crate) struct TestHal;

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a few pages")
}

// SAFETY: memory comes zeroed and page-aligned from the global allocator and is freed with the layout it was given.
unsafe impl Hal for TestHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout's size is not 0.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout(pages)) }).expect("memory for a test");
        (pointer.as_ptr().expose_provenance() as PhysAddr, pointer)
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller gives back what `dma_alloc` returned.
        unsafe { dealloc(vaddr.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("unit tests have no MMIO")
    }

    unsafe fn share(_buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        unreachable!("the driver shares no memory but DMA memory")
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        unreachable!("the driver shares no memory but DMA memory")
    }
}

/// What a device sees of a ring: raw access by physical address.
pub(crate) mod device {
    use virtio_drivers::PhysAddr;

    fn at<T>(paddr: PhysAddr) -> *mut T {
        core::ptr::with_exposed_provenance_mut(paddr as usize)
    }

    pub(crate) fn read<T: Copy>(paddr: PhysAddr) -> T {
        // SAFETY: tests read inside the ring whose addresses the driver gave.
        unsafe { at::<T>(paddr).read_volatile() }
    }

    pub(crate) fn write<T: Copy>(paddr: PhysAddr, value: T) {
        // SAFETY: tests write inside the ring whose addresses the driver gave.
        unsafe { at::<T>(paddr).write_volatile(value) }
    }
}
