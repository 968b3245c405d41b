//! The processor and what belongs to it. Each architecture is a folder; the rest of the kernel names none.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86_64::*;
