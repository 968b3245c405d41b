//! Memory that several hosts share.

use fs_dax::{DeviceOffset, Error, PhysAddr, WindowMemory};

/// Memory that several hosts share, each through caches of its own.
///
/// Copies are [`WindowMemory`]'s. A store reaches other hosts for certain after [`write_back`](Self::write_back) and
/// [`fence`](Self::fence); a load sees other hosts' stores for certain after [`invalidate`](Self::invalidate). Where
/// the hardware keeps caches coherent the three need do nothing but order.
pub trait SharedMemory: WindowMemory {
    /// Loads the little-endian number at `offset`, a multiple of 8, in one access. Later loads come after it.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`], [`Error::Unaligned`].
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error>;

    /// Stores a little-endian number at `offset`, a multiple of 8, in one access. Earlier stores come before it.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`], [`Error::Unaligned`].
    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error>;

    /// Starts writing back every cache line that holds some of the `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`].
    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error>;

    /// Drops every clean cache line that holds some of the `len` bytes at `offset`, so that the next load sees the
    /// memory. Lines that this host has stored to are written back first.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`].
    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error>;

    /// Waits until what was started is complete, ordered before all later accesses.
    fn fence(&self);

    /// The physical address of the `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`]; [`Error::Platform`] if the memory has no addresses that page tables could show.
    fn phys(&self, offset: DeviceOffset, len: u64) -> Result<PhysAddr, Error>;

    /// Whether stores reach the memory.
    fn is_writable(&self) -> bool;
}
