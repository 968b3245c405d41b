//! Views of shared memory, with no copy and without a reference to its bytes.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

#[cfg(target_has_atomic = "64")]
use self::words::Words;
use super::{copy, word::WORD};
use crate::{DeviceOffset, Error, PhysAddr, check_inside};

/// A view of shared memory to load from.
///
/// The bytes can change at any time, so there is no slice of them, and since the memory may be mapped read-only there is no
/// way to store: that is [`WritableView`]'s. Offsets count from the view's first byte.
#[derive(Clone, Copy)]
pub struct View<'a> {
    start: NonNull<u8>,
    len: usize,
    phys: Option<PhysAddr>,
    memory: PhantomData<&'a ()>,
}

// SAFETY: the memory belongs to no thread, and every access is an instruction of its own or an atomic.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// A view of no bytes.
    pub const EMPTY: Self = Self { start: NonNull::dangling(), len: 0, phys: None, memory: PhantomData };

    /// A view of the `len` bytes at `start`.
    ///
    /// # Safety
    /// For as long as `'a` they are mapped for loads, and reached only as memory that others change at any time.
    pub(super) const unsafe fn new(start: NonNull<u8>, len: usize, phys: Option<PhysAddr>) -> Self {
        Self { start, len, phys, memory: PhantomData }
    }

    /// How many bytes are in view.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The physical address of the first byte, if one is known.
    #[must_use]
    pub const fn phys(&self) -> Option<PhysAddr> {
        self.phys
    }

    /// Where the first byte is mapped: valid for loads for `'a`, by volatile or atomic accesses only.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// The part of `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if they are not all in view.
    pub fn part(&self, offset: usize, len: usize) -> Result<View<'a>, Error> {
        let start = self.at(offset, len)?;
        let phys = self.phys.and_then(|phys| phys.checked_add(offset as u64));
        Ok(Self { start, len, phys, memory: PhantomData })
    }

    /// Copies `into.len()` bytes at `offset` out. Bytes that change meanwhile may be seen old or new.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if they are not all in view; nothing is copied then.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Error> {
        let from = self.at(offset, into.len())?;
        // SAFETY: the bytes are mapped for loads; a private slice does not overlap shared memory.
        unsafe { copy::copy_out(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Loads the byte at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`].
    pub fn load_u8(&self, offset: usize) -> Result<u8, Error> {
        let mut byte = [0];
        self.read(offset, &mut byte)?;
        Ok(byte[0])
    }

    /// Loads the little-endian number at `offset` in one access. Later accesses come after it.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`]; [`Error::Unaligned`] if its address is not a multiple of 8; [`Error::Platform`] where the
    /// processor has no such access.
    pub fn load_u64(&self, offset: usize) -> Result<u64, Error> {
        let at = self.word(offset)?;
        // SAFETY: the word is aligned, in view, and mapped for loads.
        unsafe { words::load(at.as_ptr().cast()) }
    }

    /// The whole words in view, little-endian, from the first at a multiple of 8 on. Each is loaded in one
    /// access; nothing is promised about the order among them, nor with other accesses.
    #[cfg(target_has_atomic = "64")]
    pub fn words(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        let first = self.start.as_ptr().align_offset(WORD as usize).min(self.len);
        let count = (self.len - first) / WORD as usize;
        let words = self.start.as_ptr().wrapping_add(first).cast::<u64>();
        // SAFETY: so many words from there on are aligned, in view, and mapped for loads for as long as `'a`.
        unsafe { Words::new(words, count) }
    }

    fn word(&self, offset: usize) -> Result<NonNull<u8>, Error> {
        let at = self.at(offset, WORD as usize)?;
        let address = at.as_ptr() as usize as u64;
        if address.is_multiple_of(WORD) { Ok(at) } else { Err(Error::Unaligned { value: address, align: WORD }) }
    }

    fn at(&self, offset: usize, len: usize) -> Result<NonNull<u8>, Error> {
        check_inside(DeviceOffset(offset as u64), len as u64, self.len as u64)?;
        // SAFETY: the check keeps the offset inside the view.
        Ok(unsafe { self.start.add(offset) })
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len).field("phys", &self.phys).finish_non_exhaustive()
    }
}

/// A view of shared memory to load from and to store to. Others may have one of the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct WritableView<'a>(View<'a>);

impl<'a> WritableView<'a> {
    /// The same view, to store to as well.
    ///
    /// # Safety
    /// The bytes are mapped for stores for as long as `'a`.
    pub(super) const unsafe fn new(view: View<'a>) -> Self {
        Self(view)
    }

    /// The part of `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if they are not all in view.
    pub fn writable_part(&self, offset: usize, len: usize) -> Result<WritableView<'a>, Error> {
        self.0.part(offset, len).map(Self)
    }

    /// Copies `from` to `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfWindow`] if it is not all in view; nothing is copied then.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), Error> {
        let to = self.0.at(offset, from.len())?;
        // SAFETY: the bytes are mapped for stores; a private slice does not overlap shared memory.
        unsafe { copy::copy_in(from.as_ptr(), to.as_ptr(), from.len()) };
        Ok(())
    }

    /// Stores a little-endian number at `offset` in one access. Earlier accesses come before it.
    ///
    /// # Errors
    /// As [`View::load_u64`].
    pub fn store_u64(&self, offset: usize, value: u64) -> Result<(), Error> {
        let at = self.0.word(offset)?;
        // SAFETY: the word is aligned, in view, and mapped for stores.
        unsafe { words::store(at.as_ptr().cast(), value) }
    }
}

impl<'a> Deref for WritableView<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.0
    }
}

#[cfg(target_has_atomic = "64")]
mod words {
    use core::marker::PhantomData;
    use core::sync::atomic::{AtomicU64, Ordering, fence};

    use crate::Error;

    /// How many words one turn of a loop through all of them loads: counting them costs as much as loading them does.
    const TURN: usize = 8;

    /// The words of a view that have not been loaded yet.
    pub(super) struct Words<'a> {
        next: *mut u64,
        left: usize,
        memory: PhantomData<&'a ()>,
    }

    impl Words<'_> {
        /// # Safety
        /// For as long as the lifetime the `count` words at `first` are aligned and can be loaded from.
        pub(super) const unsafe fn new(first: *mut u64, count: usize) -> Self {
            Self { next: first, left: count, memory: PhantomData }
        }
    }

    impl Iterator for Words<'_> {
        type Item = u64;

        fn next(&mut self) -> Option<u64> {
            self.left = self.left.checked_sub(1)?;
            let at = self.next;
            self.next = at.wrapping_add(1);
            // SAFETY: there was one left.
            Some(unsafe { load_relaxed(at) })
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.left, Some(self.left))
        }

        fn fold<B, F: FnMut(B, u64) -> B>(mut self, init: B, mut f: F) -> B {
            let mut folded = init;
            while let Some(left) = self.left.checked_sub(TURN) {
                for index in 0..TURN {
                    // SAFETY: so many were left.
                    folded = f(folded, unsafe { load_relaxed(self.next.wrapping_add(index)) });
                }
                (self.next, self.left) = (self.next.wrapping_add(TURN), left);
            }
            for word in self.by_ref() {
                folded = f(folded, word);
            }
            folded
        }
    }

    impl ExactSizeIterator for Words<'_> {}

    /// # Safety
    /// `at` is aligned and can be loaded from.
    pub(super) unsafe fn load(at: *mut u64) -> Result<u64, Error> {
        // SAFETY: aligned and readable. The load is relaxed, which memory that is read-only permits; a fence orders it.
        let value = unsafe { AtomicU64::from_ptr(at) }.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Ok(u64::from_le(value))
    }

    /// # Safety
    /// `at` is aligned and can be loaded from.
    pub(super) unsafe fn load_relaxed(at: *mut u64) -> u64 {
        // SAFETY: aligned and readable.
        u64::from_le(unsafe { AtomicU64::from_ptr(at) }.load(Ordering::Relaxed))
    }

    /// # Safety
    /// `at` is aligned and can be stored to.
    #[expect(clippy::unnecessary_wraps, reason = "processors without such an access refuse")]
    pub(super) unsafe fn store(at: *mut u64, value: u64) -> Result<(), Error> {
        // SAFETY: aligned and writable.
        unsafe { AtomicU64::from_ptr(at) }.store(value.to_le(), Ordering::Release);
        Ok(())
    }
}

#[cfg(not(target_has_atomic = "64"))]
mod words {
    use crate::{Capability, Error};

    /// # Safety
    /// None: nothing is accessed.
    pub(super) unsafe fn load(_: *mut u64) -> Result<u64, Error> {
        Err(Error::Platform(Capability::Words))
    }

    /// # Safety
    /// None: nothing is accessed.
    pub(super) unsafe fn store(_: *mut u64, _: u64) -> Result<(), Error> {
        Err(Error::Platform(Capability::Words))
    }
}
