//! x86_64: descriptor tables, traps, interrupt controllers, ports, time, further processors.

pub(crate) mod apic;
pub(crate) mod clock;
pub(crate) mod copy;
pub(crate) mod cpu;
pub(crate) mod frame;
pub(crate) mod gdt;
pub(crate) mod ioapic;
mod mem;
pub(crate) mod port;
pub(crate) mod smp;
pub(crate) mod startup;
pub(crate) mod traps;
pub(crate) mod user;
pub(crate) mod vectors;
