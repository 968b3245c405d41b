//! Memory for devices, and devices' memory.
#![expect(unsafe_code, reason = "the trait is unsafe to implement and two of its functions to call")]

use core::ptr::NonNull;

/// A guest-physical address, as devices use it.
pub type PhysAddr = u64;

/// The size of the pages of [`DmaMemory`] in bytes, whatever the size of the machine's pages.
pub const PAGE_SIZE: usize = 4096;

/// In which direction data goes through DMA memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmaDirection {
    /// The driver writes, the device reads.
    DriverToDevice,
    /// The device writes, the driver reads.
    DeviceToDriver,
    /// Both read and write.
    Both,
}

/// What a kernel gives to drivers: memory that a device can reach, and access to memory of devices.
///
/// A kernel that has virtio-drivers' `Hal` uses it through the adaptor of the feature `virtio-drivers-0_13`.
///
/// # Safety
///
/// [`DmaMemory::allocate`] must return memory that is zeroed, starts on a page, is contiguous for the device, can be read
/// and written by the driver from any thread, and is nobody else's until it is given to [`DmaMemory::free`].
/// [`DmaMemory::map_mmio`] must return a pointer to all of the region, mapped as device memory for good, that aliases
/// nothing else.
pub unsafe trait DmaMemory {
    /// Allocates `pages` pages of [`PAGE_SIZE`] bytes. Returns where the device sees them and where the driver does;
    /// `None` when there is no such memory.
    fn allocate(&self, pages: usize, direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)>;

    /// Frees memory.
    ///
    /// # Safety
    ///
    /// The addresses are those that [`DmaMemory::allocate`] of the same value returned for `pages`, are freed once, and
    /// neither driver nor device uses them any more.
    unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize);

    /// Maps `len` bytes of a device's registers. `None` when that is impossible or not wanted: the addresses come from the
    /// device, so an implementation that knows where RAM is refuses it.
    ///
    /// # Safety
    ///
    /// The region lies in a memory BAR that the device decodes, and the caller uses no part of it twice.
    unsafe fn map_mmio(&self, paddr: PhysAddr, len: usize) -> Option<NonNull<u8>>;
}

// SAFETY: passes on what another value guarantees.
unsafe impl<M: DmaMemory + ?Sized> DmaMemory for &M {
    fn allocate(&self, pages: usize, direction: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        (**self).allocate(pages, direction)
    }

    unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
        // SAFETY: the caller's promise.
        unsafe { (**self).free(paddr, vaddr, pages) }
    }

    unsafe fn map_mmio(&self, paddr: PhysAddr, len: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { (**self).map_mmio(paddr, len) }
    }
}
