//! The host's own ways to a file.
#![expect(unsafe_code, reason = "memory that is mapped from a file is accessed by pointer")]

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::ptr::{self, NonNull};

use anyhow::{Context as _, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags};

/// Opens a file for everything.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// Part of a file, mapped shared.
#[derive(Debug)]
pub(crate) struct Mapped {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: it is accessed through raw pointers, for measurements that no value depends on.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps `len` bytes from `offset` on. The file must be as long, and stay so.
    pub(crate) fn new(file: &File, offset: u64, len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: an address of the kernel's choice takes nobody's place.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, file, offset) }?;
        Ok(Self { base: NonNull::new(base.cast()).context("a mapping at address 0")?, len })
    }

    fn place(&self, offset: u64, len: usize) -> Result<*mut u8> {
        let offset = offset as usize;
        ensure!(offset.checked_add(len).is_some_and(|end| end <= self.len), "past the mapping");
        // SAFETY: the offset is inside the mapping.
        Ok(unsafe { self.base.add(offset) }.as_ptr())
    }

    /// Copies from the file.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let from = self.place(offset, buffer.len())?;
        // SAFETY: both places have as many bytes, and a buffer is not part of the mapping.
        unsafe { ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        black_box(buffer);
        Ok(())
    }

    /// Copies to the file.
    pub(crate) fn write(&self, buffer: &[u8], offset: u64) -> Result<()> {
        let to = self.place(offset, buffer.len())?;
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(buffer.as_ptr(), to, buffer.len()) };
        Ok(())
    }

    /// Loads one byte.
    pub(crate) fn touch(&self, offset: u64) -> Result<()> {
        let from = self.place(offset, 1)?;
        // SAFETY: the byte is in the mapping.
        black_box(unsafe { from.read_volatile() });
        Ok(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own, and nothing points into it any more.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        if let Err(error) = unmapped {
            eprintln!("native-bench: a mapping stays: {error}");
        }
    }
}
