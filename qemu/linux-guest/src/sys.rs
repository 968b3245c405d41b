//! The system calls that a guest's only process needs and no library wraps.
#![expect(unsafe_code, reason = "raw system calls, each a few lines")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `STATX_ATTR_DAX`.
const STATX_ATTR_DAX: u64 = 0x0020_0000;

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Mounts a file system.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn mount(source: &str, target: &str, kind: &str, options: &str) -> io::Result<()> {
    let [source, target, kind, options] = [source, target, kind, options].map(CString::new);
    let (source, target, kind, options) = (source?, target?, kind?, options?);
    // SAFETY: all four end with a NUL and outlive the call, which only reads them.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) })
}

/// Unmounts a file system.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn unmount(target: &str) -> io::Result<()> {
    let target = CString::new(target)?;
    // SAFETY: the path ends with a NUL and outlives the call, which only reads it.
    check(unsafe { libc::umount2(target.as_ptr(), 0) })
}

/// Turns the machine off; comes back only if that fails.
pub(crate) fn power_off() -> io::Error {
    // SAFETY: it touches no memory of ours.
    unsafe { libc::sync() };
    // SAFETY: it touches no memory of ours.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    io::Error::last_os_error()
}

/// Changes a file's space, as `fallocate(2)`.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn fallocate(file: &File, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    let range = |number: u64| i64::try_from(number).map_err(io::Error::other);
    let (offset, len) = (range(offset)?, range(len)?);
    // SAFETY: the descriptor is open, and the call touches no memory of ours.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) })
}

/// Asks the server for a file's attributes, past every cache.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn ask_attributes(file: &File) -> io::Result<()> {
    let mut status = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: the path is empty and ends with a NUL, and there is room for the result.
    check(unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_BASIC_STATS, status.as_mut_ptr()) })
}

/// Whether Linux uses DAX for a file.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn uses_dax(file: &File) -> io::Result<bool> {
    let mut status = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and ends with a NUL, and there is room for the result.
    check(unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_BASIC_STATS, status.as_mut_ptr())
    })?;
    // SAFETY: the call succeeded, and zeroes are a valid value of this type besides.
    let status = unsafe { status.assume_init() };
    Ok(status.stx_attributes & STATX_ATTR_DAX != 0)
}

/// Runs `work` in a child process with another user; returns whether it ended with `true`.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn as_user(uid: u32, work: impl FnOnce() -> bool) -> io::Result<bool> {
    // SAFETY: this program has one thread when it forks, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        // SAFETY: they touch no memory of ours.
        let changed = unsafe { libc::setgid(uid) } == 0 && {
            // SAFETY: it touches no memory of ours.
            unsafe { libc::setuid(uid) == 0 }
        };
        let good = changed && work();
        // SAFETY: it ends the child without running what the parent will run.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a number that outlives the call.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
}

/// Bytes of a large page: where both sides of a mapping are at a multiple, the kernel can use one.
const LARGE_PAGE: usize = 2 << 20;

/// A shared mapping of a whole file.
#[derive(Debug)]
pub(crate) struct Map {
    start: *mut u8,
    len: usize,
    /// What was reserved around it.
    reserved: (*mut u8, usize),
}

// SAFETY: the pages belong to the mapping, whichever thread touches them, and are touched only as volatile bytes.
unsafe impl Send for Map {}
// SAFETY: as above; nothing is ever referenced as plain memory.
unsafe impl Sync for Map {}

impl Map {
    /// Maps `len` bytes of a file, from its start, for reading and perhaps writing, where large pages fit.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn new(file: &File, len: usize, write: bool) -> io::Result<Self> {
        Self::past_boundary(file, len, write, 0)
    }

    /// As [`Map::new`], but at `past` bytes, whole pages, past a boundary of large pages: where none fits unless that is 0.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn past_boundary(file: &File, len: usize, write: bool, past: usize) -> io::Result<Self> {
        let room = len + 2 * LARGE_PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: no address is given, so no mapping of ours is replaced.
        let around = unsafe { libc::mmap(std::ptr::null_mut(), room, libc::PROT_NONE, flags, -1, 0) };
        if around == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let skip = around.addr().next_multiple_of(LARGE_PAGE) - around.addr() + past % LARGE_PAGE;
        // SAFETY: what is skipped is less than two large pages, which were reserved.
        let place = unsafe { around.byte_add(skip) };
        let protection = if write { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: it replaces a part of what was just reserved, which nobody uses.
        let start = unsafe { libc::mmap(place, len, protection, flags, file.as_raw_fd(), 0) };
        let map = Map { start: place.cast(), len, reserved: (around.cast(), room) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(map) }
    }

    /// One byte; beyond the file's end this ends the program.
    ///
    /// # Panics
    ///
    /// If `index` is beyond the mapping.
    pub(crate) fn get(&self, index: usize) -> u8 {
        assert!(index < self.len, "{index} is beyond {}", self.len);
        // SAFETY: the index is below the length that was mapped.
        let at = unsafe { self.start.add(index) };
        // SAFETY: the page is mapped readable for as long as we live.
        unsafe { at.read_volatile() }
    }

    /// Sets one byte of a mapping that was made for writing.
    ///
    /// # Panics
    ///
    /// If `index` is beyond the mapping.
    pub(crate) fn set(&self, index: usize, byte: u8) {
        assert!(index < self.len, "{index} is beyond {}", self.len);
        // SAFETY: the index is below the length that was mapped.
        let at = unsafe { self.start.add(index) };
        // SAFETY: the page is mapped for as long as we live; if not writable, the program ends with a signal.
        unsafe { at.write_volatile(byte) };
    }

    /// Adds up the mapping's 64-bit words.
    pub(crate) fn sum(&self) -> u64 {
        let words = self.start.cast::<u64>();
        (0..self.len / 8).fold(0u64, |sum, index| {
            // SAFETY: the index is below the length that was mapped, in words.
            let at = unsafe { words.add(index) };
            // SAFETY: the page is mapped readable, and a mapping's start is aligned for words.
            sum.wrapping_add(unsafe { at.read_volatile() })
        })
    }

    /// Writes what was changed back to the file.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is the mapping's.
        check(unsafe { libc::msync(self.start.cast(), self.len, libc::MS_SYNC) })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping's, and nobody uses it any more.
        unsafe { libc::munmap(self.reserved.0.cast(), self.reserved.1) };
    }
}
