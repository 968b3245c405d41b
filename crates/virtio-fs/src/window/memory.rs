//! The window as memory: the only place that reads and writes it.
#![expect(unsafe_code, reason = "the window is memory that the host shares; access to it goes through raw pointers")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use fs_dax::{DeviceOffset, MappedMemory, NoFlush, Pages, PhysAddr, View, WritableView};
use virtio_shm::ShmRegion;

use super::part::Owned;
use crate::DaxStatus;
use crate::{Platform, WindowAccess};

/// The mapped window, or the mapped part of it.
pub(crate) struct WindowMemory {
    /// All of the device's window.
    whole: ShmRegion,
    /// What of it is the driver's.
    region: ShmRegion,
    owned: Option<Owned>,
    base: NonNull<u8>,
    /// The same for views. Valid as long as the window is mapped, which is longer than any reference to a range.
    shared: MappedMemory<'static>,
    access: WindowAccess,
}

// SAFETY: the window is memory that belongs to no thread; every access is a copy or goes through atomics.
unsafe impl Send for WindowMemory {}
// SAFETY: as above; concurrent access is the normal state of memory that the host shares.
unsafe impl Sync for WindowMemory {}

/// A piece of the window that a SETUPMAPPING covers and that a reference to its range keeps that way.
///
/// Whoever makes one vouches for that: the driver makes it from a reference only, and keeps the reference as long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) window_offset: u64,
    pub(crate) len: usize,
}

impl WindowMemory {
    /// Maps `region`, a part or all of `whole`, by way of the platform. What is `owned` is given up if that fails.
    ///
    /// # Errors
    ///
    /// [`DaxStatus::NotMapped`] if the platform cannot map it, [`DaxStatus::Misaligned`] if it maps it to an address inside a
    /// page.
    pub(crate) fn map(
        platform: &dyn Platform,
        whole: ShmRegion,
        region: ShmRegion,
        owned: Option<Owned>,
    ) -> Result<Self, DaxStatus> {
        let mapped = usize::try_from(region.len()).ok().and_then(|_| platform.map_window(&region));
        let refused = match mapped {
            Some(base) if base.addr().get().is_multiple_of(fs_dax::PAGE_SIZE as usize) => match shared(base, &region) {
                Ok(shared) => {
                    return Ok(Self { whole, region, owned, base, shared, access: platform.window_access() });
                }
                Err(error) => {
                    log::error!("virtio-fs: the window cannot be viewed: {error}");
                    platform.unmap_window(&region, base);
                    DaxStatus::NotMapped
                }
            },
            Some(base) => {
                platform.unmap_window(&region, base);
                DaxStatus::Misaligned { address: base.addr().get() }
            }
            None => DaxStatus::NotMapped,
        };
        if let Some(owned) = owned {
            owned.give_up();
        }
        Err(refused)
    }

    /// Unmaps the window and gives it up. Once, when no reference to it can exist any more.
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
    #[inline]
    pub(crate) fn read(&self, platform: &dyn Platform, span: Span, to: &mut [u8]) -> usize {
        let len = to.len().min(span.len);
        let from = self.pointer(span);
        // SAFETY: `span` is covered by a mapping that its maker holds, and `pointer` keeps it inside the window.
        unsafe { platform.copy_from_window(from.as_ptr(), &mut to[..len]) };
        len
    }

    /// Copies into the window; as many bytes as both sides have.
    #[inline]
    pub(crate) fn write(&self, platform: &dyn Platform, from: &[u8], span: Span) -> usize {
        let len = from.len().min(span.len);
        let to = self.pointer(span);
        // SAFETY: `span` is covered by a writable mapping that its maker holds, and `pointer` keeps it inside the window.
        unsafe { platform.copy_to_window(&from[..len], to.as_ptr()) };
        len
    }

    /// A view of the span, for loads.
    pub(crate) fn view(&self, span: Span) -> Option<View<'_>> {
        self.shared.view(DeviceOffset(span.window_offset), span.len as u64).ok()
    }

    /// A view of the span, which is mapped for writing.
    pub(crate) fn writable_view(&self, span: Span) -> Option<WritableView<'_>> {
        self.shared.writable_view(DeviceOffset(span.window_offset), span.len as u64).ok()
    }

    /// Loads the span's first byte, which the host may change at any time. The span is not empty.
    pub(crate) fn load_u8(&self, span: Span) -> u8 {
        assert!(span.len >= 1, "a byte outside its span");
        let from = self.pointer(span);
        // SAFETY: the byte is inside the window, covered by a mapping that the span's maker holds; a volatile load makes no
        // assumption about what others store there.
        unsafe { from.read_volatile() }
    }

    /// Stores to the span's first eight bytes, which begin at a multiple of 8 in the window, what they hold.
    pub(crate) fn store_what_is_there(&self, span: Span) {
        assert!(span.len >= 8 && span.window_offset.is_multiple_of(8), "a word outside its span");
        let at = self.pointer(span).cast::<AtomicU64>();
        // SAFETY: the word is inside the window, which starts on a page, so that a multiple of 8 in it is aligned; and it is covered by
        // a writable mapping that the span's maker holds.
        let word = unsafe { at.as_ref() };
        // Not by adding 0, which a compiler may take for a load.
        let mut value = word.load(Ordering::Relaxed);
        while let Err(other) = word.compare_exchange_weak(value, value, Ordering::Relaxed, Ordering::Relaxed) {
            value = other;
        }
    }

    /// The span's first byte.
    #[inline]
    pub(crate) fn pointer(&self, span: Span) -> NonNull<u8> {
        let end = span.window_offset.checked_add(span.len as u64);
        assert!(end.is_some_and(|end| end <= self.region.len()), "span outside the window");
        // SAFETY: the assertion keeps the offset inside the mapped region.
        unsafe { self.base.add(span.window_offset as usize) }
    }
}

/// The mapped window as shared memory.
fn shared(base: NonNull<u8>, region: &ShmRegion) -> Result<MappedMemory<'static>, fs_dax::Error> {
    let len = usize::try_from(region.len()).unwrap_or(usize::MAX);
    // SAFETY: the platform mapped the bytes, write-back cached, and unmaps them when no reference to a range is left; nothing
    // is viewed but spans, which a mapping of the host's covers; and nobody makes references to the bytes.
    let shared = unsafe { MappedMemory::new(base, len, true, NoFlush) }?;
    shared.with_phys(PhysAddr(region.addr()), Pages::Full)
}
