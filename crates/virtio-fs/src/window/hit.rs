//! The fast path: an access that finds its bytes mapped, from the reference it gets to giving it back.
//!
//! A copy first tries without the allocator's lock ([`DaxWindow::read_unlocked`], [`DaxWindow::write_unlocked`]); everything else
//! holds a reference, which is taken and given back under it. Nothing outside knows what a [`RangeRef`] is or that there is
//! a lock here.

use core::ptr::NonNull;

use dax_window::{Hits, Request, Run, Stream, Use};
use fs_dax::{FileRange, PAGE_SIZE, View, WritableView};

use super::DaxWindow;
use super::memory::Span;
use super::range_ref::RangeRef;
use super::views::ViewId;
use crate::caller::number_by_stack;
use crate::{Lock, Platform};

/// A number of the caller's that seldom two have at the same time.
#[inline]
fn number(platform: &dyn Platform) -> usize {
    platform.cpu().unwrap_or_else(number_by_stack)
}

/// A use of mapped bytes, given back when this is dropped.
struct InUse<'h> {
    hits: &'h Hits,
    used: Option<Use>,
}

impl Drop for InUse<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(used) = self.used.take() {
            self.hits.leave(used);
        }
    }
}

impl<'h> InUse<'h> {
    #[inline]
    fn enter(
        hits: &'h Hits,
        platform: &dyn Platform,
        run: impl FnOnce() -> Run,
        request: &Request,
    ) -> Option<(Self, Span)> {
        let used = hits.enter(number(platform), run, request)?;
        let span = Span { window_offset: used.window_offset().0, len: used.len() as usize };
        Some((Self { hits, used: Some(used) }, span))
    }
}

impl<R: Lock> DaxWindow<R> {
    /// Copies the bytes of `request` out of the window without the allocator's lock. Returns whether that was possible;
    /// `run` is that of the file's accesses, asked where it matters; `still` says whether the bytes are the file's, and is asked while
    /// they are in use.
    #[inline]
    pub(crate) fn read_unlocked(
        &self,
        platform: &dyn Platform,
        run: impl FnOnce() -> Run,
        request: &Request,
        to: &mut [u8],
        still: impl FnOnce() -> bool,
    ) -> bool {
        let Some((_in_use, span)) = InUse::enter(&self.hits, platform, run, request) else { return false };
        still() && self.memory.read(platform, span, to) == to.len()
    }

    /// As [`DaxWindow::read_unlocked`], into the window.
    #[inline]
    pub(crate) fn write_unlocked(
        &self,
        platform: &dyn Platform,
        run: impl FnOnce() -> Run,
        request: &Request,
        from: &[u8],
        still: impl FnOnce() -> bool,
    ) -> bool {
        let Some((_in_use, span)) = InUse::enter(&self.hits, platform, run, request) else { return false };
        still() && self.memory.write(platform, from, span) == from.len()
    }

    /// Lets a stream know of the accesses without the lock, before it takes part in one with it.
    pub(crate) fn catch_up(&self, stream: &mut Stream, request: &Request) {
        self.hits.catch_up(number(self.platform()), stream, request);
    }

    /// How many bytes were copied out and in, in all.
    pub(crate) fn copied(&self) -> (u64, u64) {
        let (read, written) = self.hits.bytes();
        (read + self.counters.read_bytes.get(), written + self.counters.write_bytes.get())
    }

    /// A reference to the bytes of `request`, if they are mapped.
    #[inline]
    pub(crate) fn hit(&self, stream: &mut Stream, request: &Request) -> Option<RangeRef> {
        self.window.lock().hit(stream, request).map(RangeRef)
    }

    /// Gives a reference back.
    #[inline]
    pub(crate) fn release(&self, range: RangeRef) {
        self.window.lock().release(range.0);
    }

    /// Notes that a reference is for a view of its bytes, which may be kept for long.
    pub(crate) fn begin_view(&self, range: &RangeRef) -> ViewId {
        let range = &range.0;
        let start = range.file_offset().0;
        let bytes = FileRange::between(start, start.saturating_add(range.len()));
        let id = self.views.lock().add(range.range(), bytes);
        // Those that wait for the reference may be about other bytes.
        self.window.lock().recheck_references();
        id
    }

    /// Ends a view and gives its reference back.
    pub(crate) fn end_view(&self, range: RangeRef, id: ViewId) {
        self.views.lock().remove(id);
        self.release(range);
    }

    /// Gives a reference back whose bytes are in a page table from now on.
    pub(crate) fn install(&self, range: RangeRef, writable: bool) {
        self.window.lock().install(range.0, writable);
    }

    /// Takes note of stores through a reference.
    pub(crate) fn mark_dirty(&self, range: &RangeRef) {
        self.window.lock().mark_dirty(&range.0);
    }

    /// Copies out of the window, from `offset` in the bytes on. Returns how many bytes.
    #[inline]
    pub(crate) fn read(&self, range: &RangeRef, offset: usize, to: &mut [u8]) -> usize {
        self.memory.read(self.platform(), range.span(offset), to)
    }

    /// Copies into the window, to `offset` in the bytes on. Returns how many bytes.
    #[inline]
    pub(crate) fn write(&self, range: &RangeRef, offset: usize, from: &[u8]) -> usize {
        self.memory.write(self.platform(), from, range.span(offset))
    }

    /// Has the host take stores to `len` bytes at a guest-physical address, in pages that a reference or a write-back keeps and
    /// that are mapped for writing. What they hold stays as it is, whoever else stores meanwhile.
    pub(crate) fn touch(&self, phys: u64, len: u64) {
        let first = phys - self.memory.region().addr();
        for page in (first..first + len).step_by(PAGE_SIZE as usize) {
            self.memory.store_what_is_there(Span { window_offset: page, len: PAGE_SIZE as usize });
        }
        self.counters.touched_pages.add(len.div_ceil(PAGE_SIZE));
    }

    /// A view of the bytes.
    pub(crate) fn view<'r>(&'r self, range: &'r RangeRef) -> Option<View<'r>> {
        self.memory.view(range.span(0))
    }

    /// A view of the bytes to store to; `None` if they are not mapped for writing.
    pub(crate) fn writable_view<'r>(&'r self, range: &'r RangeRef) -> Option<WritableView<'r>> {
        if range.is_writable() { self.memory.writable_view(range.span(0)) } else { None }
    }

    /// Loads the byte at `offset`, which is below the reference's length.
    #[inline]
    pub(crate) fn load_u8(&self, range: &RangeRef, offset: usize) -> u8 {
        self.memory.load_u8(range.span(offset))
    }

    /// Where the bytes are in guest-physical memory.
    pub(crate) fn phys(&self, range: &RangeRef) -> u64 {
        self.memory.phys(range.0.window_offset().0)
    }

    /// Where the bytes are in the embedder's address space.
    pub(crate) fn pointer(&self, range: &RangeRef) -> NonNull<u8> {
        self.memory.pointer(range.span(0))
    }
}
