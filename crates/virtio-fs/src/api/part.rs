//! Files at places of the embedder's choice in the window.

use fs_dax::DeviceOffset;

use crate::{Error, File, Lock, PartClaim, VirtioFs};

impl<R: Lock> File<R> {
    /// Maps `len` bytes of the file from `offset` on at the place `at` of a part of the window that is not the driver's:
    /// SETUPMAPPING, writable if the file is open for writing. They stay there until [`VirtioFs::unmap_in_part`]. The driver
    /// keeps no account of them: before the file is cut or the file system unmounted, nobody may use them any more.
    ///
    /// # Errors
    ///
    /// ERANGE past the end of the part, EPERM where the driver's own part is, ENXIO past the last byte of the file that the
    /// host can map, ENOSPC for holes on a full disk, EOPNOTSUPP without a window, EIO for a failed file, and the server's
    /// own errors (EINVAL for what is not aligned as it aligns mappings).
    pub fn map_in_part(&self, claim: &PartClaim, at: DeviceOffset, offset: u64, len: u64) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.map_in_part(&self.open, claim, at, offset, len)
    }
}

impl<R: Lock> VirtioFs<R> {
    /// Removes what [`File::map_in_part`] mapped to `len` bytes at `at`: REMOVEMAPPING. Nobody may use them any more.
    ///
    /// # Errors
    ///
    /// ERANGE, EPERM and EOPNOTSUPP as there; the server's own if nothing is mapped.
    pub fn unmap_in_part(&self, claim: &PartClaim, at: DeviceOffset, len: u64) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.unmap_in_part(claim, at, len)
    }
}
