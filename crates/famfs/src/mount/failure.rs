//! Memory that fails while the file system is mounted.

use alloc::vec::Vec;

use fs_dax::{DeviceIndex, Errno, FileKey, FileRange, Mappings, SharedMemory, UnmapCause};
use lock_api::RawMutex;

use super::state::{Inner, Mount};

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// Tells the mount that `len` bytes at `offset` of a device are lost: memory that is gone, not single pages that are damaged
    /// (see [`notify_damage`](Self::notify_damage)). The files that have some of them fail with
    /// EIO, for good, and their pages are taken out of `mappings`; all others stay as they are. If superblock or log
    /// are hit, nothing is followed or appended any more. A whole device is all of its bytes.
    ///
    /// Gives how many files failed that had not failed before.
    pub fn notify_failure(&self, device: DeviceIndex, offset: u64, len: u64, mappings: &impl Mappings) -> usize {
        let end = offset.saturating_add(len);
        self.inner.fail_metadata(device, FileRange::between(offset, end));
        let change = self.inner.layout.change();
        let failed = self.inner.fail_files(device, offset, end);
        for key in &failed {
            mappings.unmap(*key, FileRange::ALL, UnmapCause::Failure);
        }
        drop(change);
        failed.len()
    }
}

impl<M: SharedMemory, L: RawMutex> Inner<M, L> {
    /// Ends following and appending if these bytes of a device are the superblock's or the log's.
    pub(super) fn fail_metadata(&self, device: DeviceIndex, bytes: FileRange) {
        let superblock = &self.superblock;
        let parts = [
            FileRange::between(0, superblock.format.superblock_len() as u64),
            FileRange::between(superblock.log_offset, superblock.log_end()),
        ];
        if device.0 == 0 && parts.iter().any(|part| !part.intersect(bytes).is_empty()) {
            self.metadata.fail(Errno::EIO);
        }
    }

    /// Marks the files that have bytes in `offset..end` of a device, and gives their keys.
    fn fail_files(&self, device: DeviceIndex, offset: u64, end: u64) -> Vec<FileKey> {
        let state = self.state.lock();
        let files = state.tree.nodes().filter_map(|(_, node)| node.file());
        let hit = files.filter(|file| {
            file.extents().iter().any(|extent| {
                // Ends were checked to fit when the map was made.
                let extent_end = extent.offset.0 + extent.len;
                extent.device == device && offset.max(extent.offset.0) < end.min(extent_end)
            })
        });
        hit.filter(|file| file.mapped().failure().fail(Errno::EIO)).map(|file| file.key()).collect()
    }
}
