//! Copying memory: several ways, since which is the fastest depends on who executes it. Under emulation a loop of 8 bytes is
//! several times as fast as string instructions and SSE; on hardware it is the other way round.

use core::arch::{asm, x86_64::__cpuid};
use spin::Once;

/// What QEMU's emulation calls itself in CPUID leaf 0x4000_0000: EBX, ECX and EDX all hold these four letters.
const EMULATOR: u32 = u32::from_le_bytes(*b"TCGT");
/// The leaf, which hypervisors only have.
const HYPERVISOR: u32 = 0x4000_0000;

/// A way to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// `rep movsb`.
    Bytes,
    /// `rep movsq`, then the rest in bytes.
    Quads,
    /// A loop over four 8-byte registers, then the rest in ever smaller steps.
    Registers,
    /// A loop over eight SSE registers, then the rest in ever smaller steps.
    Sse,
}

impl Copy {
    /// Every way.
    pub(crate) const ALL: [Self; 4] = [Self::Bytes, Self::Quads, Self::Registers, Self::Sse];

    /// The one that is the fastest on this machine and that interrupts may use, too.
    pub(crate) fn best() -> Self {
        static BEST: Once<Copy> = Once::new();
        *BEST.call_once(|| if __cpuid(HYPERVISOR).ebx == EMULATOR { Self::Registers } else { Self::Bytes })
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "rep movsb",
            Self::Quads => "rep movsq",
            Self::Registers => "registers",
            Self::Sse => "sse",
        }
    }

    /// Copies `len` bytes.
    ///
    /// # Safety
    /// `from` must be readable and `to` writable for `len` bytes, and they must not overlap. [`Self::Sse`] overwrites the
    /// first eight SSE registers, which nothing else in this kernel uses: it must not run in an interrupt.
    pub(crate) unsafe fn copy(self, from: *const u8, to: *mut u8, len: usize) {
        match self {
            // SAFETY: the caller's promise.
            Self::Bytes => unsafe { bytes(from, to, len) },
            // SAFETY: the caller's promise.
            Self::Quads => unsafe { quads(from, to, len) },
            // SAFETY: the caller's promise.
            Self::Registers => unsafe { registers(from, to, len) },
            // SAFETY: the caller's promise.
            Self::Sse => unsafe { sse(from, to, len) },
        }
    }
}

unsafe fn bytes(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller promises readable and writable memory; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rsi") from => _, inout("rdi") to => _, inout("rcx") len => _,
             options(nostack, preserves_flags));
    }
}

unsafe fn quads(mut from: *const u8, mut to: *mut u8, len: usize) {
    // SAFETY: as in `bytes`, for the whole quads.
    unsafe {
        asm!("rep movsq", inout("rsi") from, inout("rdi") to, inout("rcx") len / 8 => _,
             options(nostack, preserves_flags));
    }
    // SAFETY: what is left of the caller's memory.
    unsafe { bytes(from, to, len % 8) };
}

unsafe fn registers(mut from: *const u8, mut to: *mut u8, len: usize) {
    if len >= 64 {
        // SAFETY: as in `bytes`, for the whole blocks of 64.
        unsafe {
            asm!(
                "2:",
                "mov {a}, [{from}]",
                "mov {b}, [{from} + 8]",
                "mov {c}, [{from} + 16]",
                "mov {d}, [{from} + 24]",
                "mov [{to}], {a}",
                "mov [{to} + 8], {b}",
                "mov [{to} + 16], {c}",
                "mov [{to} + 24], {d}",
                "mov {a}, [{from} + 32]",
                "mov {b}, [{from} + 40]",
                "mov {c}, [{from} + 48]",
                "mov {d}, [{from} + 56]",
                "mov [{to} + 32], {a}",
                "mov [{to} + 40], {b}",
                "mov [{to} + 48], {c}",
                "mov [{to} + 56], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {n}",
                "jnz 2b",
                from = inout(reg) from, to = inout(reg) to, n = inout(reg) len / 64 => _,
                a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
                options(nostack),
            );
        }
    }
    // SAFETY: what is left of the caller's memory.
    unsafe { small(from, to, len % 64) };
}

unsafe fn sse(mut from: *const u8, mut to: *mut u8, len: usize) {
    if len >= 128 {
        // SAFETY: as in `bytes`, for the whole blocks of 128; the boot code enabled SSE, and code for this target keeps
        // nothing in SSE registers.
        unsafe {
            asm!(
                "2:",
                "movups xmm0, [{from}]",
                "movups xmm1, [{from} + 16]",
                "movups xmm2, [{from} + 32]",
                "movups xmm3, [{from} + 48]",
                "movups xmm4, [{from} + 64]",
                "movups xmm5, [{from} + 80]",
                "movups xmm6, [{from} + 96]",
                "movups xmm7, [{from} + 112]",
                "movups [{to}], xmm0",
                "movups [{to} + 16], xmm1",
                "movups [{to} + 32], xmm2",
                "movups [{to} + 48], xmm3",
                "movups [{to} + 64], xmm4",
                "movups [{to} + 80], xmm5",
                "movups [{to} + 96], xmm6",
                "movups [{to} + 112], xmm7",
                "sub {from}, -128",
                "sub {to}, -128",
                "dec {n}",
                "jnz 2b",
                from = inout(reg) from, to = inout(reg) to, n = inout(reg) len / 128 => _,
                options(nostack),
            );
        }
    }
    // SAFETY: what is left of the caller's memory.
    unsafe { registers(from, to, len % 128) };
}

/// Copies everything in steps of 8 bytes and then 1, with no string instruction.
unsafe fn small(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: as in `bytes`, for everything.
    unsafe {
        asm!(
            "mov {n}, {len}",
            "shr {n}, 3",
            "jz 3f",
            "2:",
            "mov {a}, [{from}]",
            "mov [{to}], {a}",
            "add {from}, 8",
            "add {to}, 8",
            "dec {n}",
            "jnz 2b",
            "3:",
            "and {len}, 7",
            "jz 5f",
            "4:",
            "mov {a:l}, [{from}]",
            "mov [{to}], {a:l}",
            "inc {from}",
            "inc {to}",
            "dec {len}",
            "jnz 4b",
            "5:",
            from = inout(reg) from => _, to = inout(reg) to => _, len = inout(reg) len => _, n = out(reg) _, a = out(reg) _,
            options(nostack),
        );
    }
}
