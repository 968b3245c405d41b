//! Several processors.

mod coherence;
mod model;
mod stress;
mod worker;

pub(crate) use coherence::coherence;
pub(crate) use stress::stress;
