//! `memcpy`, `memmove` and `memset` in place of the target's own, which are string instructions: under emulation loops
//! over ordinary registers are several times as fast. They use no SSE register, so that interrupts may copy, too.

use core::arch::naked_asm;

/// `memcpy` of C.
///
/// # Safety
/// C's contract.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "2:",
        "cmp rdx, 32",
        "jb 3f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + 8]",
        "mov r9, [rsi + 16]",
        "mov r10, [rsi + 24]",
        "mov [rdi], rcx",
        "mov [rdi + 8], r8",
        "mov [rdi + 16], r9",
        "mov [rdi + 24], r10",
        "add rsi, 32",
        "add rdi, 32",
        "sub rdx, 32",
        "jmp 2b",
        "3:",
        "cmp rdx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov [rdi], rcx",
        "add rsi, 8",
        "add rdi, 8",
        "sub rdx, 8",
        "jmp 3b",
        "4:",
        "test rdx, rdx",
        "jz 5f",
        "mov cl, [rsi]",
        "mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "dec rdx",
        "jmp 4b",
        "5:",
        "ret",
    )
}

/// `memmove` of C.
///
/// # Safety
/// C's contract.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        // Forwards is right unless the target begins inside the source.
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jae {memcpy}",
        "2:",
        "cmp rdx, 8",
        "jb 3f",
        "mov rcx, [rsi + rdx - 8]",
        "mov [rdi + rdx - 8], rcx",
        "sub rdx, 8",
        "jmp 2b",
        "3:",
        "test rdx, rdx",
        "jz 4f",
        "mov cl, [rsi + rdx - 1]",
        "mov [rdi + rdx - 1], cl",
        "dec rdx",
        "jmp 3b",
        "4:",
        "ret",
        memcpy = sym memcpy,
    )
}

/// `memset` of C.
///
/// # Safety
/// C's contract.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx ecx, sil",
        "mov rsi, 0x0101010101010101",
        "imul rcx, rsi",
        "2:",
        "cmp rdx, 32",
        "jb 3f",
        "mov [rdi], rcx",
        "mov [rdi + 8], rcx",
        "mov [rdi + 16], rcx",
        "mov [rdi + 24], rcx",
        "add rdi, 32",
        "sub rdx, 32",
        "jmp 2b",
        "3:",
        "test rdx, rdx",
        "jz 4f",
        "mov [rdi], cl",
        "inc rdi",
        "dec rdx",
        "jmp 3b",
        "4:",
        "ret",
    )
}
