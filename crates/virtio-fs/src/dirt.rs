//! Which pages of a file were stored to through page tables since they were last made durable.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fs_dax::{DirtyRange2M, EXTENT, Errno, FileRange, InodeDirt, Settled, Writeback};

/// Bytes that one bitmap keeps track of, whatever the size of the window's ranges.
const PIECE: u64 = 2 << 20;

/// The dirty pages of an inode, in bitmaps of 2 MiB each. A file that nobody maps writable has none.
#[derive(Debug)]
pub(crate) struct DirtyPages {
    inode: InodeDirt,
    pieces: BTreeMap<u64, Box<DirtyRange2M>>,
}

/// A write-back whose pages are taken and not yet write-protected.
pub(crate) struct Taken {
    pub(crate) writeback: Writeback<fs_dax::Collecting>,
    /// The bytes to write-protect and clean: exactly the dirty pages, runs of them joined.
    pub(crate) runs: Vec<FileRange>,
}

impl DirtyPages {
    pub(crate) const fn new() -> Self {
        Self { inode: InodeDirt::new(), pieces: BTreeMap::new() }
    }

    /// Marks the pages that `bytes` touch. To be called before they become writable.
    pub(crate) fn mark(&mut self, bytes: FileRange) {
        let mut at = bytes.start();
        while at < bytes.end() {
            let start = at & !(PIECE - 1);
            let end = start.saturating_add(PIECE);
            let piece = FileRange::between(start, end);
            let marked = bytes.intersect(piece);
            match self.pieces.entry(start) {
                alloc::collections::btree_map::Entry::Occupied(mut known) => {
                    // The piece covers what was cut to it.
                    let _ = known.get_mut().mark(marked);
                }
                alloc::collections::btree_map::Entry::Vacant(free) => match DirtyRange2M::new_2m(piece) {
                    Ok(mut dirty) => {
                        let _ = dirty.mark(marked);
                        free.insert(Box::new(dirty));
                    }
                    // A piece is aligned and as large as a bitmap; at the end of the offsets there is no file.
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
        let first = bytes.start() & !(PIECE - 1);
        for piece in self.pieces.range_mut(first..).map(|(_, piece)| piece) {
            if piece.covered().start() >= bytes.end() {
                break;
            }
            if writeback.take(piece, bytes) == 0 {
                continue;
            }
            for run in piece.writing_runs() {
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
        self.pieces.retain(|_, piece| {
            // Pieces that took no part say so, and stay as they are.
            let _ = settled.apply(piece);
            !piece.is_clean()
        });
    }

    /// Dirty pages, without those that are being written back.
    pub(crate) fn pages(&self) -> usize {
        self.pieces.values().map(|piece| piece.dirty_extents()).sum()
    }
}

/// The size of the pages that are kept track of.
pub(crate) const PAGE: u64 = EXTENT;

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> FileRange {
        FileRange::between(start, end)
    }

    fn clean(dirt: &mut DirtyPages, bytes: FileRange, reply: Result<(), Errno>) -> Vec<FileRange> {
        let taken = dirt.begin(bytes).expect("no other write-back");
        dirt.finish(taken.writeback.write_protected().flushed(), reply);
        taken.runs
    }

    #[test]
    fn exactly_the_dirty_pages_are_taken_once() {
        let mut dirt = DirtyPages::new();
        dirt.mark(range(PAGE, 2 * PAGE));
        dirt.mark(range(PIECE - PAGE, PIECE + PAGE));
        assert_eq!(dirt.pages(), 3);
        let all = range(0, u64::MAX);
        let runs = clean(&mut dirt, all, Ok(()));
        assert_eq!(runs, [range(PAGE, 2 * PAGE), range(PIECE - PAGE, PIECE + PAGE)], "runs join across bitmaps");
        assert_eq!(clean(&mut dirt, all, Ok(())), [], "nothing is dirty twice");
        assert!(dirt.pieces.is_empty(), "clean bitmaps are given back");
    }

    #[test]
    fn only_the_bytes_asked_for_are_taken() {
        let mut dirt = DirtyPages::new();
        dirt.mark(range(0, 4 * PAGE));
        assert_eq!(clean(&mut dirt, range(PAGE, PAGE + 1), Ok(())), [range(PAGE, 2 * PAGE)]);
        assert_eq!(dirt.pages(), 3);
    }

    #[test]
    fn a_failed_fsync_makes_everything_dirty_again() {
        let mut dirt = DirtyPages::new();
        dirt.mark(range(0, 2 * PAGE));
        clean(&mut dirt, range(0, u64::MAX), Err(Errno::EIO));
        assert_eq!(dirt.pages(), 2);
    }

    #[test]
    fn a_store_during_the_write_back_stays_dirty() {
        let mut dirt = DirtyPages::new();
        dirt.mark(range(0, 2 * PAGE));
        let taken = dirt.begin(range(0, u64::MAX)).expect("no other write-back");
        assert!(dirt.begin(range(0, u64::MAX)).is_none(), "one at a time");
        dirt.mark(range(PAGE, 2 * PAGE));
        dirt.finish(taken.writeback.write_protected().flushed(), Ok(()));
        assert_eq!(clean(&mut dirt, range(0, u64::MAX), Ok(())), [range(PAGE, 2 * PAGE)]);
    }
}
