//! Guest RAM: one piece of the process's memory, from which every test's driver allocates.
//!
//! It punishes mistakes. A block that was given back is filled with a pattern, and so is a page on both sides of every
//! block; the patterns are checked when the test ends, so a device that writes to memory that the driver has freed, or
//! beyond what it was given, is found out. What the driver has not given back by then is found out too.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use virtio_fs::{DmaDirection, DmaMemory, PAGE_SIZE, PhysAddr};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion};

use super::lock;

const SIZE: usize = 1 << 30;
/// Guest-physical address of the RAM for [`UnrelatedMemory`]: has nothing to do with where it lies in the process.
const BASE: u64 = 0x1_8000_0000;
const FREED: u8 = 0xdb;
const GUARD: u8 = 0xa5;

struct Block {
    pages: usize,
    owner: u64,
    freed: bool,
}

#[derive(Default)]
struct State {
    /// Where memory begins that was never used.
    next: usize,
    /// By offset in the RAM.
    blocks: BTreeMap<usize, Block>,
    /// Checked and ready to be used again: pages to offsets.
    spare: BTreeMap<usize, Vec<usize>>,
}

struct Ram {
    host: usize,
    state: Mutex<State>,
}

static RAM: LazyLock<Ram> = LazyLock::new(|| {
    let (prot, flags) = PROTECTION;
    // SAFETY: an anonymous mapping at an address of the kernel's choice takes nobody's place.
    let host = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, prot, flags, -1, 0) };
    assert_ne!(host, libc::MAP_FAILED, "guest RAM");
    Ram { host: host.expose_provenance(), state: Mutex::default() }
});

const PROTECTION: (i32, i32) =
    (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);

/// The RAM as devices see it: at the addresses of [`UnrelatedMemory`] and at those of [`IdentityMemory`].
pub(crate) fn memory() -> GuestMemoryMmap {
    let (prot, flags) = PROTECTION;
    let host = RAM.host;
    let regions = [BASE, host as u64].map(|base| {
        let start = std::ptr::with_exposed_provenance_mut(host);
        // SAFETY: the mapping exists for as long as the process.
        let region = unsafe { MmapRegion::build_raw(start, SIZE, prot, flags) }.expect("a mapped region");
        GuestRegionMmap::new(region, GuestAddress(base)).expect("no overflow")
    });
    let mut regions = Vec::from(regions);
    regions.sort_by_key(GuestMemoryRegion::start_addr);
    GuestMemoryMmap::from_regions(regions).expect("regions do not overlap")
}

thread_local! {
    static OWNER: Cell<u64> = const { Cell::new(0) };
}

/// Whoever answers for allocations of this thread from its creation to its next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        OWNER.set(id);
        Self(id)
    }

    /// How many pages it has not given back.
    pub(crate) fn pages(self) -> usize {
        let state = lock(&RAM.state);
        state.blocks.values().filter(|block| block.owner == self.0 && !block.freed).map(|block| block.pages).sum()
    }

    /// Checks all that was given back, and makes it ready for others. Returns what was found.
    pub(crate) fn check(self) -> Vec<String> {
        let mut state = lock(&RAM.state);
        let state = &mut *state;
        let mut found = Vec::new();
        for (&offset, block) in state.blocks.iter().filter(|(_, block)| block.owner == self.0) {
            let len = block.pages * PAGE_SIZE;
            found.extend(check(offset - PAGE_SIZE, PAGE_SIZE, GUARD, "the page before a block"));
            found.extend(check(offset + len, PAGE_SIZE, GUARD, "the page after a block"));
            if block.freed {
                found.extend(check(offset, len, FREED, "memory that was freed"));
            }
        }
        state.blocks.retain(|&offset, block| {
            let done = block.owner == self.0 && block.freed;
            if done {
                state.spare.entry(block.pages).or_default().push(offset);
            }
            !done
        });
        found
    }
}

/// Whether the `len` bytes at this guest-physical address lie in one block that is in use.
pub(crate) fn in_use(address: u64, len: usize) -> bool {
    let offset = match address.checked_sub(BASE) {
        Some(offset) if offset < SIZE as u64 => offset as usize,
        _ => match address.checked_sub(RAM.host as u64) {
            Some(offset) if offset < SIZE as u64 => offset as usize,
            _ => return false,
        },
    };
    let state = lock(&RAM.state);
    let Some((&start, block)) = state.blocks.range(..=offset).next_back() else { return false };
    !block.freed && offset + len <= start + block.pages * PAGE_SIZE
}

fn host(offset: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(RAM.host + offset)
}

fn fill(offset: usize, len: usize, value: u8) {
    // SAFETY: offsets and lengths of blocks and of the pages around them lie inside the RAM.
    unsafe { host(offset).write_bytes(value, len) };
}

fn check(offset: usize, len: usize, value: u8, what: &str) -> Option<String> {
    // SAFETY: as in `fill`; a device that still writes here makes this a race, which is the mistake to be found.
    let bytes = unsafe { std::slice::from_raw_parts(host(offset), len) };
    let at = bytes.iter().position(|&byte| byte != value)?;
    let shown = &bytes[at..len.min(at + 16)];
    Some(format!("{what} was written to, at {at:#x} of {len:#x}: {shown:02x?}"))
}

fn allocate(pages: usize) -> usize {
    let mut state = lock(&RAM.state);
    let spare = state.spare.get_mut(&pages).and_then(Vec::pop);
    let offset = spare.unwrap_or_else(|| {
        // The pages around it are its own: what is found there is its owner's doing.
        let offset = state.next + PAGE_SIZE;
        state.next = offset + (pages + 1) * PAGE_SIZE;
        assert!(state.next <= SIZE, "guest RAM is used up");
        offset
    });
    fill(offset - PAGE_SIZE, PAGE_SIZE, GUARD);
    fill(offset + pages * PAGE_SIZE, PAGE_SIZE, GUARD);
    fill(offset, pages * PAGE_SIZE, 0);
    state.blocks.insert(offset, Block { pages, owner: OWNER.get(), freed: false });
    offset
}

fn release(offset: usize, pages: usize) {
    let mut state = lock(&RAM.state);
    let block = state.blocks.get_mut(&offset).expect("freed memory was never allocated");
    assert!(!block.freed, "memory freed twice");
    assert_eq!(block.pages, pages, "freed with another length");
    block.freed = true;
    fill(offset, pages * PAGE_SIZE, FREED);
}

/// Guest-physical addresses that have nothing to do with virtual ones.
#[derive(Debug)]
pub(crate) struct UnrelatedMemory;

/// Guest-physical addresses equal to virtual ones.
#[derive(Debug)]
pub(crate) struct IdentityMemory;

macro_rules! memory {
    ($name:ident, $base:expr) => {
        // SAFETY: blocks are zeroed, aligned to pages, and nobody else's until they are given back.
        unsafe impl DmaMemory for $name {
            fn allocate(&self, pages: usize, _: DmaDirection) -> Option<(PhysAddr, NonNull<u8>)> {
                let offset = allocate(pages);
                Some(($base + offset as u64, NonNull::new(host(offset)).expect("RAM is not at 0")))
            }

            unsafe fn free(&self, paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) {
                let offset = vaddr.as_ptr().expose_provenance() - RAM.host;
                assert_eq!(paddr, $base + offset as u64, "the two addresses do not belong together");
                release(offset, pages);
            }

            unsafe fn map_mmio(&self, _: PhysAddr, _: usize) -> Option<NonNull<u8>> {
                panic!("nothing here is mapped by the driver")
            }
        }
    };
}

memory!(UnrelatedMemory, BASE);
memory!(IdentityMemory, RAM.host as u64);

#[test]
fn a_write_after_free_is_found_out() {
    let owner = Owner::new();
    let (paddr, vaddr) = UnrelatedMemory.allocate(2, DmaDirection::Both).unwrap();
    assert_eq!(owner.pages(), 2);
    assert!(in_use(paddr, 2 * PAGE_SIZE) && !in_use(paddr, 2 * PAGE_SIZE + 1) && !in_use(paddr - 1, 1));
    // SAFETY: just allocated.
    unsafe { UnrelatedMemory.free(paddr, vaddr, 2) };
    assert!(!in_use(paddr, 1));
    // SAFETY: the place is in the block that was allocated.
    let place = unsafe { vaddr.add(17) };
    // SAFETY: the RAM exists for as long as the process; nobody else has got this part yet.
    unsafe { place.write(1) };
    assert_eq!(owner.check().len(), 1);
    assert_eq!(owner.pages(), 0);
}

#[test]
fn a_write_beyond_a_block_is_found_out() {
    let owner = Owner::new();
    let (paddr, vaddr) = IdentityMemory.allocate(1, DmaDirection::Both).unwrap();
    assert_eq!(paddr, vaddr.as_ptr().expose_provenance() as u64);
    // SAFETY: the page after a block is in the RAM too.
    let place = unsafe { vaddr.add(PAGE_SIZE) };
    // SAFETY: it is the RAM's own.
    unsafe { place.write(1) };
    // SAFETY: just allocated.
    unsafe { IdentityMemory.free(paddr, vaddr, 1) };
    assert_eq!(owner.check().len(), 1);
}
