//! The DAX window: addresses of this process, reserved, over which files are mapped as the back end asks.
#![expect(unsafe_code, reason = "files are mapped at addresses that this module has reserved")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

use crate::table::{Refusal, Table};

/// Where the window begins in guest-physical memory: far from RAM, and unrelated to where it is in this process.
pub(crate) const WINDOW_BASE: u64 = 0x100_0000_0000;

/// What an access finds where nothing is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmapped {
    /// Zeros, as in QEMU on x86; what is stored is lost. A back end that lies about a mapping costs wrong bytes.
    #[default]
    Zeros,
    /// A segmentation fault, which ends this process: a driver that touches what is not mapped is found out.
    Fault,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    base: NonNull<u8>,
    len: u64,
    unmapped: Unmapped,
    table: Mutex<Table>,
}

// SAFETY: the window belongs to no thread. It is accessed through raw pointers and atomics only; mappings change under the
// table's lock.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Reserves `len` bytes of addresses.
    pub(crate) fn new(len: u64, unmapped: Unmapped) -> Result<Self, std::io::Error> {
        let size = usize::try_from(len).map_err(|_| std::io::Error::from(rustix::io::Errno::NOMEM))?;
        // SAFETY: an address of the kernel's choice takes nobody's place.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), size, unmapped.prot(), RESERVED) }?;
        let base = NonNull::new(base.cast()).ok_or(std::io::Error::from(rustix::io::Errno::NOMEM))?;
        Ok(Self { base, len, unmapped, table: Mutex::new(Table::new(len)) })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where the guest-physical address `addr` is in this process, if `len` bytes from there on are in the window.
    pub(crate) fn pointer(&self, addr: u64, len: u64) -> Option<NonNull<u8>> {
        let offset = addr.checked_sub(WINDOW_BASE)?;
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        // SAFETY: the offset is inside the reserved addresses.
        inside.then(|| unsafe { self.base.add(offset as usize) })
    }

    /// Maps part of a file.
    pub(crate) fn map(&self, offset: u64, len: u64, file: &File, file_offset: u64) -> Result<(), Refusal> {
        let host = |error: std::io::Error| Refusal::Host { errno: error.raw_os_error().unwrap_or_default() };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let size = file.metadata().map_err(host)?.size();
        table.check(offset, len, file_offset, size)?;
        // SAFETY: the table keeps the offset inside the reserved addresses.
        let place = unsafe { self.base.add(offset as usize) };
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the addresses are reserved by this object, and the table says that no mapping is there.
        unsafe { rustix::mm::mmap(place.as_ptr().cast(), len as usize, prot, flags, file.as_fd(), file_offset) }
            .map_err(|error| host(error.into()))?;
        table.insert(offset, len);
        Ok(())
    }

    /// Takes a mapping away.
    pub(crate) fn unmap(&self, offset: u64, len: u64) -> Result<(), Refusal> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(offset, len)?;
        self.hide(offset, len).map_err(|errno| Refusal::Host { errno })
    }

    /// Takes all mappings away.
    pub(crate) fn clear(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for (offset, len) in table.take_all() {
            if let Err(errno) = self.hide(offset, len) {
                log::error!("a mapping of {len:#x} bytes at {offset:#x} stays: errno {errno}");
            }
        }
    }

    /// All mappings: offset and length.
    pub(crate) fn live(&self) -> Vec<(u64, u64)> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).live().collect()
    }

    /// Puts back what is there when nothing is mapped. Only under the table's lock, for a range that the table knew.
    fn hide(&self, offset: u64, len: u64) -> Result<(), i32> {
        // SAFETY: the table knew the range, so it is inside the reserved addresses.
        let place = unsafe { self.base.add(offset as usize) };
        let flags = RESERVED | MapFlags::FIXED;
        // SAFETY: the addresses are reserved by this object.
        unsafe { rustix::mm::mmap_anonymous(place.as_ptr().cast(), len as usize, self.unmapped.prot(), flags) }
            .map(drop)
            .map_err(rustix::io::Errno::raw_os_error)
    }
}

/// Addresses that take no memory until they are touched.
const RESERVED: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

impl Unmapped {
    const fn prot(self) -> ProtFlags {
        match self {
            Self::Zeros => ProtFlags::READ.union(ProtFlags::WRITE),
            Self::Fault => ProtFlags::empty(),
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PAGE: u64 = 4096;

    fn byte(window: &Window, offset: u64) -> u8 {
        let place = window.pointer(WINDOW_BASE + offset, 1).unwrap();
        // SAFETY: the place is in a window, and its unmapped pages read as zeros.
        unsafe { place.as_ptr().read_volatile() }
    }

    #[test]
    fn files_appear_and_go() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 2 * 4096]).unwrap();
        let window = Window::new(4 * PAGE, Unmapped::Zeros).unwrap();
        assert_eq!(byte(&window, PAGE), 0);
        window.map(PAGE, PAGE, &file, PAGE).unwrap();
        assert_eq!((byte(&window, PAGE), byte(&window, 2 * PAGE)), (7, 0));
        assert_eq!(window.live(), [(PAGE, PAGE)]);
        window.unmap(PAGE, PAGE).unwrap();
        assert_eq!(byte(&window, PAGE), 0);
        window.map(0, 2 * PAGE, &file, 0).unwrap();
        window.clear();
        assert_eq!((byte(&window, 0), window.live()), (0, vec![]));
    }

    #[test]
    fn read_only_files_are_refused_as_qemu_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(PAGE).unwrap();
        let read_only = File::open(file.path()).unwrap();
        let window = Window::new(PAGE, Unmapped::Fault).unwrap();
        let errno = rustix::io::Errno::ACCESS.raw_os_error();
        assert_eq!(window.map(0, PAGE, &read_only, 0), Err(Refusal::Host { errno }));
        assert_eq!(window.live(), []);
    }

    #[test]
    fn only_addresses_inside_are_given_out() {
        let window = Window::new(PAGE, Unmapped::Fault).unwrap();
        assert!(window.pointer(WINDOW_BASE, PAGE).is_some());
        for (addr, len) in [(WINDOW_BASE, PAGE + 1), (WINDOW_BASE - 1, 1), (0, 1), (WINDOW_BASE + 1, u64::MAX)] {
            assert!(window.pointer(addr, len).is_none(), "{addr:#x} {len:#x}");
        }
    }
}
