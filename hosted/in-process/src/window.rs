//! A DAX window: addresses of this process, reserved, over which a device maps files.
#![expect(unsafe_code, reason = "files are mapped at addresses that this module has reserved")]

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags};
use virtio_fs::ShmRegion;

/// Where it is in guest-physical memory: far from RAM, and unrelated to where it is in this process.
const ADDRESS: u64 = 0x100_0000_0000;
/// Addresses that take no memory until they are touched.
const RESERVED: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    base: NonNull<u8>,
    len: u64,
    unmapped: ProtFlags,
}

// SAFETY: the window belongs to no thread: it is accessed through raw pointers and atomics only.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Reserves `len` bytes of addresses. Where nothing is mapped they are zeros, or a segmentation fault for the `strict`.
    pub(super) fn new(len: u64, strict: bool) -> io::Result<Self> {
        let unmapped = if strict { ProtFlags::empty() } else { ProtFlags::READ | ProtFlags::WRITE };
        // SAFETY: an address of the kernel's choice takes nobody's place.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len as usize, unmapped, RESERVED) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len, unmapped })
    }

    pub(super) fn guest_address(&self) -> u64 {
        ADDRESS
    }

    /// Where it is in this process, as devices want it.
    pub(super) fn host_address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Where a region in it is in this process.
    pub(super) fn pointer(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        let offset = region.addr().checked_sub(ADDRESS)?;
        let inside = offset.checked_add(region.len()).is_some_and(|end| end <= self.len);
        // SAFETY: the offset is inside the reserved addresses.
        inside.then(|| unsafe { self.base.add(offset as usize) })
    }

    /// Maps part of a file, over whatever is there.
    pub(super) fn map(&self, offset: u64, len: u64, fd: RawFd, file_offset: u64, writable: bool) -> io::Result<()> {
        let place = self.place(offset, len)?;
        let prot = ProtFlags::READ | if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        // SAFETY: whoever asks for the mapping keeps the descriptor open for as long as it takes.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // SAFETY: the addresses are reserved by this object.
        unsafe {
            rustix::mm::mmap(place.cast(), len as usize, prot, MapFlags::SHARED | MapFlags::FIXED, fd, file_offset)
        }?;
        Ok(())
    }

    /// Takes away what is mapped there.
    pub(super) fn unmap(&self, offset: u64, len: u64) -> io::Result<()> {
        let place = self.place(offset, len)?;
        // SAFETY: the addresses are reserved by this object.
        unsafe { rustix::mm::mmap_anonymous(place.cast(), len as usize, self.unmapped, RESERVED | MapFlags::FIXED) }?;
        Ok(())
    }

    fn place(&self, offset: u64, len: u64) -> io::Result<*mut u8> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the offset is inside the reserved addresses.
        Ok(unsafe { self.base.add(offset as usize) }.as_ptr())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the addresses are this object's own, and whoever accessed them held a handle on it.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len as usize) };
        if let Err(error) = unmapped {
            log::error!("the window cannot be unmapped: {error}");
        }
    }
}
