//! Views of a file's bytes in the window, with no copy.

use alloc::sync::Arc;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dax_window::RangeRef;
use fuse_proto::Errno;
use lock_api::RawMutex;

use crate::Error;
use crate::dax_io::span;
use crate::inode::Inode;
use crate::leave::UnlinkedGuard;
use crate::shared::Shared;

/// A view of a file's own bytes in the host's page cache.
///
/// The range stays mapped as long as the view lives: it is not reclaimed, and truncating the file waits for it. The host
/// and everybody else who maps the file can change the bytes at any time, so they are atomics: `map[0].load(Relaxed)`.
/// [`Map::words`] is the fast way to go through many; [`Map::copy_to`] copies them out.
///
/// If somebody on the host cuts the file, touching bytes past its new end is a fault of the host's, which some hosts do
/// not survive: map only files that nobody else shrinks.
pub struct Map<R: RawMutex + Send + Sync + 'static> {
    shared: Arc<Shared<R>>,
    /// Taken when dropped.
    hold: Option<RangeRef>,
    writable: bool,
    /// What is in view is in use.
    inode: Arc<Inode<R>>,
    leave: UnlinkedGuard<R>,
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for Map<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Map").field("hold", &self.hold).field("writable", &self.writable).finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> Map<R> {
    pub(crate) fn new(shared: Arc<Shared<R>>, inode: Arc<Inode<R>>, hold: RangeRef, writable: bool) -> Self {
        shared.maps.fetch_add(1, Ordering::AcqRel);
        let leave = UnlinkedGuard::new(&shared, &inode);
        Self { shared, hold: Some(hold), writable, inode, leave }
    }

    /// How many bytes are in view: at least 1.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Never: a view has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the first byte is in guest-physical memory.
    pub fn phys_addr(&self) -> u64 {
        match (&self.shared.dax, &self.hold) {
            (Some(dax), Some(hold)) => dax.memory.phys(hold.window_offset().0),
            _ => 0,
        }
    }

    /// Where the first byte is in the embedder's address space. Valid as long as the view; see the type for who else
    /// writes there.
    pub fn as_ptr(&self) -> NonNull<u8> {
        NonNull::from(self.bytes()).cast()
    }

    /// Whether stores are permitted.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The bytes. Storing to them is for writable views only; [`Map::store`] checks that.
    fn bytes(&self) -> &[AtomicU8] {
        match (&self.shared.dax, &self.hold) {
            (Some(dax), Some(hold)) => dax.memory.bytes(span(hold)),
            _ => &[],
        }
    }

    /// The aligned 64-bit words in view, in the machine's byte order: eight bytes a load.
    pub fn words(&self) -> &[AtomicU64] {
        match (&self.shared.dax, &self.hold) {
            (Some(dax), Some(hold)) => dax.memory.words(span(hold)),
            _ => &[],
        }
    }

    /// Copies bytes from `offset` in the view into `to`; returns how many.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let (Some(dax), Some(hold)) = (&self.shared.dax, &self.hold) else { return 0 };
        let mut span = span(hold);
        let skip = offset.min(span.len);
        span.window_offset += skip as u64;
        span.len -= skip;
        dax.memory.read(&*self.shared.connection.platform, span, to)
    }

    /// Copies `from` to `offset` in the view; returns how many bytes. The host sees them at once; [`crate::File::sync_data`]
    /// makes them durable.
    ///
    /// # Errors
    ///
    /// EACCES if the view is not writable.
    pub fn store(&self, offset: usize, from: &[u8]) -> Result<usize, Error> {
        if !self.writable {
            return Err(Error::refused(Errno::EACCES, "the view is not writable"));
        }
        let (Some(dax), Some(hold)) = (&self.shared.dax, &self.hold) else { return Ok(0) };
        let mut span = span(hold);
        let skip = offset.min(span.len);
        span.window_offset += skip as u64;
        span.len -= skip;
        dax.with(|window| window.mark_dirty(hold));
        Ok(dax.memory.write(&*self.shared.connection.platform, from, span))
    }
}

impl<R: RawMutex + Send + Sync + 'static> Deref for Map<R> {
    type Target = [AtomicU8];

    /// The bytes. Loads see what the host has at that moment. Stores belong to [`Map::store`], which knows whether the
    /// view is writable; a store by this way into a view that is not may fault.
    fn deref(&self) -> &[AtomicU8] {
        self.bytes()
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for Map<R> {
    fn drop(&mut self) {
        if let (Some(dax), Some(hold)) = (&self.shared.dax, self.hold.take()) {
            dax.release(hold);
        }
        self.shared.maps.fetch_sub(1, Ordering::AcqRel);
        self.leave.from(&self.inode);
    }
}
