//! Files at places of the embedder's choice, in parts of the window that are not the driver's.

use fs_dax::{DeviceOffset, FileRange};
use fuse_proto::Errno;

use super::FileIo;
use super::damage::DAMAGED;
use super::open_file::OpenFile;
use crate::window::DaxWindow;
use crate::window::part::PartClaim;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Maps `len` bytes of a file from `offset` on at the place `at` of a part.
    pub(crate) fn map_in_part(
        &self,
        file: &OpenFile<R>,
        claim: &PartClaim,
        at: DeviceOffset,
        offset: u64,
        len: u64,
    ) -> Result<(), Error> {
        self.volume.check_alive(&file.inode)?;
        let window = self.some_window()?;
        let window_offset = window.place(claim, at, len)?;
        if file.inode.damage.first_in(FileRange::between(offset, offset.saturating_add(len))).is_some() {
            return Err(DAMAGED);
        }
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > window.mappable_end(file.inode.size())) {
            return Err(Error::refused(Errno::ENXIO, "past the last byte that the host can map"));
        }
        let writable = file.options.is_writable();
        if writable {
            self.volume.clear_set_id(file.handle.who, &file.inode)?;
        }
        if writable && self.needs_prealloc(file, offset.saturating_add(len)) {
            self.preallocate(file, offset, len)?;
        }
        window.map_at(&file.id(), offset, len, window_offset, writable)
    }

    /// Removes what [`FileIo::map_in_part`] mapped.
    pub(crate) fn unmap_in_part(&self, claim: &PartClaim, at: DeviceOffset, len: u64) -> Result<(), Error> {
        let window = self.some_window()?;
        window.unmap_at(window.place(claim, at, len)?, len)
    }

    fn some_window(&self) -> Result<&DaxWindow<R>, Error> {
        self.window().map(|window| &**window).ok_or(Error::refused(Errno::EOPNOTSUPP, "there is no window"))
    }
}
