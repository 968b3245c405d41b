//! A DAX window: addresses of the process, reserved and without access, over which a device maps files.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::zeros;

/// Windows lie at guest-physical addresses far from RAM, and unrelated to where they are in the process.
const FIRST: u64 = 0x100_0000_0000;
const DISTANCE: u64 = 1 << 36;

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    host: usize,
    pub(crate) len: u64,
    /// Its guest-physical address.
    pub(crate) address: u64,
}

impl Window {
    pub(crate) fn new(len: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST);
        let address = NEXT.fetch_add(DISTANCE, Ordering::Relaxed);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice takes nobody's place.
        let host = unsafe { libc::mmap(std::ptr::null_mut(), len as usize, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(host, libc::MAP_FAILED, "a window of {len} bytes");
        Self { host: host.expose_provenance(), len, address }
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(self.host)).expect("a window is not at 0")
    }

    /// Where a guest-physical address of the window is in the process.
    pub(crate) fn pointer_to(&self, address: u64) -> NonNull<u8> {
        let into = address - self.address;
        assert!(into < self.len, "{address:#x} is not in the window");
        // SAFETY: the place is inside the window, and its addresses are this object's own.
        unsafe { self.pointer().add(into as usize) }
    }

    /// Its address in the process, as devices want it.
    pub(crate) fn host_address(&self) -> u64 {
        self.host as u64
    }

    /// Has what is not mapped read as zeros and take stores, as it is in a monitor. For devices that say that they have mapped
    /// something, or have not cut a file.
    pub(crate) fn give_zeros(&self) {
        zeros::give(self.host, self.len as usize);
    }

    /// Maps part of a file over part of the window.
    pub(crate) fn map(&self, offset: u64, len: u64, fd: i32, file_offset: u64, writable: bool) -> Result<(), i32> {
        let prot = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        self.place(offset, len, prot, libc::MAP_SHARED, fd, file_offset)
    }

    /// Takes all access to part of the window away.
    pub(crate) fn unmap(&self, offset: u64, len: u64) -> Result<(), i32> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        self.place(offset, len, libc::PROT_NONE, flags, -1, 0)
    }

    fn place(&self, offset: u64, len: u64, prot: i32, flags: i32, fd: i32, file_offset: u64) -> Result<(), i32> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(libc::EINVAL);
        }
        let file_offset = i64::try_from(file_offset).map_err(|_| libc::EOVERFLOW)?;
        let at = std::ptr::with_exposed_provenance_mut(self.host + offset as usize);
        // SAFETY: the place lies inside the window, which is this object's own.
        let mapped = unsafe { libc::mmap(at, len as usize, prot, flags | libc::MAP_FIXED, fd, file_offset) };
        if mapped == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
        }
        Ok(())
    }

    /// Whether the process can read this place now, found out without touching it.
    pub(crate) fn readable(&self, offset: u64) -> bool {
        let mut pipe = [0; 2];
        // SAFETY: the array has room for two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0, "a pipe");
        let from = std::ptr::with_exposed_provenance(self.host + offset as usize);
        // SAFETY: the kernel checks the address and answers EFAULT when it is not readable.
        let written = unsafe { libc::write(pipe[1], from, 1) };
        for fd in pipe {
            // SAFETY: the pipe is this function's own.
            unsafe { libc::close(fd) };
        }
        written == 1
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        zeros::end(self.host);
        // SAFETY: the window is this object's own, and whoever used it is gone.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(self.host), self.len as usize) };
    }
}
