//! I/O ports that can be written or read without harm to memory.

use core::arch::asm;

/// Writes bytes to a port, one after another.
pub(crate) fn write_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: the instruction reads `bytes` and nothing else; no port used here can make a device write to memory.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
             options(nostack, readonly, preserves_flags));
    }
}

/// Writes a byte to a port.
pub(crate) fn write_u8(port: u16, value: u8) {
    // SAFETY: touches no memory; see the module.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, nomem, preserves_flags)) };
}

/// Reads a byte from a port.
pub(crate) fn read_u8(port: u16) -> u8 {
    let value;
    // SAFETY: touches no memory; see the module.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, nomem, preserves_flags)) };
    value
}

/// Writes a 32-bit word to a port.
pub(crate) fn write_u32(port: u16, value: u32) {
    // SAFETY: touches no memory itself; what configuration space lets devices do is the PCI module's matter.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, nomem, preserves_flags)) };
}

/// Reads a 32-bit word from a port.
pub(crate) fn read_u32(port: u16) -> u32 {
    let value;
    // SAFETY: touches no memory; see the module.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, nomem, preserves_flags)) };
    value
}

/// Writes a 16-bit word to a port.
pub(crate) fn write_u16(port: u16, value: u16) {
    // SAFETY: touches no memory; see the module.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, nomem, preserves_flags)) };
}
