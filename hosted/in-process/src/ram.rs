//! The guest's memory as rust-vmm's devices see it.
#![expect(unsafe_code, reason = "a mapping is lent to another crate by pointer")]

use anyhow::{Context as _, Result};
use transport_vhost_user::GuestMemory;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// The same bytes as `memory`, which must live as long: the caller leaks a handle on it.
pub(super) fn of(memory: &GuestMemory) -> Result<GuestMemoryMmap> {
    // A device in this process never ends before it.
    std::mem::forget(memory.clone());
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: the mapping is readable and writable, has this size, and was just made to live as long as the process.
    let region = unsafe { MmapRegion::build_raw(memory.start().as_ptr(), memory.size(), prot, flags) };
    let region = region.context("the guest's memory is no region")?;
    let region = GuestRegionMmap::new(region, GuestAddress(memory.guest_address()));
    GuestMemoryMmap::from_regions(vec![region.context("the guest's memory has no end")?]).context("no guest memory")
}
