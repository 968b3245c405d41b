//! The atomics that readers and the window meet on, in one place so that the proof can put its own there.

pub(crate) use core::sync::atomic::{AtomicU32, Ordering};

/// Orders everything before it with everything after it, for tools that take sequentially consistent accesses for less. Nothing
/// here: the accesses on both of its sides are sequentially consistent already.
#[inline]
pub(crate) fn full_fence() {}
