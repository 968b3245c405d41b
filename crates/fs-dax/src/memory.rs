//! Memory that others load from and store to at the same time: a host's window, a device that several hosts share.
#![expect(unsafe_code, reason = "shared memory is reached through raw pointers")]

mod copy;
mod view;
mod word;

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::{CacheFlush, Capabilities, Capability, DeviceOffset, Error, NoFlush, PhysAddr, WindowMemory, check_inside};

pub use view::{View, WritableView};
use word::WORD;

/// Memory that several processors, guests or hosts share, each through caches of its own.
///
/// Copies are [`WindowMemory`]'s. A store reaches other hosts for certain after [`write_back`](Self::write_back) and
/// [`fence`](Self::fence); a load sees other hosts' stores for certain after [`invalidate`](Self::invalidate) and a fence.
/// Where the hardware keeps caches coherent the three need do nothing but order.
pub trait SharedMemory: WindowMemory {
    /// Loads the little-endian number at `offset`, a multiple of 8, in one access. Later accesses come after it.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`]; [`Error::Unaligned`]; [`Error::Platform`] where the processor has no such access.
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error>;

    /// Stores a little-endian number at `offset`, a multiple of 8, in one access. Earlier accesses come before it.
    ///
    /// # Errors
    /// As [`load_u64`](Self::load_u64), and [`Error::ReadOnly`].
    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error>;

    /// Starts writing back every cache line that holds some of the `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`].
    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error>;

    /// Drops every cache line that holds some of the `len` bytes at `offset`, so that the next load sees the memory. Lines
    /// that this host has stored to are written back first. Complete after [`fence`](Self::fence).
    ///
    /// # Errors
    /// [`Error::OutOfWindow`].
    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error>;

    /// Waits until what was started is complete, ordered before all later accesses.
    fn fence(&self);

    /// The physical address of the `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`]; [`Error::Platform`] if the memory has no addresses that page tables could show.
    fn phys(&self, offset: DeviceOffset, len: u64) -> Result<PhysAddr, Error>;

    /// Whether stores reach the memory.
    fn is_writable(&self) -> bool;
}

/// Copies so many bytes from one place to another, which do not overlap: exactly those, with accesses that the compiler
/// knows nothing of (assembly, volatile or atomic ones), since one of the two places is memory that others change.
pub type CopyFn = unsafe fn(*const u8, *mut u8, usize);

/// Shared memory that the kernel has mapped.
///
/// Copies are made by instructions that the compiler knows nothing of, ordered accesses by atomics: no reference to the
/// bytes is ever made, so that others may change them at any time, and a view of memory that is mapped for reading has
/// no way to store.
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use fs_dax::{DeviceOffset, MappedMemory, SharedMemory, WindowMemory};
///
/// let words = [const { AtomicU64::new(0) }; 512];
/// let memory = MappedMemory::of_words(&words);
/// memory.write(DeviceOffset(3), b"shared")?;
/// memory.store_u64(DeviceOffset(16), 7)?;
/// let view = memory.view(DeviceOffset(0), 64)?;
/// let mut copy = [0; 6];
/// view.read(3, &mut copy)?;
/// assert_eq!((&copy, view.load_u64(16)?), (b"shared", 7));
/// # Ok::<(), fs_dax::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MappedMemory<'a, F = NoFlush> {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    phys: Option<PhysAddr>,
    capabilities: Capabilities,
    flush: F,
    copy: Option<CopyFn>,
    mapped: PhantomData<&'a ()>,
}

// SAFETY: the memory belongs to no thread; every access is an instruction of its own or an atomic.
unsafe impl<F: Send> Send for MappedMemory<'_, F> {}
// SAFETY: as above; access by many at a time is the normal state of shared memory.
unsafe impl<F: Sync> Sync for MappedMemory<'_, F> {}

impl<'a> MappedMemory<'a> {
    /// Memory of the program's own, which it shares as atomics: for tests, and for memory that a kernel has as such.
    #[must_use]
    pub fn of_words(words: &'a [core::sync::atomic::AtomicU64]) -> Self {
        Self {
            // Atomics may be changed through a shared reference.
            base: NonNull::from(words).cast(),
            len: size_of_val(words),
            writable: true,
            phys: None,
            capabilities: Capabilities { pages: crate::Pages::None, access: crate::Access::LoadsAndStores },
            flush: NoFlush,
            copy: None,
            mapped: PhantomData,
        }
    }
}

impl<'a, F: CacheFlush> MappedMemory<'a, F> {
    /// The `len` bytes at `base`, which the kernel has mapped, and how their cache lines are flushed. No physical address
    /// is known: see [`with_phys`](Self::with_phys).
    ///
    /// # Errors
    /// [`Error::Unaligned`] if `base` is not a multiple of 8; [`Error::RangeOverflow`] if the end passes the address space
    /// or half of it, which no object may.
    ///
    /// # Safety
    /// For as long as `'a`, the bytes are mapped, write-back cached, for loads and, if `writable`, for stores; and they are
    /// reached only as memory that others change at any time: by volatile or atomic accesses or by other hosts, never
    /// through a reference to plain data. Accesses in a window that go where nothing is mapped by the host must end in a
    /// fault that the kernel survives, or the bytes must not be accessed there.
    pub unsafe fn new(base: NonNull<u8>, len: usize, writable: bool, flush: F) -> Result<Self, Error> {
        let start = base.as_ptr() as usize as u64;
        if !start.is_multiple_of(WORD) {
            return Err(Error::Unaligned { value: start, align: WORD });
        }
        if isize::try_from(len).is_err() || (start as usize).checked_add(len).is_none() {
            return Err(Error::RangeOverflow { start, len: len as u64 });
        }
        let capabilities = Capabilities { pages: crate::Pages::None, access: crate::Access::LoadsAndStores };
        Ok(Self { base, len, writable, phys: None, capabilities, flush, copy: None, mapped: PhantomData })
    }

    /// The same memory with its physical address, a multiple of the page size, and what its pages are good for.
    ///
    /// # Errors
    /// [`Error::Unaligned`] if the address is not a multiple of 4096; [`Error::RangeOverflow`] if the end passes 64 bits.
    pub fn with_phys(self, phys: PhysAddr, pages: crate::Pages) -> Result<Self, Error> {
        if !phys.is_aligned(crate::PAGE_SIZE) {
            return Err(Error::Unaligned { value: phys.0, align: crate::PAGE_SIZE });
        }
        if phys.checked_add(self.len as u64).is_none() {
            return Err(Error::RangeOverflow { start: phys.0, len: self.len as u64 });
        }
        let capabilities = Capabilities { pages, ..self.capabilities };
        Ok(Self { phys: Some(phys), capabilities, ..self })
    }

    /// The same memory with another way to copy `read` and `write`, for a kernel that knows a faster one.
    ///
    /// # Safety
    /// `copy` does what a [`CopyFn`] does.
    #[must_use]
    pub unsafe fn with_copy(self, copy: CopyFn) -> Self {
        Self { copy: Some(copy), ..self }
    }

    /// The way its cache lines are flushed.
    pub const fn flush(&self) -> &F {
        &self.flush
    }

    /// A view of the `len` bytes at `offset`, to load from.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if they are not all inside.
    pub fn view(&self, offset: DeviceOffset, len: u64) -> Result<View<'_>, Error> {
        let base = self.at(offset, len)?;
        let phys = self.phys.and_then(|phys| phys.checked_add(offset.0));
        // SAFETY: the bytes are inside the memory, which is mapped for loads for longer than this borrow.
        Ok(unsafe { View::new(base, len as usize, phys) })
    }

    /// A view of the `len` bytes at `offset`, to load from and to store to. There can be several at a time.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if the memory is mapped for loads only; [`Error::OutOfWindow`] as above.
    pub fn writable_view(&self, offset: DeviceOffset, len: u64) -> Result<WritableView<'_>, Error> {
        let view = self.view(offset, len)?;
        self.check_writable()?;
        // SAFETY: the memory is mapped for stores too.
        Ok(unsafe { WritableView::new(view) })
    }

    const fn check_writable(&self) -> Result<(), Error> {
        if self.writable { Ok(()) } else { Err(Error::ReadOnly) }
    }

    /// The first of `len` bytes at `offset`, all of which are inside.
    fn at(&self, offset: DeviceOffset, len: u64) -> Result<NonNull<u8>, Error> {
        check_inside(offset, len, self.len as u64)?;
        // SAFETY: the check keeps the offset inside the memory, and its length is a usize.
        Ok(unsafe { self.base.add(offset.0 as usize) })
    }
}

impl<F: CacheFlush> WindowMemory for MappedMemory<'_, F> {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        let from = self.at(offset, into.len() as u64)?;
        // SAFETY: the bytes are mapped for loads; a private slice does not overlap shared memory.
        unsafe { self.copy.unwrap_or(copy::copy_out)(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        self.check_writable()?;
        let to = self.at(offset, from.len() as u64)?;
        // SAFETY: the bytes are mapped for stores; a private slice does not overlap shared memory.
        unsafe { self.copy.unwrap_or(copy::copy_in)(from.as_ptr(), to.as_ptr(), from.len()) };
        Ok(())
    }

    fn pointer(&self, offset: DeviceOffset, len: u64) -> Result<NonNull<u8>, Error> {
        self.capabilities.check_slices()?;
        self.at(offset, len)
    }
}

impl<F: CacheFlush> SharedMemory for MappedMemory<'_, F> {
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error> {
        self.view(offset, WORD)?.load_u64(0)
    }

    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error> {
        self.writable_view(offset, WORD)?.store_u64(0, value)
    }

    // A loop over cache lines, which takes longer than a call: there once.
    #[inline(never)]
    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        let start = self.at(offset, len)?;
        // SAFETY: the bytes are mapped for loads.
        unsafe { self.flush.write_back(start, len as usize) };
        Ok(())
    }

    // As above.
    #[inline(never)]
    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        let start = self.at(offset, len)?;
        // SAFETY: the bytes are mapped for loads, and are shared: nobody counts on their cached copy.
        unsafe { self.flush.invalidate(start, len as usize) };
        Ok(())
    }

    fn fence(&self) {
        self.flush.fence();
    }

    fn phys(&self, offset: DeviceOffset, len: u64) -> Result<PhysAddr, Error> {
        check_inside(offset, len, self.len as u64)?;
        let phys = self.phys.and_then(|phys| phys.checked_add(offset.0));
        phys.ok_or(Error::Platform(Capability::Faults))
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}

#[cfg(test)]
mod tests;
