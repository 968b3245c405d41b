//! The kernel's own machinery: what the scenarios with files stand on.

mod copy;
mod faults;

pub(crate) use copy::copy;
pub(crate) use faults::faults_resume;
