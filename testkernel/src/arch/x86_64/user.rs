//! Loads and stores of a program: to addresses above the kernel's, where an access that cannot be is an error to whoever
//! asked for it instead of the end of the run.

use super::gdt::this_processor;
use crate::memory::{
    layout::MAX_PROCESSORS,
    paging::{USER_END, USER_START},
};
use core::{
    arch::naked_asm,
    ops::Range,
    sync::atomic::{AtomicI32, Ordering},
};
use fs_dax::Errno;

/// Why the last access of a processor could not be.
static ERRORS: [AtomicI32; MAX_PROCESSORS] = [const { AtomicI32::new(0) }; MAX_PROCESSORS];

/// Copies words out of a program's memory.
///
/// # Errors
/// The error number that a program would get with its bus error; the words before the one that failed are copied.
///
/// # Panics
/// For addresses that aren't aligned or are the kernel's.
pub(crate) fn load(address: u64, to: &mut [u64]) -> Result<(), Errno> {
    check(address, to.len());
    // SAFETY: `to` can be written, and the program's memory, checked above, is no memory of the kernel's.
    let failed = unsafe { copy_words(to.as_mut_ptr(), address as *const u64, to.len()) };
    outcome(failed)
}

/// Copies words into a program's memory.
///
/// # Errors
/// As [`load`]; the words before the one that failed are stored.
///
/// # Panics
/// As [`load`].
pub(crate) fn store(address: u64, from: &[u64]) -> Result<(), Errno> {
    check(address, from.len());
    // SAFETY: `from` can be read, and the program's memory, checked above, is no memory of the kernel's.
    let failed = unsafe { copy_words(address as *mut u64, from.as_ptr(), from.len()) };
    outcome(failed)
}

/// One word.
///
/// # Errors
/// As [`load`].
///
/// # Panics
/// As [`load`].
pub(crate) fn load_word(address: u64) -> Result<u64, Errno> {
    let mut word = [0];
    load(address, &mut word)?;
    Ok(word[0])
}

/// One word.
///
/// # Errors
/// As [`store`].
///
/// # Panics
/// As [`load`].
pub(crate) fn store_word(address: u64, value: u64) -> Result<(), Errno> {
    store(address, &[value])
}

fn check(address: u64, words: usize) {
    let end = address.saturating_add(words as u64 * 8);
    assert!(address.is_multiple_of(8) && address >= USER_START && end <= USER_END, "{address:#x} is no user address");
}

fn outcome(failed: u64) -> Result<(), Errno> {
    if failed == 0 {
        return Ok(());
    }
    Err(Errno::new(ERRORS[this_processor()].load(Ordering::Relaxed)).unwrap_or(Errno::EFAULT))
}

/// Gives up an access of a program that faulted at an instruction; the address to go on at. `None` when the instruction is
/// no such access.
pub(crate) fn give_up(instruction: u64, errno: Errno) -> Option<u64> {
    if !accesses().contains(&instruction) {
        return None;
    }
    ERRORS[this_processor()].store(errno.number(), Ordering::Relaxed);
    Some((&raw const user_access_failed).addr() as u64)
}

fn accesses() -> Range<u64> {
    (&raw const user_access_start).addr() as u64..(&raw const user_access_failed).addr() as u64
}

unsafe extern "C" {
    static user_access_start: u8;
    static user_access_failed: u8;
}

/// Copies words one by one, up. 0 when all were copied; a fault that is given up makes it return 1.
#[unsafe(naked)]
unsafe extern "C" fn copy_words(to: *mut u64, from: *const u64, words: usize) -> u64 {
    naked_asm!(
        ".global user_access_start",
        "user_access_start:",
        "2:",
        "test rdx, rdx",
        "jz 3f",
        "mov rax, [rsi]",
        "mov [rdi], rax",
        "add rsi, 8",
        "add rdi, 8",
        "dec rdx",
        "jmp 2b",
        "3:",
        "xor eax, eax",
        "ret",
        ".global user_access_failed",
        "user_access_failed:",
        "mov eax, 1",
        "ret",
    )
}
