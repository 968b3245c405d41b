//! What a volume needs of the layer that maps its files' bytes.

use alloc::sync::Arc;

use dax_window::Frozen;
use fs_dax::{FileKey, FileRange};

use crate::Error;

/// Why bytes are frozen, which decides what becomes of their mappings and of pages in page tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Freeze {
    /// The file loses the bytes, or they move: mappings and pages go.
    Cut,
    /// The bytes change in place, or become a hole: mappings stay, pages are unmapped, and no reference is held meanwhile.
    Punch,
    /// Nobody uses the file any more: mappings go.
    Drop,
}

/// Whoever maps bytes of files: freeze, change, thaw.
pub(crate) trait MappedBytes: Send + Sync {
    /// Keeps everybody out of the bytes until [`MappedBytes::thaw`].
    fn freeze(&self, file: FileKey, bytes: FileRange, why: Freeze) -> Result<Frozen, Error>;

    /// Has the next store to each page of the bytes be a fault.
    fn protect(&self, file: FileKey, bytes: FileRange);

    /// Takes programs' private copies of bytes away that the file has no more.
    fn take_copies(&self, file: FileKey, bytes: FileRange);

    /// Takes pages away that the embedder filled by reading, since bytes of the file are others now.
    fn take_filled(&self, file: FileKey);

    /// Lets new accesses in again.
    fn thaw(&self, frozen: Frozen);

    /// Takes pages of a file that was marked failed, or that are damaged, out of all page tables.
    fn unmap_failed(&self, file: FileKey, bytes: FileRange);

    /// Puts to use again what late answers have made usable.
    fn settle_late(&self);

    /// Removes all mappings and gives the window up; nothing uses it afterwards. `files` are all that may be in page tables. If
    /// bytes are in use or pinned, everything stays usable, and pins are asked for before anything is removed.
    fn shut_down(&self, files: &[FileKey]) -> Result<(), Error>;
}

/// The one who maps, or nobody: then there is nothing to freeze.
pub(crate) struct Mapped(pub(crate) Option<Arc<dyn MappedBytes>>);

impl Mapped {
    /// See [`MappedBytes::freeze`].
    pub(crate) fn freeze(&self, file: FileKey, bytes: FileRange, why: Freeze) -> Result<Option<Frozen>, Error> {
        self.0.as_ref().map(|mapped| mapped.freeze(file, bytes, why)).transpose()
    }

    /// See [`MappedBytes::thaw`].
    pub(crate) fn thaw(&self, frozen: Option<Frozen>) {
        if let (Some(mapped), Some(frozen)) = (&self.0, frozen) {
            mapped.thaw(frozen);
        }
    }

    /// See [`MappedBytes::protect`].
    pub(crate) fn protect(&self, file: FileKey, bytes: FileRange) {
        if let Some(mapped) = &self.0 {
            mapped.protect(file, bytes);
        }
    }

    /// See [`MappedBytes::take_copies`].
    pub(crate) fn take_copies(&self, file: FileKey, bytes: FileRange) {
        if let Some(mapped) = &self.0 {
            mapped.take_copies(file, bytes);
        }
    }

    /// See [`MappedBytes::take_filled`].
    pub(crate) fn take_filled(&self, file: FileKey) {
        if let Some(mapped) = &self.0 {
            mapped.take_filled(file);
        }
    }

    /// See [`MappedBytes::unmap_failed`].
    pub(crate) fn unmap_failed(&self, file: FileKey, bytes: FileRange) {
        if let Some(mapped) = &self.0 {
            mapped.unmap_failed(file, bytes);
        }
    }

    /// See [`MappedBytes::shut_down`].
    pub(crate) fn shut_down(&self, files: &[FileKey]) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |mapped| mapped.shut_down(files))
    }

    /// See [`MappedBytes::settle_late`].
    pub(crate) fn settle_late(&self) {
        if let Some(mapped) = &self.0 {
            mapped.settle_late();
        }
    }

    /// Removes the mappings past `size` of a file that the host cut.
    pub(crate) fn cut(&self, file: FileKey, size: u64) {
        let cut = FileRange::between(size, u64::MAX);
        match self.freeze(file, cut, Freeze::Cut) {
            Ok(frozen) => {
                self.take_copies(file, cut);
                self.thaw(frozen);
            }
            Err(error) => log::warn!("virtio-fs: mappings past the new end of a file remain: {error}"),
        }
    }

    /// Removes all mappings of a file that nobody uses any more.
    pub(crate) fn drop_file(&self, file: FileKey) {
        match self.freeze(file, FileRange::ALL, Freeze::Drop) {
            Ok(frozen) => self.thaw(frozen),
            Err(error) => log::warn!("virtio-fs: mappings of a file that is gone remain: {error}"),
        }
    }
}
