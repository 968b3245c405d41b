//! Memory that the device may read and write.
//!
//! The only module that turns DMA memory into bytes. Nothing here hands out a reference to such memory: a hostile
//! device can change it at any time, so bytes are copied in and out.
#![expect(unsafe_code, reason = "copies to and from DMA memory go through raw pointers")]

use alloc::vec::Vec;
use core::ptr::NonNull;

use virtio_transport::{DmaDirection, PAGE_SIZE, PhysAddr};

use crate::dma_memory::Memory;

/// What buffers are aligned to: descriptors want it (virtio 1.3, 2.7).
pub(crate) const BUFFER_ALIGN: usize = 16;

/// DMA memory as the embedder gave it, owned and freed by whoever holds it.
///
/// It can be leaked on purpose: memory of a device that did not stop is never freed.
pub(crate) struct DmaRegion {
    paddr: PhysAddr,
    vaddr: NonNull<u8>,
    pages: usize,
    memory: Memory,
    /// Bytes at its start that belong to buffers.
    given: usize,
}

// SAFETY: the region is plain memory that belongs to no thread; access to it goes through `DmaBuf`s, each of which covers
// bytes of its own.
unsafe impl Send for DmaRegion {}
// SAFETY: a shared reference gives out addresses only.
unsafe impl Sync for DmaRegion {}

impl DmaRegion {
    /// Allocates zeroed memory, contiguous for the device, of at least `len` bytes (not 0). `None` when there is no such
    /// memory.
    pub(crate) fn new(memory: &Memory, len: usize, direction: DmaDirection) -> Option<Self> {
        let pages = len.div_ceil(PAGE_SIZE);
        if pages == 0 {
            return None;
        }
        let (paddr, vaddr) = memory.allocate(pages, direction)?;
        Some(Self { paddr, vaddr, pages, memory: memory.clone(), given: 0 })
    }

    /// The next `len` bytes that were not given out yet, starting at a multiple of 16, as a buffer of their own. `None` when
    /// there are no more.
    pub(crate) fn take(&mut self, len: usize) -> Option<DmaBuf> {
        let offset = self.given.checked_next_multiple_of(BUFFER_ALIGN)?;
        let end = offset.checked_add(len)?;
        if end > self.pages * PAGE_SIZE {
            return None;
        }
        self.given = end;
        // SAFETY: offset <= end <= pages * PAGE_SIZE: the pointer stays inside the allocation.
        let ptr = unsafe { self.vaddr.add(offset) };
        Some(DmaBuf { ptr, paddr: self.paddr + offset as u64, len })
    }

    /// Allocates `count` consecutive buffers of `len` bytes each (not 0). The first starts on a page. `None` when there is
    /// no such memory.
    pub(crate) fn carve(
        memory: &Memory,
        len: usize,
        count: usize,
        direction: DmaDirection,
    ) -> Option<(Vec<DmaBuf>, Self)> {
        let total = len.checked_next_multiple_of(BUFFER_ALIGN)?.checked_mul(count)?;
        let mut region = Self::new(memory, total, direction)?;
        let buffers = (0..count).map(|_| region.take(len)).collect::<Option<_>>()?;
        Some((buffers, region))
    }

    /// Allocates one buffer of `len` bytes, starting on a page.
    pub(crate) fn single(memory: &Memory, len: usize, direction: DmaDirection) -> Option<(DmaBuf, Self)> {
        let mut region = Self::new(memory, len, direction)?;
        Some((region.take(len)?, region))
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        // SAFETY: paddr, vaddr and pages are those that `allocate` of the same memory returned; the region is freed once,
        // here, after the device has let go of it.
        unsafe { self.memory.free(self.paddr, self.vaddr, self.pages) };
    }
}

/// A piece of DMA memory that one owner reads and writes by copying.
///
/// Its memory stays valid as long as the [`DmaRegion`] that it was carved from; the channel that holds both drops the
/// buffers no later than the region.
#[derive(Debug)]
pub(crate) struct DmaBuf {
    ptr: NonNull<u8>,
    paddr: PhysAddr,
    len: usize,
}

// SAFETY: a `DmaBuf` is the only handle to its bytes and is not tied to a thread.
unsafe impl Send for DmaBuf {}

impl DmaBuf {
    /// Address of the first byte as the device sees it.
    pub(crate) fn paddr(&self) -> PhysAddr {
        self.paddr
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies as much of `bytes` as fits to `offset`; returns the number of bytes copied.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.len.saturating_sub(offset));
        if count > 0 {
            // SAFETY: offset < len here, so the pointer stays inside the buffer.
            let to = unsafe { self.ptr.add(offset) };
            // SAFETY: `count` bytes from `to` lie inside the buffer; a private slice cannot overlap DMA memory.
            unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), count) };
        }
        count
    }

    /// Copies a few bytes to `offset`. The ring's layout keeps them inside the buffer.
    pub(crate) fn write_array<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) {
        assert!(offset.checked_add(N).is_some_and(|end| end <= self.len), "ring entry outside its area");
        // SAFETY: the assertion keeps the bytes inside the buffer.
        let to = unsafe { self.ptr.add(offset) };
        // SAFETY: `N` bytes from `to` lie inside the buffer, which nobody of the driver writes meanwhile; an array of bytes has no
        // alignment.
        unsafe { to.cast::<[u8; N]>().write(bytes) };
    }

    /// Copies a few bytes out. The ring's layout keeps them inside the buffer.
    pub(crate) fn read_array<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset.checked_add(N).is_some_and(|end| end <= self.len), "ring entry outside its area");
        // SAFETY: the assertion keeps the bytes inside the buffer.
        let from = unsafe { self.ptr.add(offset) };
        // SAFETY: `N` bytes from `from` lie inside the buffer; any bytes are an array of bytes, which has no alignment. What the
        // device writes meanwhile may or may not be seen, as in `read`.
        unsafe { from.cast::<[u8; N]>().read() }
    }

    /// Copies bytes from `offset` into `bytes`, as many as there are; returns the number of bytes copied.
    ///
    /// What the device writes meanwhile may or may not be seen: the copy is what counts from then on.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.len.saturating_sub(offset));
        if count > 0 {
            // SAFETY: offset < len here, so the pointer stays inside the buffer.
            let from = unsafe { self.ptr.add(offset) };
            // SAFETY: `count` bytes at `from` lie inside the buffer; a private slice cannot overlap DMA memory.
            unsafe { from.copy_to_nonoverlapping(NonNull::from(bytes).cast(), count) };
        }
        count
    }
}

/// Little-endian words of DMA memory that both sides read and write while the queue runs.
impl DmaBuf {
    /// Loads the u16 at `offset`. The ring's layout keeps `offset` even and inside the buffer.
    pub(crate) fn load_u16(&self, offset: usize, order: core::sync::atomic::Ordering) -> u16 {
        u16::from_le(self.atomic_u16(offset).load(order))
    }

    /// Stores the u16 at `offset`. The ring's layout keeps `offset` even and inside the buffer.
    pub(crate) fn store_u16(&self, offset: usize, value: u16, order: core::sync::atomic::Ordering) {
        self.atomic_u16(offset).store(value.to_le(), order);
    }

    fn atomic_u16(&self, offset: usize) -> &core::sync::atomic::AtomicU16 {
        assert!(offset.is_multiple_of(2) && offset + 2 <= self.len, "ring word outside its area");
        // SAFETY: the assertion keeps the word inside the buffer.
        let ptr = unsafe { self.ptr.add(offset) };
        // SAFETY: the word is inside the buffer, aligned (buffers of rings start on a page), lives as long as the
        // borrow, and is only ever accessed atomically while the device can reach it.
        unsafe { core::sync::atomic::AtomicU16::from_ptr(ptr.as_ptr().cast()) }
    }
}
