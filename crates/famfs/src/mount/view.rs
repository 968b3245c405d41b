//! Views of files, with no copy.

use fs_dax::{CacheFlush, MappedMemory, View, WritableView};
use lock_api::RawMutex;

use crate::{Error, File};

impl<F: CacheFlush, L: RawMutex> File<MappedMemory<'_, F>, L> {
    /// A view of the bytes from `offset` on: as many of the `want` as follow each other in memory, none at the end of
    /// the file and past it. What other hosts store shows in it after a [`refresh`](File::refresh).
    ///
    /// # Errors
    /// As [`check`](File::check).
    pub fn view(&self, offset: u64, want: u64) -> Result<View<'_>, Error> {
        let segment = self.resolve(offset, want)?;
        Ok(self.memory(&segment)?.memory().view(segment.offset, segment.len)?)
    }

    /// The same, to store to as well.
    ///
    /// # Errors
    /// As [`check_writable`](File::check_writable).
    pub fn writable_view(&self, offset: u64, want: u64) -> Result<WritableView<'_>, Error> {
        self.check_writable()?;
        let segment = self.resolve(offset, want)?;
        Ok(self.memory(&segment)?.memory().writable_view(segment.offset, segment.len)?)
    }
}
