//! A process: its views of files, and which pages of them are in its page tables.

use super::file::Mapped;
use crate::{
    arch::smp::{self, Remembered},
    memory::{
        PAGE,
        address_space::{Access, AddressSpace},
        frames,
        paging::MapError,
    },
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use fs_dax::{
    Agreed, Area, Errno, FileKey, FileMapping, FileRange, MapFlags, PhysAddr, Sharing, SyncPolicy, UnmapCause,
    VirtAddr, Wanted,
};
use spin::{Mutex, MutexGuard};

/// What a program asks for when it maps a file.
#[derive(Clone)]
pub(crate) struct ViewRequest {
    /// The file, open for as long as the view lives.
    pub(crate) file: Arc<dyn Mapped>,
    /// The flags of mmap.
    pub(crate) flags: MapFlags,
    /// What the embedder, here the scenario, says about synchronous mappings of the file.
    pub(crate) policy: SyncPolicy,
    /// Where, in the process.
    pub(crate) at: u64,
    /// How many bytes.
    pub(crate) len: u64,
    /// From where in the file.
    pub(crate) offset: u64,
    /// Whether the program may store.
    pub(crate) writable: bool,
}

/// A part of a process that shows a part of a file.
pub(crate) struct View {
    /// Which addresses show which bytes.
    pub(crate) area: Area,
    pub(crate) file: Arc<dyn Mapped>,
    /// What was agreed.
    pub(crate) agreed: Agreed,
    pub(crate) writable: bool,
}

impl View {
    /// The addresses at which bytes of the file are shown.
    fn addresses(&self, range: FileRange) -> Option<(u64, u64)> {
        let start = self.area.file_offset_of(self.area.start())?;
        let shown = FileRange::between(start, start + self.area.len()).intersect(range);
        let address = |offset: u64| self.area.start().0 + (offset - start);
        (shown.start() < shown.end()).then(|| (address(shown.start()), address(shown.end())))
    }
}

/// What a page-table entry shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The file's own bytes, in the window.
    Window(PhysAddr),
    /// A page of the process's own, in a frame of RAM.
    Own(u64),
    /// A page that was filled by reading the file and that no program may store to, in a frame of RAM.
    Filled(u64),
}

/// A page-table entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) len: u64,
    pub(super) file_offset: u64,
    pub(super) writable: bool,
    pub(super) memory: Memory,
}

/// Pages that are in no page table any more, but perhaps in a TLB.
#[derive(Debug, Default)]
#[must_use = "processors may still use the pages"]
pub(super) struct Removed {
    pub(super) window_pages: u64,
    frames: Vec<u64>,
}

impl Removed {
    pub(super) fn add(&mut self, mut other: Self) {
        self.window_pages += other.window_pages;
        self.frames.append(&mut other.frames);
    }

    /// Waits until no processor uses them, and gives frames of RAM back. With no lock held.
    pub(super) fn finish(self) {
        if self.window_pages > 0 || !self.frames.is_empty() {
            let remembered = Remembered::now();
            smp::flush_tlbs();
            remembered.check_forgotten();
        }
        for frame in self.frames {
            if !frames::free(frame, 1) {
                log::error!("frame {frame:#x} was not in use");
            }
        }
    }
}

/// What a process's faults came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Entries of 2 MiB of the window that were installed.
    pub(crate) huge: u64,
    /// Entries of 4 KiB of the window that were installed.
    pub(crate) base: u64,
    /// Pages that were copied.
    pub(crate) copied: u64,
    /// Pages that were filled by reading.
    pub(crate) filled: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) huge: AtomicU64,
    pub(super) base: AtomicU64,
    pub(super) copied: AtomicU64,
    pub(super) filled: AtomicU64,
}

/// An address space with views of files.
pub(crate) struct Process {
    tables: Mutex<Tables>,
    pub(super) counters: Counters,
}

/// The page tables, and what they show.
pub(super) struct Tables {
    space: AddressSpace,
    views: Vec<Arc<View>>,
    entries: BTreeMap<u64, Entry>,
}

impl Process {
    /// A process with nothing in it, which is in no list yet.
    pub(super) fn empty() -> Result<Self, MapError> {
        let tables = Tables { space: AddressSpace::new()?, views: Vec::new(), entries: BTreeMap::new() };
        Ok(Self { tables: Mutex::new(tables), counters: Counters::default() })
    }

    /// Makes this processor use its addresses.
    pub(super) fn use_addresses(&self) {
        self.tables().space.activate();
    }

    /// Maps a file.
    ///
    /// # Errors
    /// EOPNOTSUPP for flags that the file does not support, and others of mmap's.
    pub(crate) fn map(&self, request: &ViewRequest) -> Result<Arc<View>, Errno> {
        let agreed = FileMapping::dax(request.policy).validate(request.flags.bits()).map_err(|error| error.errno())?;
        let area = Area::new(VirtAddr(request.at), request.len, request.offset).map_err(|error| error.errno())?;
        let view = Arc::new(View { area, file: request.file.clone(), agreed, writable: request.writable });
        self.tables().views.push(view.clone());
        Ok(view)
    }

    /// Takes a view away.
    pub(crate) fn unmap(&self, view: &Arc<View>) {
        let mut removed = Removed::default();
        {
            let mut tables = self.tables();
            tables.views.retain(|other| !Arc::ptr_eq(other, view));
            let start = view.area.start().0;
            for at in tables.entries_in(start, start + view.area.len()) {
                removed.add(tables.remove(at));
            }
        }
        removed.finish();
    }

    /// Takes every view away.
    pub(super) fn unmap_all(&self) {
        let views = self.tables().views.clone();
        for view in &views {
            self.unmap(view);
        }
    }

    /// Bytes of the page at an address, and whether it may be written; `None` when there is none.
    pub(crate) fn page_at(&self, address: u64) -> Option<(u64, bool)> {
        let tables = self.tables();
        let (at, entry) = tables.entry(address)?;
        let there = tables.space.lookup(at)?;
        let phys = match entry.memory {
            Memory::Window(phys) => phys.0,
            Memory::Own(frame) | Memory::Filled(frame) => frame,
        };
        // What the process remembers is what the page tables say.
        (there == (phys, entry.len, entry.writable)).then_some((entry.len, entry.writable))
    }

    /// Whether the page at an address is the process's own, a copy.
    pub(crate) fn owns_page_at(&self, address: u64) -> bool {
        self.tables().entry(address).is_some_and(|(_, entry)| !matches!(entry.memory, Memory::Window(_)))
    }

    /// How many pages are in the page tables.
    pub(crate) fn pages(&self) -> usize {
        self.tables().entries.len()
    }

    /// What its faults came to.
    pub(crate) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let Counters { huge, base, copied, filled } = &self.counters;
        Counts { huge: get(huge), base: get(base), copied: get(copied), filled: get(filled) }
    }

    /// The page tables. Whoever waits for them goes on answering other processors, one of which may hold them.
    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        loop {
            if let Some(tables) = self.tables.try_lock() {
                return tables;
            }
            smp::attend();
            core::hint::spin_loop();
        }
    }

    /// Takes away the pages that show bytes of a file.
    pub(super) fn take_pages(&self, file: FileKey, range: FileRange, cause: UnmapCause) -> Removed {
        let mut removed = Removed::default();
        let mut tables = self.tables();
        for at in tables.entries_of(file, range) {
            let Some(entry) = tables.entries.get(&at) else { continue };
            let goes = match entry.memory {
                Memory::Window(_) => cause.takes_mapped_pages(),
                Memory::Filled(_) => cause.takes_filled_pages(),
                // The page in which the file now ends is still there.
                Memory::Own(_) => cause.takes_private_copies() && entry.file_offset >= range.start(),
            };
            if goes {
                removed.add(tables.remove(at));
            }
        }
        removed
    }

    /// Makes pages that show bytes of a file read-only; returns how many.
    pub(super) fn write_protect(&self, file: FileKey, range: FileRange) -> u64 {
        let mut count = 0;
        let mut tables = self.tables();
        for at in tables.entries_of(file, range) {
            let Some(entry) = tables.entries.get(&at).copied() else { continue };
            if let Memory::Window(phys) = entry.memory
                && entry.writable
            {
                let entry = Entry { writable: false, ..entry };
                // SAFETY: the page shows window memory, to which nobody holds a reference.
                let result = unsafe { tables.space.map(at, phys.0, entry.len, Access::Read) };
                match result {
                    Ok(()) => _ = tables.entries.insert(at, entry),
                    // The tables of the page exist, so this cannot be; and without the page a store faults, too.
                    Err(error) => {
                        log::error!("{at:#x} is not read-only but gone: {error}");
                        tables.entries.remove(&at);
                    }
                }
                count += 1;
            }
        }
        count
    }
}

impl Tables {
    /// The view that an address is in.
    pub(super) fn view(&self, address: u64) -> Option<&Arc<View>> {
        self.views.iter().find(|view| view.area.file_offset_of(VirtAddr(address)).is_some())
    }

    /// Whether a view is still there.
    pub(super) fn has(&self, view: &Arc<View>) -> bool {
        self.views.iter().any(|other| Arc::ptr_eq(other, view))
    }

    /// The entry that shows an address, and where it begins.
    pub(super) fn entry(&self, address: u64) -> Option<(u64, Entry)> {
        let (&at, entry) = self.entries.range(..=address).next_back()?;
        (address - at < entry.len).then_some((at, *entry))
    }

    /// Whether the page tables permit an access.
    pub(super) fn permits(&self, address: u64, write: bool) -> bool {
        self.space.lookup(address).is_some_and(|(_, _, writable)| writable || !write)
    }

    /// What page size to ask for: small ones where there are some already.
    pub(super) fn wanted(&self, address: u64) -> Wanted {
        if self.space.has_small_pages(address) { Wanted::Base } else { Wanted::Largest }
    }

    /// Puts a page in place of those that were there. What was there is to be finished once the lock is dropped.
    ///
    /// # Errors
    /// [`MapError::Conflict`] for a large page where small ones have been, and without memory.
    pub(super) fn install(&mut self, at: u64, entry: Entry) -> Result<Removed, MapError> {
        let mut removed = Removed::default();
        let phys = match entry.memory {
            Memory::Window(phys) => phys.0,
            Memory::Own(frame) | Memory::Filled(frame) => frame,
        };
        let others = if self.space.is_free(at, entry.len) { Vec::new() } else { self.entries_in(at, at + entry.len) };
        for other in others {
            let same = self.entries.get(&other).is_some_and(|old| old.memory == entry.memory && old.len == entry.len);
            if same {
                // Only the permission changes, and it grows: nothing that a TLB has is wrong.
                self.entries.remove(&other);
            } else {
                removed.add(self.remove(other));
            }
        }
        let access = if entry.writable { Access::Write } else { Access::Read };
        // SAFETY: nobody holds references to programs' memory; the frame is the window's, held by the driver's guard, or the
        // process's own.
        unsafe { self.space.map(at, phys, entry.len, access) }?;
        self.entries.insert(at, entry);
        Ok(removed)
    }

    /// Takes an entry out.
    fn remove(&mut self, at: u64) -> Removed {
        let mut removed = Removed::default();
        let Some(entry) = self.entries.remove(&at) else { return removed };
        // SAFETY: nobody holds references to programs' memory.
        if let Err(error) = unsafe { self.space.unmap(at, entry.len) } {
            log::error!("{at:#x} stays mapped: {error}");
        }
        match entry.memory {
            Memory::Window(_) => removed.window_pages += 1,
            Memory::Own(frame) | Memory::Filled(frame) => removed.frames.push(frame),
        }
        removed
    }

    /// Where the entries begin that touch some addresses.
    fn entries_in(&self, start: u64, end: u64) -> Vec<u64> {
        let first = self.entry(start).map_or(start, |(at, _)| at);
        self.entries.range(first..end).map(|(&at, _)| at).collect()
    }

    /// Where the entries begin that show bytes of a file.
    fn entries_of(&self, file: FileKey, range: FileRange) -> Vec<u64> {
        let mut found = Vec::new();
        for view in self.views.iter().filter(|view| view.file.key() == file) {
            if let Some((start, end)) = view.addresses(range) {
                found.append(&mut self.entries_in(start, end));
            }
        }
        found
    }
}

/// Whether a view is private.
pub(super) fn is_private(view: &View) -> bool {
    view.agreed.sharing == Sharing::Private
}

const _: () = assert!(PAGE == fs_dax::PAGE_SIZE);
