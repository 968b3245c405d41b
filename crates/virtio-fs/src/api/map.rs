//! Views of a file's bytes in the window, with no copy.

use core::ops::Deref;
use core::ptr::NonNull;

use fs_dax::{View, WritableView};
use fuse_proto::Errno;

use crate::io::view::ViewGuard;
use crate::{DefaultLock, Error, Lock};

const NO_VIEW: Error = Error::refused(Errno::EOPNOTSUPP, "the window's memory is for copies only");

/// A view of a file's own bytes in the host's page cache, for loads.
///
/// The range stays mapped as long as the view lives: it is not reclaimed, and what takes its bytes from the file waits for it,
/// while other bytes of the same chunk can be stored to, mapped otherwise and cut off. The host
/// and everybody else who maps the file can change the bytes at any time, so there is no slice of them: each load is
/// volatile. [`Map::words`] goes through many of them, [`Map::copy_to`] copies them out.
///
/// If somebody on the host cuts the file, touching bytes past its new end is a fault of the host's, which some hosts do
/// not survive: map only files that nobody else shrinks.
pub struct Map<R: Lock = DefaultLock> {
    guard: ViewGuard<R>,
}

impl<R: Lock> core::fmt::Debug for Map<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Map").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<R: Lock> Map<R> {
    pub(crate) fn new(guard: ViewGuard<R>) -> Self {
        Self { guard }
    }

    /// Returns how many bytes are in view: at least 1.
    pub fn len(&self) -> usize {
        self.guard.len()
    }

    /// Never: a view has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns where the first byte is in guest-physical memory.
    pub fn phys_addr(&self) -> u64 {
        self.guard.bytes().map_or(0, |(window, range)| window.phys(range))
    }

    /// Returns where the first byte is in the embedder's address space. Valid as long as the view; others store there at any
    /// time, and stores through it are for [`MapMut`] only.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.guard.bytes().map_or(NonNull::dangling(), |(window, range)| window.pointer(range))
    }

    /// Returns the bytes as the view of shared memory that all DAX file systems give: for numbers loaded in one access and in
    /// order, and for code that knows no file system.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the window's memory is for copies only.
    pub fn view(&self) -> Result<View<'_>, Error> {
        self.guard.bytes().and_then(|(window, range)| window.view(range)).ok_or(NO_VIEW)
    }

    /// Loads a byte; `None` past the end of the view.
    pub fn get(&self, offset: usize) -> Option<u8> {
        let (window, range) = self.guard.bytes()?;
        (offset < range.len()).then(|| window.load_u8(range, offset))
    }

    /// Loads the bytes one after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        (0..self.len()).map(|offset| self.get(offset).unwrap_or(0))
    }

    /// Loads the aligned 64-bit words in view one after the other, in the machine's byte order.
    pub fn words(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        // Only what can be viewed is mapped.
        let view = self.view().unwrap_or(View::EMPTY);
        view.words().map(u64::to_le)
    }

    /// Copies bytes from `offset` in the view into `to`; returns how many.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        self.guard.bytes().map_or(0, |(window, range)| window.read(range, offset, to))
    }
}

/// A view of a file's own bytes in the host's page cache, for loads and stores.
#[derive(Debug)]
pub struct MapMut<R: Lock = DefaultLock>(Map<R>);

impl<R: Lock> MapMut<R> {
    pub(crate) fn new(guard: ViewGuard<R>) -> Self {
        Self(Map::new(guard))
    }

    /// Returns the bytes as the view of shared memory that all DAX file systems give, to store to as well.
    /// [`crate::File::sync_data`] makes stores durable that were made before it.
    ///
    /// # Errors
    ///
    /// Those of [`Map::view`].
    pub fn writable_view(&self) -> Result<WritableView<'_>, Error> {
        let (window, range) = self.0.guard.bytes().ok_or(NO_VIEW)?;
        window.mark_dirty(range);
        window.writable_view(range).ok_or(NO_VIEW)
    }

    /// Copies `from` to `offset` in the view; returns how many bytes. The host sees them at once; [`crate::File::sync_data`]
    /// makes them durable.
    pub fn store(&self, offset: usize, from: &[u8]) -> usize {
        let Some((window, range)) = self.0.guard.bytes() else { return 0 };
        window.mark_dirty(range);
        let count = window.write(range, offset, from);
        self.0.guard.note_stores();
        count
    }
}

impl<R: Lock> Deref for MapMut<R> {
    type Target = Map<R>;

    fn deref(&self) -> &Map<R> {
        &self.0
    }
}
