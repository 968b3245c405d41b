//! Breaking layouts: taking a file's pages out of every address space before their memory becomes something else.

use crate::change::Changes;
use crate::{Errno, Error, FileKey, FileRange};

/// Why pages are taken out of address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnmapCause {
    /// The memory is wanted for something else; the file stays as it is.
    Reclaim,
    /// Bytes of the file were given back, zeroed or moved.
    Punch,
    /// The file became shorter.
    Truncate,
    /// The device or file is marked failed, or these pages of it are damaged.
    Failure,
    /// Bytes of the file became others by a request: what shows the file's own memory shows that, what was filled by reading
    /// does not.
    Change,
}

impl UnmapCause {
    /// Whether private copies go too. A copy belongs to its program and survives everything but the end of the file
    /// moving in front of it.
    #[must_use]
    pub const fn takes_private_copies(self) -> bool {
        matches!(self, Self::Truncate)
    }

    /// Whether pages go that the embedder filled by reading the file and that no program may store to, since the file's own
    /// could not be mapped: they can be filled again.
    #[must_use]
    pub const fn takes_filled_pages(self) -> bool {
        !matches!(self, Self::Reclaim)
    }

    /// Whether pages of window or device memory go.
    #[must_use]
    pub const fn takes_mapped_pages(self) -> bool {
        !matches!(self, Self::Change)
    }
}

/// The embedder's page tables, as a file system sees them: all address spaces that map its files.
///
/// # Contract
/// - Each method covers *every* address space and *every* processor: when it returns, no TLB holds an entry that it
///   removed or made read-only, and no store that began under such an entry is still under way.
/// - Pages that are not in the range stay as they are, except that a huge page that the range touches is treated as a
///   whole (or split first).
/// - The caller holds none of its locks, so that the embedder may take its own (address space, then page table) and
///   wait for other processors. The embedder in turn calls a file system's fault path with no page-table lock held, and
///   checks [`Layout::unchanged`] under the page-table lock before it installs what the fault path gave it.
/// - No method calls back into the file system.
///
/// # How to write one
/// This repository's test kernel has one for real page tables and several processors, in `testkernel/src/mmap.rs` with its
/// two modules. What each method does there, and what anybody's will do:
///
/// 1. It finds the entries. Each address space keeps, beside its page tables, which file and offset each view shows, so that a
///    range of a file becomes a range of addresses; all address spaces are gone through.
/// 2. It changes them, each address space under its own page-table lock, and drops the lock. A fault that is under way
///    installs under the same lock and asks whether it is still current, so it comes before (and is undone) or gives up.
/// 3. It has all processors forget: a message to each, and it returns only after each has answered. Whoever waits for a
///    page-table lock with interrupts off answers such messages, or two processors wait for each other.
/// 4. Frames of its own that were in private copies are given back only after that.
///
/// The unit type is the implementation for embedders that map no files.
pub trait Mappings {
    /// Removes every page-table entry that shows bytes of `range` of `file` from window or device memory, if
    /// [`UnmapCause::takes_mapped_pages`]; private copies only if [`UnmapCause::takes_private_copies`], and pages that were
    /// filled by reading only if [`UnmapCause::takes_filled_pages`].
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause);

    /// Makes every shared writable entry that shows bytes of `range` of `file` read-only, so that the next store
    /// faults.
    fn write_protect(&self, file: FileKey, range: FileRange);

    /// As [`write_protect`](Self::write_protect) for several ranges of a file, which an fsync takes together: the other
    /// processors need to be interrupted only once for all of them. The default goes range by range.
    fn write_protect_all(&self, file: FileKey, ranges: &[FileRange]) {
        for range in ranges {
            self.write_protect(file, *range);
        }
    }

    /// Waits until no page of `range` of `file` is pinned through the embedder's page tables (for DMA by a device of the
    /// guest's own, say). Called after [`unmap`](Self::unmap), while no fault is answered there, so that no pin is added. The
    /// embedder has the clock: it sets the deadline. What a file system itself has lent out it waits for itself.
    ///
    /// # Errors
    /// The errno with which to give up: [`Errno::ETIMEDOUT`] at the deadline, [`Errno::EAGAIN`] if waiting is not
    /// possible here. Nothing is taken away then: a cut or a punch is refused, a reclaim turns to other memory.
    fn wait_for_pins(&self, file: FileKey, range: FileRange) -> Result<(), Errno>;
}

impl Mappings for () {
    fn unmap(&self, _: FileKey, _: FileRange, _: UnmapCause) {}

    fn write_protect(&self, _: FileKey, _: FileRange) {}

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

impl<M: Mappings + ?Sized> Mappings for &M {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        (**self).unmap(file, range, cause);
    }

    fn write_protect(&self, file: FileKey, range: FileRange) {
        (**self).write_protect(file, range);
    }

    fn write_protect_all(&self, file: FileKey, ranges: &[FileRange]) {
        (**self).write_protect_all(file, ranges);
    }

    fn wait_for_pins(&self, file: FileKey, range: FileRange) -> Result<(), Errno> {
        (**self).wait_for_pins(file, range)
    }
}

/// Tells a fault whether the file's layout was broken between its look-up and the moment it installs the page.
///
/// A fault looks the page up under the file system's lock, and installs it under the page-table lock; between the two
/// it holds neither. So it takes [`seen`](Self::seen) before the look-up and asks [`unchanged`](Self::unchanged) under
/// the page-table lock: if the answer is no it installs nothing and retries. Whoever breaks the layout, or
/// write-protects for writeback, does so inside [`change`](Self::change), and the page-table lock does the rest: a
/// fault that installed before is undone by the unmapping, a fault that comes after sees the change.
///
/// One per file, or one for all: a coarser one only costs retries.
#[derive(Debug, Default)]
pub struct Layout(Changes);

/// A moment in a layout's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutSeen(usize);

impl Layout {
    /// A layout that nobody is changing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Changes::new(0))
    }

    /// This moment.
    #[must_use]
    pub fn seen(&self) -> LayoutSeen {
        LayoutSeen(self.0.seen())
    }

    /// Whether no change was under way at `seen` and none has begun since.
    #[must_use]
    pub fn unchanged(&self, seen: LayoutSeen) -> bool {
        self.0.unchanged_since(seen.0)
    }

    /// Begins a change; it ends when the guard is dropped. Faults that overlap with it retry.
    pub fn change(&self) -> LayoutChange<'_> {
        self.0.begin();
        LayoutChange(self)
    }

    /// Breaks the layout of `range`: faults that race from now on retry, the pages are unmapped everywhere, pins are
    /// waited for. What changes the file or takes the memory away is to be done while the guard is alive.
    ///
    /// # Errors
    /// [`Error::Pinned`] if pins were not released; the pages are unmapped, may fault in again, and nothing may be
    /// taken away.
    pub fn break_range<M: Mappings + ?Sized>(
        &self,
        mappings: &M,
        file: FileKey,
        range: FileRange,
        cause: UnmapCause,
    ) -> Result<LayoutChange<'_>, Error> {
        let change = self.change();
        mappings.unmap(file, range, cause);
        mappings.wait_for_pins(file, range).map_err(|errno| Error::Pinned { errno })?;
        Ok(change)
    }
}

/// A change of a layout, under way until this is dropped.
#[derive(Debug)]
#[must_use = "the change is under way until this is dropped"]
pub struct LayoutChange<'a>(&'a Layout);

impl Drop for LayoutChange<'_> {
    fn drop(&mut self) {
        self.0.0.end();
    }
}
