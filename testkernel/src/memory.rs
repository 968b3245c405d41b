//! Physical frames, page tables and the heap.
//!
//! Physical and virtual addresses are the same for everything that the kernel itself touches: RAM, device registers and
//! the DAX window, up to the top of the lower half. Address spaces of programs would begin above that.

pub(crate) mod frames;
pub(crate) mod heap;
pub(crate) mod layout;
pub(crate) mod paging;

/// Bytes of the smallest page.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a large page.
pub(crate) const LARGE_PAGE: u64 = 2 << 20;
