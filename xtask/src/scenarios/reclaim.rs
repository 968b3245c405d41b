//! Windows that are smaller than what is read through them.

mod policy;
mod small_window;

pub(crate) use policy::{background, guard, read_ahead};
pub(crate) use small_window::small_window;
