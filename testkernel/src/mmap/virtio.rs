//! Files of the virtio-fs driver.

use super::file::{Guard, Mapped, Pages, Read, Refusal};
use fs_dax::{Errno, Fault, FaultOutcome, FileKey, Page, PageMapping};
use virtio_fs::{FaultGuard, LayoutWatch};

/// A file of the driver's.
pub(crate) type File = virtio_fs::File<spin::Mutex<()>>;

impl Mapped for File {
    fn key(&self) -> FileKey {
        Self::key(self)
    }

    /// The driver tracks dirt: a page becomes writable by its first store.
    fn answer(&self, fault: &Fault, _may_store: bool, pages: &dyn Pages) -> Result<(), Refusal> {
        let watch = self.watch();
        let mut outcome = self.fault(fault);
        loop {
            outcome = match outcome {
                FaultOutcome::Map(PageMapping { page, writable, guard }) => {
                    return pages.install(&page, writable, &mut Some(guard));
                }
                FaultOutcome::Copy(PageMapping { page, guard, .. }) => return pages.copy(&page, &Some(guard)),
                FaultOutcome::NeedsSync(sync) => self.finish_sync(fault, sync),
                FaultOutcome::NeedsAllocation(allocate) => self.finish_allocation(fault, allocate),
                FaultOutcome::Hole => return pages.fill(fault, &Watched { file: self, watch }),
                FaultOutcome::NeedsWritable => return Err(Refusal::Bus(Errno::EACCES)),
                FaultOutcome::SmallerPage => return Err(Refusal::SmallOnly),
                FaultOutcome::Retry => return Ok(()),
                FaultOutcome::BusError(errno) => return Err(Refusal::Bus(errno)),
            };
        }
    }
}

/// Gone once the page is installed.
impl Guard for Option<FaultGuard<spin::Mutex<()>>> {
    fn is_current(&self) -> bool {
        self.as_ref().is_some_and(FaultGuard::is_current)
    }

    fn installed(&mut self, page: &Page, writable: bool) {
        if let Some(guard) = self.take() {
            guard.installed(page, writable);
        }
    }
}

/// A file at a moment.
struct Watched<'a> {
    file: &'a File,
    watch: LayoutWatch,
}

impl Read for Watched<'_> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.file.read_at(bytes, offset).map_err(|error| Errno::new(error.errno().number()).unwrap_or(Errno::EIO))
    }

    fn is_current(&self) -> bool {
        self.file.unchanged_since(self.watch)
    }
}
