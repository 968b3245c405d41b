//! The window as memory: the only place that reads and writes it.
#![expect(unsafe_code, reason = "the window is memory that the host shares; access to it goes through raw pointers")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64};

use virtio_shm::ShmRegion;

use crate::window_part::Owned;
use crate::{Platform, WindowAccess};

/// The mapped window, or the mapped part of it.
pub(crate) struct WindowMemory {
    /// All of the device's window.
    whole: ShmRegion,
    /// What of it is the driver's.
    region: ShmRegion,
    owned: Option<Owned>,
    base: NonNull<u8>,
    access: WindowAccess,
}

// SAFETY: the window is memory that belongs to no thread; every access is a copy or goes through atomics.
unsafe impl Send for WindowMemory {}
// SAFETY: as above; concurrent access is the normal state of memory that the host shares.
unsafe impl Sync for WindowMemory {}

/// A piece of the window that a SETUPMAPPING covers and that a hold on its range keeps that way.
///
/// Whoever makes one vouches for that: the driver makes it from a hold only and keeps the hold as long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) window_offset: u64,
    pub(crate) len: usize,
}

impl WindowMemory {
    /// Maps `region`, a part or all of `whole`, by way of the platform. What is `owned` is given up if that fails.
    pub(crate) fn map(
        platform: &dyn Platform,
        whole: ShmRegion,
        region: ShmRegion,
        owned: Option<Owned>,
    ) -> Option<Self> {
        let mapped = usize::try_from(region.len()).ok().and_then(|_| platform.map_window(&region));
        match mapped {
            Some(base) => Some(Self { whole, region, owned, base, access: platform.window_access() }),
            None => {
                if let Some(owned) = owned {
                    owned.give_up();
                }
                None
            }
        }
    }

    /// Unmaps the window and gives it up. Once, when no hold on it can exist any more.
    pub(crate) fn unmap(&self, platform: &dyn Platform) {
        platform.unmap_window(&self.region, self.base);
        if let Some(owned) = &self.owned {
            owned.give_up();
        }
    }

    /// All of the device's window.
    pub(crate) fn whole(&self) -> ShmRegion {
        self.whole
    }

    /// A window offset as the device counts it, from the begin of all of its window.
    pub(crate) fn device_offset(&self, window_offset: u64) -> u64 {
        self.region.addr() - self.whole.addr() + window_offset
    }

    /// Where the window lies in guest-physical memory.
    pub(crate) fn region(&self) -> ShmRegion {
        self.region
    }

    /// Whether loads and stores reach it.
    pub(crate) fn access(&self) -> WindowAccess {
        self.access
    }

    /// Guest-physical address of a window offset.
    pub(crate) fn phys(&self, window_offset: u64) -> u64 {
        self.region.addr() + window_offset
    }

    /// Copies out of the window; as many bytes as both sides have.
    pub(crate) fn read(&self, platform: &dyn Platform, span: Span, to: &mut [u8]) -> usize {
        let len = to.len().min(span.len);
        let from = self.pointer(span);
        // SAFETY: `span` is covered by a mapping that its maker holds, and `pointer` keeps it inside the window.
        unsafe { platform.copy_from_window(from.as_ptr(), &mut to[..len]) };
        len
    }

    /// Copies into the window; as many bytes as both sides have.
    pub(crate) fn write(&self, platform: &dyn Platform, from: &[u8], span: Span) -> usize {
        let len = from.len().min(span.len);
        let to = self.pointer(span);
        // SAFETY: `span` is covered by a writable mapping that its maker holds, and `pointer` keeps it inside the window.
        unsafe { platform.copy_to_window(&from[..len], to.as_ptr()) };
        len
    }

    /// The span's bytes. The host may change them at any time, which atomics allow.
    pub(crate) fn bytes(&self, span: Span) -> &[AtomicU8] {
        let start = self.pointer(span).cast::<AtomicU8>();
        // SAFETY: the span is inside the window and covered by a mapping that its maker holds as long as the view
        // lives; `AtomicU8` has the layout of a byte and allows changes by others.
        unsafe { NonNull::slice_from_raw_parts(start, span.len).as_ref() }
    }

    /// The whole aligned words of the span, in guest byte order. The host may change them at any time.
    pub(crate) fn words(&self, span: Span) -> &[AtomicU64] {
        let skip = span.window_offset.next_multiple_of(8) - span.window_offset;
        let len = span.len.saturating_sub(skip as usize) / 8;
        if len == 0 {
            return &[];
        }
        let start = self.pointer(Span { window_offset: span.window_offset + skip, len: len * 8 }).cast::<AtomicU64>();
        // SAFETY: as in `bytes`; the window starts on a page, so a multiple of 8 in it is aligned.
        unsafe { NonNull::slice_from_raw_parts(start, len).as_ref() }
    }

    /// The span's first byte.
    pub(crate) fn pointer(&self, span: Span) -> NonNull<u8> {
        let end = span.window_offset.checked_add(span.len as u64);
        assert!(end.is_some_and(|end| end <= self.region.len()), "span outside the window");
        // SAFETY: the assertion keeps the offset inside the mapped region.
        unsafe { self.base.add(span.window_offset as usize) }
    }
}
