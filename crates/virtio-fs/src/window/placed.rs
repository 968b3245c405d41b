//! Mappings at places of the embedder's choice, in parts of the window that are not the driver's.

use fs_dax::DeviceOffset;
use fuse_proto::MappingRange;

use super::DaxWindow;
use super::part::PartClaim;
use super::pending::FileId;
use crate::rpc::mapping::{self, Mapping};
use crate::{Error, Lock};

impl<R: Lock> DaxWindow<R> {
    /// Where the device counts `len` bytes at `at` in a part. Errors are those of [`PartClaim::place`].
    pub(crate) fn place(&self, claim: &PartClaim, at: DeviceOffset, len: u64) -> Result<u64, Error> {
        claim.place(&self.memory.whole(), &self.memory.region(), at, len)
    }

    /// Maps `len` bytes of a file from `file_offset` on to `window_offset`, which [`DaxWindow::place`] returned.
    pub(crate) fn map_at(
        &self,
        file: &FileId,
        file_offset: u64,
        len: u64,
        window_offset: u64,
        writable: bool,
    ) -> Result<(), Error> {
        let mapping = Mapping { node: file.node, file_offset, len, window_offset, writable };
        self.counters.setup_mappings.add(1);
        let result = mapping::set_up(&self.rpc, file.who, &mapping);
        if result.is_err() {
            self.counters.setup_refused.add(1);
        }
        result
    }

    /// Removes what [`DaxWindow::map_at`] mapped.
    pub(crate) fn unmap_at(&self, window_offset: u64, len: u64) -> Result<(), Error> {
        self.counters.remove_requests.add(1);
        self.counters.removed_mappings.add(1);
        mapping::remove(&self.rpc, &[MappingRange::new(window_offset, len)])
    }
}
