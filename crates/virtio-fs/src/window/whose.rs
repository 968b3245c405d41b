//! Back from the window's memory to the files that are mapped there.

use alloc::vec::Vec;

use dax_window::WindowOffset;
use fs_dax::{FileKey, FileRange};

use super::DaxWindow;
use crate::Lock;

impl<R: Lock> DaxWindow<R> {
    /// Which bytes of which files lie at `len` guest-physical addresses from `addr` on.
    pub(crate) fn files_at(&self, addr: u64, len: u64) -> Vec<(FileKey, FileRange)> {
        let region = self.region();
        let wanted = FileRange::between(addr, addr.saturating_add(len));
        let wanted = wanted.intersect(FileRange::between(region.addr(), region.end()));
        let mut found = Vec::new();
        let mut at = wanted.start();
        while at < wanted.end() {
            let place = at - region.addr();
            let range_start = place & !(self.range_size() - 1);
            let end = wanted.end().min(region.addr() + range_start + self.range_size());
            if let Some((file, bytes)) = self.with(|window| window.file_at(WindowOffset(place))) {
                let before = bytes.start();
                let hit =
                    FileRange::between(before + (place - range_start), before + (end - region.addr() - range_start));
                let hit = hit.intersect(bytes);
                if !hit.is_empty() {
                    found.push((file, hit));
                }
            }
            at = end;
        }
        found
    }
}
