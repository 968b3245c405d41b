//! Writing processor cache lines back to memory.
//!
//! Through a virtio-fs window this is an option for hosts that map persistent memory persistently, never a replacement
//! of FUSE_FSYNC. The default does nothing.
#![expect(unsafe_code, reason = "cache maintenance is done by instructions on addresses")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::PAGE_SIZE;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use self::aarch64::ArmFlush;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub use self::x86_64::X86Flush;

/// A way to write cache lines back to memory.
pub trait CacheFlush {
    /// Length of a line in bytes: a power of two, or 0 if nothing is ever flushed.
    fn line_size(&self) -> usize;

    /// Starts the write-back of every line that holds some of the `len` bytes at `start`. Gives the number of lines.
    /// Complete only after [`fence`](Self::fence).
    ///
    /// The contents of the memory are the same before and after, so others may load and store meanwhile.
    ///
    /// # Safety
    /// All of the bytes are mapped, in the address space in use, with at least read permission, and stay so during the
    /// call.
    unsafe fn write_back(&self, start: NonNull<u8>, len: usize) -> usize;

    /// Starts dropping every line that holds some of the `len` bytes at `start` from the caches, so that the next load
    /// comes from memory: for bytes that another host stores to, without hardware that keeps caches coherent. A line that
    /// this host has stored to is written back first. Returns the number of lines. Complete only after
    /// [`fence`](Self::fence).
    ///
    /// # Safety
    /// As [`write_back`](Self::write_back).
    unsafe fn invalidate(&self, start: NonNull<u8>, len: usize) -> usize;

    /// Waits until the write-backs and invalidations that this processor started are complete, ordered before all of its
    /// later loads and stores.
    fn fence(&self);
}

/// Flushes nothing: for windows of a host that keeps the file in its page cache, where FUSE_FSYNC does everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoFlush;

impl CacheFlush for NoFlush {
    fn line_size(&self) -> usize {
        0
    }

    unsafe fn write_back(&self, _: NonNull<u8>, _: usize) -> usize {
        0
    }

    unsafe fn invalidate(&self, _: NonNull<u8>, _: usize) -> usize {
        0
    }

    fn fence(&self) {}
}

/// A way to flush, with counters that make its cost visible. Shared between processors.
#[derive(Debug, Default)]
pub struct Flusher<F> {
    flush: F,
    pages: AtomicUsize,
    lines: AtomicUsize,
}

/// What a [`Flusher`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushCounts {
    /// Pages of [`PAGE_SIZE`] bytes, begun ones counted as whole.
    pub pages: usize,
    /// Cache lines.
    pub lines: usize,
}

impl<F: CacheFlush> Flusher<F> {
    /// Counts from 0.
    pub const fn new(flush: F) -> Self {
        Self { flush, pages: AtomicUsize::new(0), lines: AtomicUsize::new(0) }
    }

    /// Starts the write-back of a run of pages and counts them.
    ///
    /// # Safety
    /// As [`CacheFlush::write_back`].
    pub unsafe fn write_back(&self, start: NonNull<u8>, len: usize) {
        // SAFETY: the caller keeps the same contract.
        let lines = unsafe { self.flush.write_back(start, len) };
        self.pages.fetch_add(len.div_ceil(PAGE_SIZE as usize), Ordering::Relaxed);
        self.lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// Starts the write-back of a value's own memory and counts it.
    pub fn write_back_value<T: ?Sized>(&self, value: &T) {
        // SAFETY: the bytes of a value behind a reference are mapped and readable for as long as the reference lives.
        unsafe { self.write_back(NonNull::from(value).cast(), size_of_val(value)) }
    }

    /// Waits until all write-backs started on this processor are complete.
    pub fn fence(&self) {
        self.flush.fence();
    }

    /// What was done so far.
    pub fn counts(&self) -> FlushCounts {
        FlushCounts { pages: self.pages.load(Ordering::Relaxed), lines: self.lines.load(Ordering::Relaxed) }
    }

    /// The way to flush.
    pub const fn inner(&self) -> &F {
        &self.flush
    }
}

/// The addresses of the lines of `line` bytes, a power of two, that hold some of the `len` bytes at `start`, which are
/// memory and so do not pass the address space's end.
#[cfg(any(test, all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn lines(start: usize, len: usize, line: usize) -> impl ExactSizeIterator<Item = usize> {
    let first = start & !(line - 1);
    let count = if len == 0 { 0 } else { ((start - first) + len).div_ceil(line) };
    (0..count).map(move |index| first + index * line)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64 {
    use core::arch::asm;
    use core::ptr::NonNull;

    use super::{CacheFlush, lines};

    /// CPUID 1 EDX: CLFLUSH.
    const CLFLUSH: u32 = 1 << 19;
    /// CPUID 7.0 EBX: CLFLUSHOPT.
    const CLFLUSHOPT: u32 = 1 << 23;
    /// CPUID 7.0 EBX: CLWB.
    const CLWB: u32 = 1 << 24;

    /// The best instruction that this processor has: CLWB, else CLFLUSHOPT, else CLFLUSH.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct X86Flush {
        // Private: only detection may say that the processor has an instruction.
        instruction: Instruction,
        /// The best one that leaves no line in the caches.
        invalidating: Instruction,
        line: usize,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Instruction {
        Clwb,
        Clflushopt,
        Clflush,
    }

    impl X86Flush {
        /// Asks the processor (CPUID leaves 1 and 7). `None` if it has none of the instructions.
        #[must_use]
        pub fn detect() -> Option<Self> {
            let highest = cpuid(0).eax;
            let leaf1 = cpuid(1);
            let leaf7_ebx = if highest >= 7 { cpuid(7).ebx } else { 0 };
            Self::from_cpuid(leaf1.ebx, leaf1.edx, leaf7_ebx)
        }

        /// The instruction's name.
        #[must_use]
        pub const fn name(&self) -> &'static str {
            match self.instruction {
                Instruction::Clwb => "CLWB",
                Instruction::Clflushopt => "CLFLUSHOPT",
                Instruction::Clflush => "CLFLUSH",
            }
        }

        fn from_cpuid(leaf1_ebx: u32, leaf1_edx: u32, leaf7_ebx: u32) -> Option<Self> {
            let instruction = if leaf7_ebx & CLWB != 0 {
                Instruction::Clwb
            } else if leaf7_ebx & CLFLUSHOPT != 0 {
                Instruction::Clflushopt
            } else if leaf1_edx & CLFLUSH != 0 {
                Instruction::Clflush
            } else {
                return None;
            };
            let invalidating = match instruction {
                Instruction::Clwb if leaf7_ebx & CLFLUSHOPT != 0 => Instruction::Clflushopt,
                Instruction::Clwb => Instruction::Clflush,
                other => other,
            };
            // EBX[15:8] counts eights of bytes.
            let line = ((leaf1_ebx >> 8) & 0xff) as usize * 8;
            line.is_power_of_two().then_some(Self { instruction, invalidating, line })
        }

        /// # Safety
        /// As [`CacheFlush::write_back`].
        unsafe fn each_line(&self, instruction: Instruction, start: NonNull<u8>, len: usize) -> usize {
            let lines = lines(start.as_ptr() as usize, len, self.line);
            let count = lines.len();
            for line in lines {
                // None is marked `nomem` or `readonly`: the compiler has to finish earlier stores before, as it would for
                // an instruction that reads all of memory.
                match instruction {
                    // SAFETY: detection found the instruction. It changes no memory and no flags, and faults only as a
                    // load of the line would: the line holds a byte that the caller has mapped readable, and a line
                    // lies in one page.
                    Instruction::Clwb => unsafe {
                        asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags));
                    },
                    // SAFETY: as above.
                    Instruction::Clflushopt => unsafe {
                        asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags));
                    },
                    // SAFETY: as above.
                    Instruction::Clflush => unsafe {
                        asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags));
                    },
                }
            }
            count
        }
    }

    /// What CPUID tells, without ECX.
    struct Leaf {
        eax: u32,
        ebx: u32,
        edx: u32,
    }

    /// Asks for a leaf, its subleaf 0. (The function of `core` became safe after our oldest compiler.)
    fn cpuid(leaf: u32) -> Leaf {
        let (eax, ebx, edx): (u32, u64, u32);
        // SAFETY: every x86_64 has CPUID, which changes these four registers and nothing else. RBX, which the compiler
        // may need itself, is put back.
        unsafe {
            asm!(
                "mov {ebx}, rbx",
                "cpuid",
                "xchg {ebx}, rbx",
                ebx = out(reg) ebx,
                inout("eax") leaf => eax,
                inout("ecx") 0 => _,
                out("edx") edx,
                options(nomem, nostack, preserves_flags),
            );
        }
        Leaf { eax, ebx: ebx as u32, edx }
    }

    impl CacheFlush for X86Flush {
        fn line_size(&self) -> usize {
            self.line
        }

        unsafe fn write_back(&self, start: NonNull<u8>, len: usize) -> usize {
            // SAFETY: the caller keeps the same contract.
            unsafe { self.each_line(self.instruction, start, len) }
        }

        unsafe fn invalidate(&self, start: NonNull<u8>, len: usize) -> usize {
            // SAFETY: the caller keeps the same contract.
            unsafe { self.each_line(self.invalidating, start, len) }
        }

        fn fence(&self) {
            // The one that orders later loads, too, after an invalidation.
            // SAFETY: a fence touches no memory, no register and no flag; every x86_64 has it.
            unsafe { asm!("mfence", options(nostack, preserves_flags)) }
        }
    }

    #[cfg(test)]
    mod tests {
        extern crate std;
        use super::super::Flusher;
        use super::*;
        use std::vec;

        #[test]
        fn the_best_instruction_is_chosen() {
            let line64 = 8 << 8;
            let choose = |edx, ebx7| X86Flush::from_cpuid(line64, edx, ebx7).map(|flush| flush.name());
            assert_eq!(choose(CLFLUSH, CLWB | CLFLUSHOPT), Some("CLWB"));
            assert_eq!(choose(0, CLWB), Some("CLWB"));
            assert_eq!(choose(CLFLUSH, CLFLUSHOPT), Some("CLFLUSHOPT"));
            assert_eq!(choose(CLFLUSH, 0), Some("CLFLUSH"));
            assert_eq!(choose(CLFLUSH, !(CLWB | CLFLUSHOPT)), Some("CLFLUSH"));
            assert_eq!(choose(!CLFLUSH, !(CLWB | CLFLUSHOPT)), None);
        }

        #[test]
        fn an_invalidation_never_leaves_the_line_in_the_cache() {
            let choose = |edx, ebx7| X86Flush::from_cpuid(8 << 8, edx, ebx7).map(|flush| flush.invalidating);
            assert_eq!(choose(CLFLUSH, CLWB | CLFLUSHOPT), Some(Instruction::Clflushopt));
            assert_eq!(choose(CLFLUSH, CLWB), Some(Instruction::Clflush));
            assert_eq!(choose(0, CLFLUSHOPT), Some(Instruction::Clflushopt));
            assert_eq!(choose(CLFLUSH, 0), Some(Instruction::Clflush));
        }

        #[test]
        fn invalidated_bytes_keep_what_was_stored() {
            let flush = X86Flush::detect().expect("every x86_64 has CLFLUSH");
            let buffer = vec![7_u8; 1000];
            // SAFETY: the buffer is mapped.
            let lines = unsafe { flush.invalidate(NonNull::from(&buffer[0]), buffer.len()) };
            flush.fence();
            assert!(lines >= buffer.len() / flush.line_size());
            assert!(buffer.iter().all(|byte| *byte == 7));
        }

        #[test]
        fn the_line_size_is_in_eights() {
            let line = |ebx| X86Flush::from_cpuid(ebx, CLFLUSH, 0).map(|flush| flush.line_size());
            assert_eq!(line(0xffff_08ff), Some(64));
            assert_eq!(line(16 << 8), Some(128));
            assert_eq!(line(0xffff_00ff), None);
            assert_eq!(line(3 << 8), None);
        }

        #[test]
        fn real_instructions_on_a_real_buffer() {
            let flush = X86Flush::detect().expect("every x86_64 has CLFLUSH");
            let flusher = Flusher::new(flush);
            let buffer: vec::Vec<u8> = (0..=255).cycle().take(3 * 4096).collect();
            flusher.write_back_value(&buffer[..]);
            flusher.fence();
            let least = buffer.len() / flush.line_size();
            let counts = flusher.counts();
            assert_eq!(counts.pages, 3);
            assert!((least..=least + 1).contains(&counts.lines), "{counts:?}");
            assert!(buffer.iter().zip((0..=255).cycle()).all(|(byte, expected)| *byte == expected));
            // Each instruction that is older than the one detected is there too.
            let older = match flush.instruction {
                Instruction::Clwb => &[Instruction::Clflushopt, Instruction::Clflush][..],
                Instruction::Clflushopt => &[Instruction::Clflush],
                Instruction::Clflush => &[],
            };
            for instruction in older {
                let flusher = Flusher::new(X86Flush { instruction: *instruction, ..flush });
                flusher.write_back_value(&buffer[1..2]);
                flusher.fence();
                assert_eq!(flusher.counts().lines, 1);
            }
        }
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64 {
    use core::arch::asm;
    use core::ptr::NonNull;

    use super::{CacheFlush, lines};

    /// DC CVAP (to the point of persistence) where the processor has it, else DC CVAC (to the point of coherency).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ArmFlush {
        persistence: bool,
        line: usize,
    }

    impl ArmFlush {
        /// Asks the processor: CTR_EL0.DminLine for the line size, ID_AA64ISAR1_EL1.DPB for DC CVAP.
        ///
        /// # Safety
        /// The caller runs at exception level 1 or higher, now and whenever it flushes, so that neither the registers
        /// nor the instructions trap.
        #[must_use]
        pub unsafe fn detect() -> Self {
            let (ctr, isar1): (u64, u64);
            // SAFETY: reading an identification register has no effect; the level allows it.
            unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) }
            // SAFETY: as above.
            unsafe { asm!("mrs {}, id_aa64isar1_el1", out(reg) isar1, options(nomem, nostack, preserves_flags)) }
            // DminLine, bits 19:16, is log2 of the smallest line in words of 4 bytes; DPB is bits 3:0.
            Self { persistence: isar1 & 0xf != 0, line: 4 << ((ctr >> 16) & 0xf) }
        }

        /// Whether lines go to the point of persistence.
        #[must_use]
        pub const fn reaches_persistence(&self) -> bool {
            self.persistence
        }
    }

    impl CacheFlush for ArmFlush {
        fn line_size(&self) -> usize {
            self.line
        }

        unsafe fn write_back(&self, start: NonNull<u8>, len: usize) -> usize {
            let lines = lines(start.as_ptr() as usize, len, self.line);
            let count = lines.len();
            for line in lines {
                if self.persistence {
                    // SAFETY: this is DC CVAP, which detection found, written as the system instruction it is so that
                    // every assembler takes it. It changes no memory and no flags, and faults only as a load of the
                    // line would.
                    unsafe { asm!("sys #3, c7, c12, #1, {}", in(reg) line, options(nostack, preserves_flags)) }
                } else {
                    // SAFETY: as above, for an instruction that every processor has.
                    unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) }
                }
            }
            count
        }

        unsafe fn invalidate(&self, start: NonNull<u8>, len: usize) -> usize {
            let lines = lines(start.as_ptr() as usize, len, self.line);
            let count = lines.len();
            for line in lines {
                // Cleaned first, so that no store of this host is lost.
                // SAFETY: as above, for an instruction that every processor has.
                unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) }
            }
            count
        }

        fn fence(&self) {
            // SAFETY: a barrier touches no memory, no register and no flag.
            unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lines_of_a_range() {
        let of = |start, len, line| lines(start, len, line).collect::<Vec<_>>();
        assert_eq!(of(0x100, 0, 64), []);
        assert_eq!(of(0x100, 1, 64), [0x100]);
        assert_eq!(of(0x13f, 1, 64), [0x100]);
        assert_eq!(of(0x13f, 2, 64), [0x100, 0x140]);
        assert_eq!(of(0x100, 128, 64), [0x100, 0x140]);
        assert_eq!(of(0x101, 128, 64), [0x100, 0x140, 0x180]);
        assert_eq!(lines(0x1000, 4096, 64).len(), 64);
    }

    #[test]
    fn no_flush_counts_no_line() {
        let flusher = Flusher::new(NoFlush);
        flusher.write_back_value(&[0u8; 100]);
        flusher.fence();
        assert_eq!(flusher.counts(), FlushCounts { pages: 1, lines: 0 });
    }
}
