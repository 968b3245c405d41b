//! Any processor, and Miri: relaxed atomics, a byte each.

use core::sync::atomic::{AtomicU8, Ordering};

/// Copies `len` bytes of shared memory at `from` to private memory at `to`.
///
/// # Safety
/// `from` can be loaded from and `to` stored to for `len` bytes, and they do not overlap.
pub(in crate::memory) unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
    for index in 0..len {
        let from = from.wrapping_add(index).cast_mut();
        // SAFETY: the byte can be loaded from; a relaxed load of one byte is permitted for memory that is read-only too.
        let byte = unsafe { AtomicU8::from_ptr(from) }.load(Ordering::Relaxed);
        // SAFETY: the byte can be stored to, and is private.
        unsafe { to.wrapping_add(index).write(byte) };
    }
}

/// Copies `len` bytes of private memory at `from` to shared memory at `to`.
///
/// # Safety
/// As [`copy_out`].
pub(in crate::memory) unsafe fn copy_in(from: *const u8, to: *mut u8, len: usize) {
    for index in 0..len {
        // SAFETY: the byte can be loaded from, and is private.
        let byte = unsafe { from.wrapping_add(index).read() };
        // SAFETY: the byte can be stored to.
        unsafe { AtomicU8::from_ptr(to.wrapping_add(index)) }.store(byte, Ordering::Relaxed);
    }
}
