//! Several processors.

mod stress;
mod worker;

pub(crate) use stress::stress;
