//! The registers of what was interrupted.

use core::fmt;

/// What was interrupted.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct TrapFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    /// Number of the exception or interrupt.
    pub(crate) vector: u64,
    /// Error code of the exception, or 0.
    pub(crate) error: u64,
    /// Where it happened, and where it goes on.
    pub(crate) rip: u64,
    cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    ss: u64,
}

impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}", self.rax, self.rbx, self.rcx, self.rdx)?;
        writeln!(f, "rsi {:016x}  rdi {:016x}  rbp {:016x}  rsp {:016x}", self.rsi, self.rdi, self.rbp, self.rsp)?;
        writeln!(f, "r8  {:016x}  r9  {:016x}  r10 {:016x}  r11 {:016x}", self.r8, self.r9, self.r10, self.r11)?;
        writeln!(f, "r12 {:016x}  r13 {:016x}  r14 {:016x}  r15 {:016x}", self.r12, self.r13, self.r14, self.r15)?;
        write!(f, "rip {:016x}  rflags {:08x}  cs {:x}  ss {:x}", self.rip, self.rflags, self.cs, self.ss)
    }
}
