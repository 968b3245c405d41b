//! Memory that is there wherever it is touched: what a monitor has behind a window, where a device has mapped nothing.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// So many at a time.
const PLACES: usize = 64;

/// Where such memory is and how much, of each: 0 where there is none.
static MEMORY: [(AtomicUsize, AtomicUsize); PLACES] = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; PLACES];
/// What handled SIGSEGV and SIGBUS before.
static BEFORE: [AtomicUsize; 2] = [const { AtomicUsize::new(libc::SIG_DFL) }; 2];

/// Begins to give pages of zeros in this memory, which is the caller's own.
pub(super) fn give(start: usize, len: usize) {
    static HANDLE: Once = Once::new();
    HANDLE.call_once(|| {
        for (signal, before) in [libc::SIGSEGV, libc::SIGBUS].into_iter().zip(&BEFORE) {
            before.store(handle(signal, on_fault as *const () as usize), Ordering::SeqCst);
        }
    });
    let place = MEMORY.iter().find(|(at, _)| at.compare_exchange(0, start, Ordering::SeqCst, Ordering::SeqCst).is_ok());
    place.expect("a place for one more window").1.store(len, Ordering::SeqCst);
}

/// Ends it.
pub(super) fn end(start: usize) {
    if let Some((at, len)) = MEMORY.iter().find(|(at, _)| at.load(Ordering::SeqCst) == start) {
        len.store(0, Ordering::SeqCst);
        at.store(0, Ordering::SeqCst);
    }
}

/// Has a signal handled on the stack for signals; returns what handled it before.
fn handle(signal: i32, handler: usize) -> usize {
    let action = || {
        // SAFETY: a structure of integers.
        let action: libc::sigaction = unsafe { std::mem::zeroed() };
        action
    };
    let (mut action, mut before) = (action(), action());
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler only makes system calls and loads atomics.
    let done = unsafe { libc::sigaction(signal, &raw const action, &raw mut before) };
    assert_eq!(done, 0, "a handler for signal {signal}");
    before.sa_sigaction
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands over what it says of the signal, which is there until this returns.
    let info = unsafe { &*info };
    // SAFETY: of these two signals it is an address.
    let at = unsafe { info.si_addr() } as usize;
    let ours = MEMORY.iter().any(|(start, len)| {
        at.checked_sub(start.load(Ordering::SeqCst)).is_some_and(|into| into < len.load(Ordering::SeqCst))
    });
    if ours {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let page = std::ptr::with_exposed_provenance_mut(at & !(PAGE - 1));
        // SAFETY: the page belongs to a window that has asked for this.
        if unsafe { libc::mmap(page, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) } != libc::MAP_FAILED {
            return;
        }
    }
    // Whoever handled it before does when the access is tried again.
    let before = &BEFORE[usize::from(signal == libc::SIGBUS)];
    handle(signal, before.load(Ordering::SeqCst));
}
