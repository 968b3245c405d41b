//! Several processors.

mod stress;

pub(crate) use stress::stress;
