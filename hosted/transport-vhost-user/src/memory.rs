//! The guest's memory: a memfd that this process and the back end both map.
#![expect(unsafe_code, reason = "memory is mapped, zeroed, and given out by pointer")]

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use vhost::VhostUserMemoryRegionInfo;
use virtio_transport::{DmaDirection, DmaMemory, PAGE_SIZE, PhysAddr};

use crate::ConnectError;
use crate::allocator::PageAllocator;

/// Where the memory begins for the device: not where it is in this process, so that a driver which mixes the two is
/// found out.
const GUEST_BASE: u64 = 0x1_0000_0000;

#[derive(Debug)]
struct Shared {
    file: OwnedFd,
    base: NonNull<u8>,
    len: usize,
    pages: Mutex<PageAllocator>,
}

// SAFETY: the mapping belongs to no thread; blocks of it are handed out to one owner each, under a lock.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Memory that driver and back end share. Clones are handles to the same memory, which lives as long as the last of them.
#[derive(Clone, Debug)]
pub struct GuestMemory(Arc<Shared>);

impl GuestMemory {
    /// `len` bytes, rounded up to whole pages. The file is sealed: a back end cannot take its pages away.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Memory`].
    pub fn new(len: usize) -> Result<Self, ConnectError> {
        let len = len.max(PAGE_SIZE).next_multiple_of(PAGE_SIZE);
        let fail = |source: rustix::io::Errno| ConnectError::Memory { len, source: source.into() };
        let file =
            rustix::fs::memfd_create("guest-memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(fail)?;
        rustix::fs::ftruncate(&file, len as u64).map_err(fail)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(fail)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: an address of the kernel's choice takes nobody's place.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, &file, 0) }.map_err(fail)?;
        let base = NonNull::new(base.cast()).ok_or_else(|| fail(rustix::io::Errno::NOMEM))?;
        let pages = Mutex::new(PageAllocator::new(len / PAGE_SIZE));
        Ok(Self(Arc::new(Shared { file, base, len, pages })))
    }

    /// How many bytes nobody has allocated.
    pub fn available(&self) -> usize {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner).available() * PAGE_SIZE
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.0.len
    }

    /// Where it begins for the device.
    pub fn guest_address(&self) -> PhysAddr {
        GUEST_BASE
    }

    /// Where it begins in this process, for devices that are here too. They access it as a device does: at any time.
    pub fn start(&self) -> NonNull<u8> {
        self.0.base
    }

    /// What the back end learns of it. The address "in the front end" is the guest-physical one too: it is a name that
    /// only occurs in messages, and so both meanings of protocol feature 21 come out the same.
    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST_BASE,
            memory_size: self.0.len as u64,
            userspace_addr: GUEST_BASE,
            mmap_offset: 0,
            mmap_handle: self.0.file.as_raw_fd(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own, and every block of it was given back or leaked with its owner's handle.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        if let Err(error) = unmapped {
            log::error!("the guest's memory cannot be unmapped: {error}");
        }
    }
}

// SAFETY: blocks are zeroed, begin on a page, lie together in one mapping that is readable and writable from every
// thread, and belong to nobody else until they are given back. `map_mmio` maps nothing.
unsafe impl DmaMemory for GuestMemory {
    fn allocate(&self, pages: usize, _: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        let first = self.0.pages.lock().unwrap_or_else(PoisonError::into_inner).take(pages)?;
        let offset = first * PAGE_SIZE;
        // SAFETY: the allocator gives out pages inside the mapping only.
        let start = unsafe { self.0.base.add(offset) };
        // SAFETY: these pages are nobody's but this call's.
        unsafe { start.write_bytes(0, pages * PAGE_SIZE) };
        Some((GUEST_BASE + offset as u64, start))
    }

    unsafe fn free(&self, paddr: PhysAddr, _: NonNull<u8>, pages: usize) {
        let first = (paddr - GUEST_BASE) as usize / PAGE_SIZE;
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner).give(first, pages);
    }

    unsafe fn map_mmio(&self, _: PhysAddr, _: usize) -> Option<NonNull<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeroed_and_come_back() {
        let memory = GuestMemory::new(3 * PAGE_SIZE - 1).unwrap();
        assert_eq!((memory.size(), memory.available()), (3 * PAGE_SIZE, 3 * PAGE_SIZE));
        let (paddr, start) = memory.allocate(2, DmaDirection::Both).unwrap();
        assert_eq!(paddr, GUEST_BASE);
        // SAFETY: the block was just allocated.
        unsafe { start.write_bytes(0xaa, 2 * PAGE_SIZE) };
        assert!(memory.allocate(2, DmaDirection::Both).is_none());
        // SAFETY: allocated above, freed once, and not used any more.
        unsafe { memory.free(paddr, start, 2) };
        let (_, start) = memory.allocate(3, DmaDirection::Both).unwrap();
        // SAFETY: the block has this many bytes, which were initialized by the allocation.
        let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), 3 * PAGE_SIZE) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_back_end_cannot_cut_the_memory() {
        let memory = GuestMemory::new(PAGE_SIZE).unwrap();
        assert_eq!(rustix::fs::ftruncate(&memory.0.file, 0), Err(rustix::io::Errno::PERM));
    }
}
