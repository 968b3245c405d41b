//! Late answers to requests about the window: a range that was out of use since its request was given up is usable again
//! when the answer comes.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use dax_window::{Late, Outcome};
use lock_api::Mutex;

use super::DaxWindow;
use crate::Lock;
use crate::rpc::orphans;

/// A request that was given up, by its number.
struct GivenUp {
    unique: u64,
    late: Late,
    /// How many ranges it is about.
    ranges: usize,
}

/// The requests that were given up and not answered yet.
pub(super) struct LateMappings<R> {
    given_up: Mutex<R, Vec<GivenUp>>,
    count: AtomicUsize,
}

impl<R: Lock> LateMappings<R> {
    pub(super) fn new() -> Self {
        Self { given_up: Mutex::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// Keeps a request that is about to be given up; not after that, or its answer may have come already.
    pub(super) fn keep(&self, unique: u64, late: Option<Late>, ranges: usize) {
        let Some(late) = late else { return };
        self.given_up.lock().push(GivenUp { unique, late, ranges });
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn take(&self, unique: u64) -> Option<GivenUp> {
        let mut given_up = self.given_up.lock();
        let index = given_up.iter().position(|given_up| given_up.unique == unique)?;
        self.count.fetch_sub(1, Ordering::AcqRel);
        Some(given_up.swap_remove(index))
    }

    fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }
}

impl<R: Lock> DaxWindow<R> {
    /// Puts the ranges to use again whose late answers have come.
    pub(crate) fn settle_late(&self) {
        if self.late.any() {
            self.rpc.connection().process();
        }
        for orphan in self.rpc.connection().take_late_mappings() {
            let Some(GivenUp { late, ranges, .. }) = self.late.take(orphan.about.unique) else { continue };
            let outcome = match orphans::refusal(&self.rpc, &orphan) {
                Ok(None) => Outcome::Done,
                // One range is all or nothing; of several, some may be gone when the server says no.
                Ok(Some(errno)) if ranges == 1 => Outcome::Refused(errno.number()),
                _ => Outcome::Unknown,
            };
            let freed = self.with(|window| window.late(late, outcome));
            log::info!(
                "virtio-fs: a late answer about {ranges} ranges of the window: {outcome:?}, {freed} are free by it"
            );
        }
    }
}
