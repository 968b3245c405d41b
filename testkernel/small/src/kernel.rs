//! A kernel that is not there: where nothing is ever mapped, and time stands still. It has all that the driver asks of one.
#![expect(unsafe_code, reason = "what the driver asks of a kernel is unsafe to implement")]

extern crate alloc;

use alloc::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::ptr::{NonNull, null_mut};
use core::time::Duration;

use virtio_fs::{ConfigurationAccess, DmaDirection, DmaMemory, PciFunction, Platform, ShmRegion};

/// See the module.
#[derive(Clone)]
pub(crate) struct Kernel;

impl ConfigurationAccess for Kernel {
    fn read8(&self, _: PciFunction, offset: u8) -> u8 {
        black_box(offset)
    }

    fn read16(&self, _: PciFunction, offset: u8) -> u16 {
        black_box(offset.into())
    }

    fn read32(&self, _: PciFunction, offset: u8) -> u32 {
        black_box(offset.into())
    }

    fn write8(&mut self, _: PciFunction, _: u8, value: u8) {
        black_box(value);
    }

    fn write16(&mut self, _: PciFunction, _: u8, value: u16) {
        black_box(value);
    }

    fn write32(&mut self, _: PciFunction, _: u8, value: u32) {
        black_box(value);
    }
}

// SAFETY: there is no memory, which is a result that it may have.
unsafe impl DmaMemory for Kernel {
    fn allocate(&self, _: usize, _: DmaDirection) -> Option<(u64, NonNull<u8>)> {
        black_box(None)
    }

    unsafe fn free(&self, paddr: u64, _: NonNull<u8>, _: usize) {
        black_box(paddr);
    }

    unsafe fn map_mmio(&self, _: u64, _: usize) -> Option<NonNull<u8>> {
        black_box(None)
    }
}

// SAFETY: no window is ever mapped.
unsafe impl Platform for Kernel {
    fn now(&self) -> Duration {
        black_box(Duration::ZERO)
    }

    fn map_window(&self, _: &ShmRegion) -> Option<NonNull<u8>> {
        black_box(None)
    }
}

struct Nothing;

// SAFETY: an allocator may have no memory.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        black_box(null_mut())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        black_box(pointer);
    }
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
