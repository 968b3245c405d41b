//! Copies between private memory and memory that others change at the same time.
//!
//! Where there is assembly for the processor, the accesses to shared memory are instructions that the compiler knows
//! nothing of, so that whatever others do meanwhile is no data race of the program's. Elsewhere, and under Miri, they
//! are relaxed atomics, a byte each.

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64;
#[cfg(any(all(any(target_arch = "aarch64", target_arch = "riscv64"), not(miri)), test))]
mod aligned;
#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")), miri))]
mod portable;
#[cfg(all(target_arch = "riscv64", not(miri)))]
mod riscv64;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub(super) use aarch64::{copy_in, copy_out};
#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")), miri))]
pub(super) use portable::{copy_in, copy_out};
#[cfg(all(target_arch = "riscv64", not(miri)))]
pub(super) use riscv64::{copy_in, copy_out};
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use x86_64::{copy_in, copy_out};

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    #[test]
    fn every_alignment_and_length_copies_exactly_its_bytes() {
        let lens = if cfg!(miri) { vec![0, 1, 7, 9, 33] } else { (0..100).chain([4095, 4096, 4097]).collect() };
        for (from_at, to_at) in [(0, 0), (1, 1), (7, 7), (3, 0), (0, 5), (2, 7)] {
            for len in &lens {
                let source: vec::Vec<u8> = (0..*len + 16).map(|n| (n % 251) as u8).collect();
                let mut out = vec![0xee_u8; *len + 16];
                // SAFETY: both buffers have more than `len` bytes after their start.
                unsafe { copy_out(source[from_at..].as_ptr(), out[to_at..].as_mut_ptr(), *len) };
                assert_eq!(out[to_at..to_at + len], source[from_at..from_at + len]);
                let mut back = vec![0xee_u8; *len + 16];
                // SAFETY: as above.
                unsafe { copy_in(out[to_at..].as_ptr(), back[from_at..].as_mut_ptr(), *len) };
                assert_eq!(back[from_at..from_at + len], source[from_at..from_at + len]);
                for (buffer, at) in [(&out, to_at), (&back, from_at)] {
                    let outside = buffer[..at].iter().chain(&buffer[at + len..]);
                    assert!(outside.copied().all(|byte| byte == 0xee), "{len} bytes at {at}: others changed");
                }
            }
        }
    }
}
