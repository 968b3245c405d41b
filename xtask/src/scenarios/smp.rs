//! Several processors.

mod coherence;
mod stress;

pub(crate) use coherence::coherence;
pub(crate) use stress::stress;
