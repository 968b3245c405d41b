//! Memory for the device: every block a heap block of its own, by addresses that have nothing to do with where it lies.
#![expect(unsafe_code, reason = "memory for devices is unsafe to give, and copied through raw pointers")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_fs::{DmaDirection, DmaMemory, PAGE_SIZE, PhysAddr};

use crate::{lock, rules};

/// The first block's address.
const BASE: u64 = 0x1_8000_0000;

struct Block {
    pointer: NonNull<u8>,
    pages: usize,
    /// The device knows of it, and was not reset since.
    shown: bool,
}

#[derive(Default)]
struct State {
    blocks: BTreeMap<u64, Block>,
    next: u64,
    used: usize,
    peak: usize,
}

// SAFETY: the blocks are memory that belongs to no thread, and the state is reached under a lock.
unsafe impl Send for State {}

/// See the module. Clones are the same memory.
#[derive(Clone, Default)]
pub(crate) struct Ram {
    state: Arc<Mutex<State>>,
    /// How many more blocks there are, if that is limited.
    scarce: Arc<Mutex<Option<u32>>>,
}

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}

impl Ram {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets there be only so many blocks more.
    pub(crate) fn limit(&self, blocks: Option<u32>) {
        *self.scarce.lock().unwrap_or_else(PoisonError::into_inner) = blocks;
    }

    /// Notes that the device knows of the block with this address.
    pub(crate) fn show(&self, paddr: PhysAddr) {
        if let Some((_, block)) = self.state().blocks.range_mut(..=paddr).next_back() {
            block.shown = true;
        }
    }

    /// Notes that the device was reset: it knows of nothing.
    pub(crate) fn hide_all(&self) {
        self.state().blocks.values_mut().for_each(|block| block.shown = false);
    }

    /// The most that was allocated at a time, in bytes.
    pub(crate) fn peak(&self) -> usize {
        self.state().peak
    }

    /// The number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.state().blocks.len()
    }

    /// A block by its number, with its length.
    pub(crate) fn block(&self, number: usize) -> Option<(PhysAddr, usize)> {
        self.state().blocks.iter().nth(number).map(|(paddr, block)| (*paddr, block.pages * PAGE_SIZE))
    }

    /// Copies out of memory; false if there is none.
    pub(crate) fn read(&self, paddr: PhysAddr, to: &mut [u8]) -> bool {
        let state = self.state();
        let len = to.len();
        let Some(from) = place(&state, paddr, len) else { return false };
        // SAFETY: `place` found so many bytes of a block; a private slice does not overlap it.
        unsafe { from.copy_to_nonoverlapping(NonNull::from(to).cast(), len) };
        true
    }

    /// Copies into memory; false if there is none.
    pub(crate) fn write(&self, paddr: PhysAddr, from: &[u8]) -> bool {
        let state = self.state();
        let Some(to) = place(&state, paddr, from.len()) else { return false };
        // SAFETY: `place` found so many bytes of a block; a private slice does not overlap it.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
        true
    }
}

impl std::fmt::Debug for Ram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ram").field("blocks", &self.len()).finish_non_exhaustive()
    }
}

/// Where so many bytes are, if they are in one block.
fn place(state: &State, paddr: PhysAddr, len: usize) -> Option<NonNull<u8>> {
    let (start, block) = state.blocks.range(..=paddr).next_back()?;
    let offset = usize::try_from(paddr - start).ok()?;
    let inside = offset.checked_add(len)? <= block.pages * PAGE_SIZE;
    // SAFETY: the offset is inside the block.
    inside.then(|| unsafe { block.pointer.add(offset) })
}

// SAFETY: every block is zeroed, starts on a page, and is nobody else's until it is freed.
unsafe impl DmaMemory for Ram {
    fn allocate(&self, pages: usize, _: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
        lock::embedder("DmaMemory::allocate");
        if let Some(left) = &mut *self.scarce.lock().unwrap_or_else(PoisonError::into_inner) {
            *left = left.checked_sub(1)?;
        }
        let layout = layout(pages).filter(|layout| layout.size() > 0 && layout.size() < 1 << 30)?;
        // SAFETY: the layout has a size.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let mut state = self.state();
        let paddr = BASE + state.next;
        // A page apart: what lies between two blocks is nobody's.
        state.next += layout.size() as u64 + PAGE_SIZE as u64;
        state.blocks.insert(paddr, Block { pointer, pages, shown: false });
        state.used += layout.size();
        state.peak = state.peak.max(state.used);
        Some((paddr, pointer))
    }

    unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
        lock::embedder("DmaMemory::free");
        let mut state = self.state();
        let block = state.blocks.remove(&paddr).filter(|block| block.pointer == vaddr && block.pages == pages);
        let (Some(block), Some(layout)) = (block, layout(pages)) else {
            rules::broken(|| format!("{pages} pages at {paddr:#x} are freed, which are no block"));
            return;
        };
        if block.shown {
            rules::broken(|| format!("{pages} pages at {paddr:#x} are freed while the device may reach them"));
        }
        state.used -= layout.size();
        // SAFETY: allocated with this layout, and taken out of the table just now.
        unsafe { dealloc(block.pointer.as_ptr(), layout) };
    }

    unsafe fn map_mmio(&self, _: PhysAddr, _: usize) -> Option<NonNull<u8>> {
        None
    }
}

impl Ram {
    /// Frees what the driver has left to a device that did not stop. Nobody may be left who knows of it.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        for block in std::mem::take(&mut state.blocks).into_values() {
            if let Some(layout) = layout(block.pages) {
                // SAFETY: allocated with this layout, and taken out of the table just now.
                unsafe { dealloc(block.pointer.as_ptr(), layout) };
            }
        }
    }
}
