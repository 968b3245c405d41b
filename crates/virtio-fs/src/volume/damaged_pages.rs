//! Pages of a file that are damaged: marked by the embedder, cleared by what overwrites or gives back whole pages.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use fs_dax::{Damage, FileRange};
use lock_api::Mutex;

use crate::Lock;

/// How many runs of damaged pages a file may have before it counts as failed.
const PLACES: usize = 64;

type Runs = Damage<[FileRange; PLACES]>;

/// The damaged pages of a file. One without any costs a load to ask.
pub(crate) struct DamagedPages<R: Lock> {
    some: AtomicBool,
    runs: Mutex<R, Option<Box<Runs>>>,
}

impl<R: Lock> DamagedPages<R> {
    pub(crate) fn new() -> Self {
        Self { some: AtomicBool::new(false), runs: Mutex::new(None) }
    }

    /// Whether no page is damaged.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        !self.some.load(Ordering::Acquire)
    }

    /// Marks the pages that `bytes` touch. There may be no place for one more run of them.
    pub(super) fn mark(&self, bytes: FileRange) -> Result<(), fs_dax::Error> {
        let mut runs = self.runs.lock();
        let runs = runs.get_or_insert_with(|| Box::new(Damage::new([FileRange::between(0, 0); PLACES])));
        let marked = runs.mark(bytes);
        self.some.store(!runs.is_empty(), Ordering::Release);
        marked
    }

    /// Takes the damage from the pages that lie wholly in `bytes`.
    pub(crate) fn clear(&self, bytes: FileRange) {
        if self.is_none() {
            return;
        }
        let mut runs = self.runs.lock();
        let Some(damage) = runs.as_mut() else { return };
        if let Err(error) = damage.clear(bytes) {
            log::warn!("virtio-fs: pages that are whole again stay marked: {error}");
        }
        if damage.is_empty() {
            *runs = None;
            self.some.store(false, Ordering::Release);
        }
    }

    /// The first damaged bytes among these.
    pub(crate) fn first_in(&self, bytes: FileRange) -> Option<FileRange> {
        if self.is_none() {
            return None;
        }
        let runs = self.runs.lock();
        let runs = runs.as_ref()?.runs();
        runs.iter().map(|run| run.intersect(bytes)).find(|damaged| !damaged.is_empty())
    }

    /// The bytes among these that are not damaged, in pieces without a gap.
    pub(crate) fn pieces(&self, bytes: FileRange) -> Vec<FileRange> {
        let mut pieces = Vec::new();
        let mut at = bytes.start();
        while at < bytes.end() {
            let damaged = self.first_in(FileRange::between(at, bytes.end()));
            let end = damaged.map_or(bytes.end(), FileRange::start);
            if at < end {
                pieces.push(FileRange::between(at, end));
            }
            at = damaged.map_or(bytes.end(), FileRange::end);
        }
        pieces
    }

    /// All damaged runs, in order.
    pub(crate) fn all(&self) -> Vec<FileRange> {
        self.runs.lock().as_ref().map_or_else(Vec::new, |damage| damage.runs().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use fs_dax::PAGE_SIZE;

    use super::*;

    #[test]
    fn pieces_are_what_is_not_damaged() {
        let damage = DamagedPages::<spin::Mutex<()>>::new();
        let page = |from: u64, to: u64| FileRange::between(from * PAGE_SIZE, to * PAGE_SIZE);
        assert!(damage.is_none() && damage.first_in(FileRange::ALL).is_none());
        assert_eq!(damage.pieces(page(0, 4)), [page(0, 4)]);
        damage.mark(page(1, 2)).expect("a place");
        damage.mark(page(4, 6)).expect("a place");
        assert_eq!(damage.pieces(page(0, 8)), [page(0, 1), page(2, 4), page(6, 8)]);
        assert_eq!(damage.pieces(page(1, 2)), []);
        assert_eq!(damage.first_in(page(2, 5)), Some(page(4, 5)));
        damage.clear(page(1, 5));
        assert_eq!(damage.all(), [page(5, 6)]);
        damage.clear(FileRange::ALL);
        assert!(damage.is_none() && damage.all().is_empty());
    }
}
