//! Which pages of a file were stored to through page tables since they were last made durable.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fs_dax::{DirtyRange2M, Errno, FileRange, InodeDirt, RANGE_SIZE, Settled, Writeback};

/// The dirty pages of an inode, in bitmaps of 2 MiB each. A file that nobody maps writable has none.
#[derive(Debug)]
pub(crate) struct DirtyPages {
    inode: InodeDirt,
    chunks: BTreeMap<u64, Box<DirtyRange2M>>,
}

/// A write-back with pages that are taken and not yet write-protected.
pub(crate) struct Taken {
    pub(crate) writeback: Writeback<fs_dax::Collecting>,
    /// The bytes to write-protect and clean: exactly the dirty pages, runs of them joined.
    pub(crate) runs: Vec<FileRange>,
}

impl DirtyPages {
    pub(crate) const fn new() -> Self {
        Self { inode: InodeDirt::new(), chunks: BTreeMap::new() }
    }

    /// Marks the pages that `bytes` touch. To be called before they become writable.
    pub(crate) fn mark(&mut self, bytes: FileRange) {
        let mut at = bytes.start();
        while at < bytes.end() {
            let start = at & !(RANGE_SIZE - 1);
            let end = start.saturating_add(RANGE_SIZE);
            let chunk = FileRange::between(start, end);
            let marked = bytes.intersect(chunk);
            match self.chunks.entry(start) {
                alloc::collections::btree_map::Entry::Occupied(mut known) => {
                    // The chunk covers what was cut to it.
                    let _ = known.get_mut().mark(marked);
                }
                alloc::collections::btree_map::Entry::Vacant(free) => match DirtyRange2M::new_2m(chunk) {
                    Ok(mut dirty) => {
                        let _ = dirty.mark(marked);
                        free.insert(Box::new(dirty));
                    }
                    // A chunk is aligned and as large as a bitmap; at the end of the offsets there is no file.
                    Err(_) => self.inode.wrote(),
                },
            }
            at = end;
        }
    }

    /// Begins the write-back of the dirty pages that `bytes` touch. `None` while another one is under way.
    pub(crate) fn begin(&mut self, bytes: FileRange) -> Option<Taken> {
        let mut writeback = self.inode.begin().ok()?;
        let mut runs: Vec<FileRange> = Vec::new();
        let first = bytes.start() & !(RANGE_SIZE - 1);
        for chunk in self.chunks.range_mut(first..).map(|(_, chunk)| chunk) {
            if chunk.covered().start() >= bytes.end() {
                break;
            }
            if writeback.take(chunk, bytes) == 0 {
                continue;
            }
            for run in chunk.writing_runs() {
                match runs.last_mut() {
                    Some(last) if last.end() == run.start() => *last = FileRange::between(last.start(), run.end()),
                    _ => runs.push(run),
                }
            }
        }
        Some(Taken { writeback, runs })
    }

    /// Ends a write-back with the reply to its FSYNC: its pages are clean, or dirty again.
    pub(crate) fn finish(&mut self, writeback: Writeback<fs_dax::Flushed>, reply: Result<(), Errno>) {
        let Ok(settled) = self.inode.finish(writeback, reply) else { return };
        self.settle(&settled);
    }

    fn settle(&mut self, settled: &Settled) {
        self.chunks.retain(|_, chunk| {
            // Chunks that took no part say so, and stay as they are.
            let _ = settled.apply(chunk);
            !chunk.is_clean()
        });
    }

    /// Dirty pages, without those that are being written back.
    pub(crate) fn pages(&self) -> usize {
        self.chunks.values().map(|chunk| chunk.dirty_pages()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_dax::PAGE_SIZE;

    fn range(start: u64, end: u64) -> FileRange {
        FileRange::between(start, end)
    }

    fn clean(dirty_pages: &mut DirtyPages, bytes: FileRange, reply: Result<(), Errno>) -> Vec<FileRange> {
        let taken = dirty_pages.begin(bytes).expect("no other write-back");
        dirty_pages.finish(taken.writeback.write_protected().flushed(), reply);
        taken.runs
    }

    #[test]
    fn exactly_the_dirty_pages_are_taken_once() {
        let mut dirty_pages = DirtyPages::new();
        dirty_pages.mark(range(PAGE_SIZE, 2 * PAGE_SIZE));
        dirty_pages.mark(range(RANGE_SIZE - PAGE_SIZE, RANGE_SIZE + PAGE_SIZE));
        assert_eq!(dirty_pages.pages(), 3);
        let all = range(0, u64::MAX);
        let runs = clean(&mut dirty_pages, all, Ok(()));
        assert_eq!(
            runs,
            [range(PAGE_SIZE, 2 * PAGE_SIZE), range(RANGE_SIZE - PAGE_SIZE, RANGE_SIZE + PAGE_SIZE)],
            "runs join across bitmaps"
        );
        assert_eq!(clean(&mut dirty_pages, all, Ok(())), [], "nothing is dirty twice");
        assert!(dirty_pages.chunks.is_empty(), "clean bitmaps are given back");
    }

    #[test]
    fn only_the_bytes_asked_for_are_taken() {
        let mut dirty_pages = DirtyPages::new();
        dirty_pages.mark(range(0, 4 * PAGE_SIZE));
        assert_eq!(clean(&mut dirty_pages, range(PAGE_SIZE, PAGE_SIZE + 1), Ok(())), [range(PAGE_SIZE, 2 * PAGE_SIZE)]);
        assert_eq!(dirty_pages.pages(), 3);
    }

    #[test]
    fn a_failed_fsync_makes_everything_dirty_again() {
        let mut dirty_pages = DirtyPages::new();
        dirty_pages.mark(range(0, 2 * PAGE_SIZE));
        clean(&mut dirty_pages, range(0, u64::MAX), Err(Errno::EIO));
        assert_eq!(dirty_pages.pages(), 2);
    }

    #[test]
    fn a_store_during_the_write_back_stays_dirty() {
        let mut dirty_pages = DirtyPages::new();
        dirty_pages.mark(range(0, 2 * PAGE_SIZE));
        let taken = dirty_pages.begin(range(0, u64::MAX)).expect("no other write-back");
        assert!(dirty_pages.begin(range(0, u64::MAX)).is_none(), "one at a time");
        dirty_pages.mark(range(PAGE_SIZE, 2 * PAGE_SIZE));
        dirty_pages.finish(taken.writeback.write_protected().flushed(), Ok(()));
        assert_eq!(clean(&mut dirty_pages, range(0, u64::MAX), Ok(())), [range(PAGE_SIZE, 2 * PAGE_SIZE)]);
    }
}
