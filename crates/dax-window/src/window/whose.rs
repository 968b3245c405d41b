//! Back from the window to the files: whose bytes lie where.

use super::Window;
use crate::descriptor::flag;
use crate::units::WindowOffset;
use fs_dax::{FileKey, FileRange, PAGE_SIZE};

impl Window {
    /// The bytes of a file that are mapped, or are being mapped or removed, in the range that a place of the window lies in. The
    /// first of them is at the begin of the range. `None` where nothing is mapped.
    pub fn file_at(&self, place: WindowOffset) -> Option<(FileKey, FileRange)> {
        let index = u32::try_from(place.0 >> self.config.range_shift).ok().filter(|index| *index < self.len)?;
        if !self.descriptors[index as usize].has(flag::IN_TREE) {
            return None;
        }
        let entry = &self.entries[index as usize];
        let (file, chunk) = entry.key();
        let start = chunk << self.config.range_shift;
        let bytes = FileRange::between(start, start.saturating_add(u64::from(entry.pages()) * PAGE_SIZE));
        Some((FileKey(file), bytes))
    }
}
