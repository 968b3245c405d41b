//! Physical frames, page tables and the heap.
//!
//! Physical and virtual addresses are the same for everything that the kernel itself touches: RAM, device registers and
//! the DAX window. What an address space has of its own begins above that.

#[cfg(target_os = "none")]
pub(crate) mod address_space;
mod bits;
#[cfg(target_os = "none")]
pub(crate) mod frames;
#[cfg(target_os = "none")]
pub(crate) mod heap;
#[cfg(target_os = "none")]
pub(crate) mod layout;
#[cfg(target_os = "none")]
pub(crate) mod paging;

/// Bytes of the smallest page.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a large page.
#[cfg(target_os = "none")]
pub(crate) const LARGE_PAGE: u64 = 2 << 20;

/// A range of physical addresses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PhysRange {
    /// First address.
    pub(crate) start: u64,
    /// One past the last address.
    pub(crate) end: u64,
}
