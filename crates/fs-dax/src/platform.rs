//! What the platform can do with the memory of a window or device: a property given at run time.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::{Capability, DeviceOffset, Error};

/// What the memory's pages are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Pages {
    /// They may be mapped into address spaces and pinned for DMA by other devices.
    #[default]
    Full,
    /// They may be mapped into address spaces, but not pinned.
    Limited,
    /// Neither.
    None,
}

/// How the processor reaches the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Access {
    /// By ordinary loads and stores.
    #[default]
    LoadsAndStores,
    /// Only through [`WindowMemory::read`] and [`WindowMemory::write`] (s390 reaches PCI memory by instructions of its
    /// own): no slice, no page in anybody's page tables.
    CopiesOnly,
}

/// The embedder's statement about a window's or device's memory.
///
/// ```
/// use fs_dax::{Access, Capabilities, Pages};
///
/// let ram_like = Capabilities::default();
/// assert!(ram_like.check_slices().is_ok() && ram_like.check_faults().is_ok() && ram_like.check_pins().is_ok());
///
/// let by_instruction = Capabilities { pages: Pages::Full, access: Access::CopiesOnly };
/// assert!(by_instruction.check_faults().is_err()); // what cannot be loaded from cannot be mapped either
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Capabilities {
    /// What its pages are good for.
    pub pages: Pages,
    /// How the processor reaches it.
    pub access: Access,
}

impl Capabilities {
    /// Memory that can be reached by copies only.
    pub const COPIES_ONLY: Self = Self { pages: Pages::None, access: Access::CopiesOnly };

    /// Whether a pointer or slice into the memory may be given out.
    ///
    /// # Errors
    /// [`Error::Platform`] if not.
    pub const fn check_slices(&self) -> Result<(), Error> {
        match self.access {
            Access::LoadsAndStores => Ok(()),
            Access::CopiesOnly => Err(Error::Platform(Capability::Slices)),
        }
    }

    /// Whether page faults may be answered with the memory's physical addresses.
    ///
    /// # Errors
    /// [`Error::Platform`] if not.
    pub const fn check_faults(&self) -> Result<(), Error> {
        match (self.access, self.pages) {
            (Access::LoadsAndStores, Pages::Full | Pages::Limited) => Ok(()),
            _ => Err(Error::Platform(Capability::Faults)),
        }
    }

    /// Whether pages may be pinned for DMA.
    ///
    /// # Errors
    /// [`Error::Platform`] if not.
    pub const fn check_pins(&self) -> Result<(), Error> {
        match (self.access, self.pages) {
            (Access::LoadsAndStores, Pages::Full) => Ok(()),
            _ => Err(Error::Platform(Capability::Pins)),
        }
    }
}

/// The memory of a window or device, as far as copies in and out of it go.
///
/// The host, or another host, may change the memory at any time: implementations copy with volatile or relaxed atomic
/// accesses, or with the platform's own instructions, and never make a `&[u8]` of it. Where a driver maps the window
/// itself it brings its own implementation with raw pointers; [`AtomicMemory`] is the one in safe code.
pub trait WindowMemory {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the platform can do with this memory.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Copies `into.len()` bytes from `offset` on out of the memory. Bytes that change meanwhile may be seen old or
    /// new.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if they are not all inside; nothing is copied then.
    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error>;

    /// Copies `from` into the memory from `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if it is not all inside; nothing is copied then.
    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error>;

    /// A pointer to the `len` bytes at `offset`, valid while `self` is borrowed and to be used with volatile or atomic
    /// accesses only. This default refuses, as memory that is reached by copies only must.
    ///
    /// # Errors
    /// [`Error::Platform`] if the platform has no loads and stores for it; [`Error::OutOfWindow`] as above.
    fn pointer(&self, offset: DeviceOffset, len: u64) -> Result<NonNull<u8>, Error> {
        check_inside(offset, len, self.len())?;
        Err(Error::Platform(Capability::Slices))
    }
}

/// Whether `len` bytes at `offset` lie inside a window of `window_len` bytes: the check that every implementation of
/// [`WindowMemory`] makes first.
///
/// # Errors
/// [`Error::OutOfWindow`] if not.
pub const fn check_inside(offset: DeviceOffset, len: u64, window_len: u64) -> Result<(), Error> {
    match offset.0.checked_add(len) {
        Some(end) if end <= window_len => Ok(()),
        _ => Err(Error::OutOfWindow { offset, len, window_len }),
    }
}

/// Window memory over atomic bytes, copied with relaxed loads and stores: plain accesses, in safe code, one byte at a
/// time. For tests and for platforms where speed does not matter.
#[derive(Clone, Copy, Debug)]
pub struct AtomicMemory<'a> {
    bytes: &'a [AtomicU8],
    capabilities: Capabilities,
}

impl<'a> AtomicMemory<'a> {
    /// Memory over `bytes`, with what the platform can do with it.
    #[must_use]
    pub const fn new(bytes: &'a [AtomicU8], capabilities: Capabilities) -> Self {
        Self { bytes, capabilities }
    }

    fn part(&self, offset: DeviceOffset, len: usize) -> Result<&'a [AtomicU8], Error> {
        check_inside(offset, len as u64, self.len())?;
        // Both fit in usize, being at most the slice's length.
        Ok(&self.bytes[offset.0 as usize..][..len])
    }
}

impl WindowMemory for AtomicMemory<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        let part = self.part(offset, into.len())?;
        for (to, from) in into.iter_mut().zip(part) {
            *to = from.load(Ordering::Relaxed);
        }
        Ok(())
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        for (to, from) in self.part(offset, from.len())?.iter().zip(from) {
            to.store(*from, Ordering::Relaxed);
        }
        Ok(())
    }

    fn pointer(&self, offset: DeviceOffset, len: u64) -> Result<NonNull<u8>, Error> {
        check_inside(offset, len, self.len())?;
        self.capabilities.check_slices()?;
        // `offset` fits in usize, being at most the slice's length.
        Ok(NonNull::from(&self.bytes[offset.0 as usize..]).cast())
    }
}
