//! Pages that are damaged while the file system is mounted: bad blocks, poisoned lines.

use alloc::vec::Vec;

use fs_dax::{DeviceIndex, FileKey, FileRange, Mappings, SharedMemory, UnmapCause};
use lock_api::RawMutex;

use super::damaged::bytes_of;
use super::state::{Inner, Mount};
use crate::FileNode;

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// Notes that the pages of a device are damaged that `len` bytes at `offset` touch: bad blocks, as a machine check
    /// or the device reports them. Reads, stores, views and faults that touch one are EIO, and nothing else is: the rest of
    /// the same files goes on. A write of the whole page makes it whole again. What is mapped of the pages is taken out of
    /// `mappings`; views that exist go on showing them. Of memory that is gone for good
    /// [`notify_failure`](Self::notify_failure) fails the files.
    ///
    /// If superblock or log are hit, nothing is followed or appended any more. With more than 64 separate runs of damaged
    /// pages on a device, the files have failed that have some of the next.
    ///
    /// Returns how many files have some of the pages.
    pub fn notify_damage(&self, device: DeviceIndex, offset: u64, len: u64, mappings: &impl Mappings) -> usize {
        let bytes = FileRange::between(offset, offset.saturating_add(len));
        if bytes.is_empty() {
            return 0;
        }
        if self.inner.damage.mark(device, bytes).is_err() {
            return self.notify_failure(device, offset, len, mappings);
        }
        self.inner.fail_metadata(device, bytes.pages());
        // A fault that found a page whole does not install it.
        let change = self.inner.layout.change();
        let hit = self.inner.files_with(device, bytes.pages());
        for (key, range) in hit.iter().flat_map(|(key, ranges)| ranges.iter().map(move |range| (key, range))) {
            mappings.unmap(*key, *range, UnmapCause::Failure);
        }
        drop(change);
        hit.len()
    }
}

impl<M: SharedMemory, L: RawMutex> Inner<M, L> {
    /// The files that have some of a device's bytes, and which of theirs those are.
    fn files_with(&self, device: DeviceIndex, bytes: FileRange) -> Vec<(FileKey, Vec<FileRange>)> {
        let state = self.state.lock();
        let files = state.tree.nodes().filter_map(|(_, node)| node.file());
        let found = files.map(|file| (file.key(), parts_on(file, device, bytes)));
        found.filter(|(_, parts)| !parts.is_empty()).collect()
    }
}

/// Which bytes of a file lie among a device's `bytes`. A file that failed has none.
fn parts_on(file: &FileNode, device: DeviceIndex, bytes: FileRange) -> Vec<FileRange> {
    let mut parts = Vec::new();
    let touched = |extent: &fs_dax::Extent| {
        let extent_bytes = FileRange::between(extent.offset.0, extent.offset.0 + extent.len);
        extent.device == device && !extent_bytes.intersect(bytes).is_empty()
    };
    let Ok(map) = file.mapped().map() else { return parts };
    if !map.extents().iter().any(touched) {
        return parts;
    }
    let mut at = 0;
    while at < map.size() {
        let segment = map.resolve(at, u64::MAX);
        let hit = bytes_of(&segment).intersect(bytes);
        if segment.device == device && !hit.is_empty() {
            let start = at + (hit.start() - segment.offset.0);
            parts.push(FileRange::between(start, start + hit.len()).pages());
        }
        if segment.len == 0 {
            break;
        }
        at += segment.len;
    }
    parts
}
