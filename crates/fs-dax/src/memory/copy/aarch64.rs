//! aarch64: pairs of words where both sides are aligned to words, else single bytes, so that no access is unaligned.

use core::arch::asm;

use super::aligned::{BLOCK, Parts};

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
    let Parts { head, blocks, tail } = Parts::of(from as usize, to as usize, len);
    let aligned = blocks * BLOCK;
    // SAFETY: the first `head` bytes of both sides.
    unsafe { copy_bytes(from, to, head) };
    // SAFETY: the next `aligned` bytes of both sides, which begin at multiples of 8.
    unsafe { copy_blocks(from.wrapping_add(head), to.wrapping_add(head), blocks) };
    // SAFETY: the last `tail` bytes of both sides.
    unsafe { copy_bytes(from.wrapping_add(head + aligned), to.wrapping_add(head + aligned), tail) };
}

unsafe fn copy_bytes(from: *const u8, to: *mut u8, count: usize) {
    if count == 0 {
        return;
    }
    // SAFETY: the loop loads `count` bytes at `from` and stores as many at `to`, which the caller permits.
    unsafe {
        asm!(
            "2:",
            "ldrb {byte:w}, [{from}], #1",
            "strb {byte:w}, [{to}], #1",
            "subs {count}, {count}, #1",
            "b.ne 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            count = inout(reg) count => _,
            byte = out(reg) _,
            options(nostack),
        );
    }
}

unsafe fn copy_blocks(from: *const u8, to: *mut u8, count: usize) {
    if count == 0 {
        return;
    }
    // SAFETY: the loop loads `count` blocks of four aligned words at `from` and stores as many at `to`, which the caller
    // permits.
    unsafe {
        asm!(
            "2:",
            "ldp {a}, {b}, [{from}]",
            "ldp {c}, {d}, [{from}, #16]",
            "stp {a}, {b}, [{to}]",
            "stp {c}, {d}, [{to}, #16]",
            "add {from}, {from}, #32",
            "add {to}, {to}, #32",
            "subs {count}, {count}, #1",
            "b.ne 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            count = inout(reg) count => _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            options(nostack),
        );
    }
}
