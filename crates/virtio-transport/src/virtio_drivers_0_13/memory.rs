//! A `Hal` as memory.
#![expect(unsafe_code, reason = "implements an unsafe trait by another one")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use log::error;
use virtio_drivers::{BufferDirection, Hal};

use crate::{DmaDirection, DmaMemory, PhysAddr};

/// The DMA and MMIO memory of a `Hal`. `share` and `unshare` are never called.
///
/// `Hal` cannot refuse to map registers other than by a panic, so [`DmaMemory::map_mmio`] never returns `None` here.
pub struct HalMemory<H>(PhantomData<fn() -> H>);

impl<H: Hal> HalMemory<H> {
    /// The memory of `H`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<H: Hal> Default for HalMemory<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Clone for HalMemory<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for HalMemory<H> {}

impl<H> fmt::Debug for HalMemory<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HalMemory")
    }
}

impl From<DmaDirection> for BufferDirection {
    fn from(direction: DmaDirection) -> Self {
        match direction {
            DmaDirection::DriverToDevice => Self::DriverToDevice,
            DmaDirection::DeviceToDriver => Self::DeviceToDriver,
            DmaDirection::Both => Self::Both,
        }
    }
}

// SAFETY: `Hal` demands of its implementations what `DmaMemory` demands. That trait's pages are of the same size.
unsafe impl<H: Hal> DmaMemory for HalMemory<H> {
    fn allocate(&self, pages: usize, direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        let (paddr, vaddr) = H::dma_alloc(pages, direction.into());
        // Their trait has 0 for "no memory".
        (paddr != 0).then_some((paddr, vaddr))
    }

    unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
        // SAFETY: the caller gives back what `allocate` returned, which is what `dma_alloc` did.
        let status = unsafe { H::dma_dealloc(paddr, vaddr, pages) };
        if status != 0 {
            error!("freeing {pages} DMA pages at {paddr:#x} failed with {status}");
        }
    }

    unsafe fn map_mmio(&self, paddr: PhysAddr, len: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller promises a region of registers.
        Some(unsafe { H::mmio_phys_to_virt(paddr, len) })
    }
}

const _: () = assert!(crate::PAGE_SIZE == virtio_drivers::PAGE_SIZE);
