//! x86_64: string instructions, eight bytes a step and the rest by single bytes. They take any alignment.

use core::arch::asm;

/// Copies `len` bytes of shared memory at `from` to private memory at `to`.
///
/// # Safety
/// `from` can be loaded from and `to` stored to for `len` bytes, and they do not overlap.
pub(in crate::memory) unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller keeps the same contract.
    unsafe { copy(from, to, len) }
}

/// Copies `len` bytes of private memory at `from` to shared memory at `to`.
///
/// # Safety
/// As [`copy_out`].
pub(in crate::memory) unsafe fn copy_in(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller keeps the same contract.
    unsafe { copy(from, to, len) }
}

unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the instructions load `len / 8 * 8 + len % 8` bytes at `from` and store as many at `to`, which the caller
    // permits. The direction flag is clear, as the calling convention has it, and stays so.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}
