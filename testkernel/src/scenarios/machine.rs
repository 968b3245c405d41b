//! The kernel's own machinery: what the scenarios with files stand on.

mod copy;
mod faults;
mod x2apic;

pub(crate) use copy::copy;
pub(crate) use faults::faults_resume;
pub(crate) use x2apic::x2apic;
