//! File mappings: programs' address spaces with pages that come by page faults through a file system.
//!
//! This is the embedder's side of `fs_dax`, as small as it can be and still right on several processors. Files are those of
//! virtio-fs and of famfs, behind one trait:
//!
//! - a [`Process`] has views of files, and one lock around its page tables, which is never held while the driver, the device or
//!   another processor is waited for;
//! - [`handle`] is the page-fault handler: it asks the driver with no lock held, and installs under the lock what is still
//!   current;
//! - [`PageTables`] is what the driver calls to take pages away: from every process, and out of every processor's TLB, before
//!   it returns;
//! - a [`pin::Pin`] keeps a page where it is, whoever wants it, until it is dropped.

mod fault;
mod file;
mod pin;
mod process;
mod running;
mod shared;
mod virtio;

use crate::arch::{
    smp,
    traps::{PageFault, Resolution},
};
use core::sync::atomic::{AtomicU64, Ordering};
pub(crate) use file::Mapped;
use fs_dax::{Errno, FileKey, FileRange, Mappings, UnmapCause};
pub(crate) use pin::set_patience;
pub(crate) use process::{Counts, Process, View, ViewRequest};
use running::{current, processes};
pub(crate) use shared::SharedFile;
pub(crate) use virtio::File;

/// The page-fault handler.
pub(crate) fn handle(fault: &PageFault) -> Resolution {
    let Some(process) = current() else { return Resolution::BusError(Errno::EFAULT) };
    match process.resolve(fault.address, fault.write) {
        Ok(()) => Resolution::Retry,
        Err(errno) => Resolution::BusError(errno),
    }
}

/// The page tables of all processes, for the driver: what the file system's `set_mappings` is given.
#[derive(Debug, Default)]
pub(crate) struct PageTables {
    unmapped: AtomicU64,
    protected: AtomicU64,
    protections: AtomicU64,
    shootdowns: AtomicU64,
}

impl PageTables {
    /// Page-table entries of window memory that the driver had taken away.
    pub(crate) fn unmapped(&self) -> u64 {
        self.unmapped.load(Ordering::Acquire)
    }

    /// Entries that it had made read-only.
    pub(crate) fn protected(&self) -> u64 {
        self.protected.load(Ordering::Acquire)
    }

    /// For how many ranges it asked for that.
    pub(crate) fn protections(&self) -> u64 {
        self.protections.load(Ordering::Acquire)
    }

    /// How often all processors had to forget what they remembered, for that.
    pub(crate) fn shootdowns(&self) -> u64 {
        self.shootdowns.load(Ordering::Acquire)
    }
}

impl Mappings for PageTables {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        let mut removed = process::Removed::default();
        for process in processes() {
            removed.add(process.take_pages(file, range, cause));
        }
        self.unmapped.fetch_add(removed.window_pages, Ordering::AcqRel);
        removed.finish();
    }

    fn write_protect(&self, file: FileKey, range: FileRange) {
        self.write_protect_all(file, &[range]);
    }

    fn write_protect_all(&self, file: FileKey, ranges: &[FileRange]) {
        let protect =
            |process: &Process| -> u64 { ranges.iter().map(|range| process.write_protect(file, *range)).sum() };
        let protected: u64 = processes().iter().map(|process| protect(process)).sum();
        if protected > 0 {
            let remembered = smp::Remembered::now();
            smp::flush_tlbs();
            remembered.check_forgotten();
            self.shootdowns.fetch_add(1, Ordering::AcqRel);
        }
        self.protected.fetch_add(protected, Ordering::AcqRel);
        self.protections.fetch_add(ranges.len() as u64, Ordering::AcqRel);
    }

    /// What the driver has lent out itself it knows; this is for pages that programs pinned by their addresses.
    fn wait_for_pins(&self, file: FileKey, range: FileRange) -> Result<(), Errno> {
        pin::wait(file, range)
    }
}
