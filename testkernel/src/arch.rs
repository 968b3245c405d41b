//! The processor and what belongs to it: descriptor tables, traps, interrupt controllers, ports, time.

pub(crate) mod apic;
pub(crate) mod clock;
pub(crate) mod copy;
pub(crate) mod cpu;
pub(crate) mod gdt;
pub(crate) mod ioapic;
mod mem;
pub(crate) mod port;
pub(crate) mod smp;
pub(crate) mod traps;
pub(crate) mod user;
