//! Requests about the window that were given up: their ranges are out of use until the late answer comes.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use dax_window::Late;
use lock_api::Mutex;

use crate::Lock;

/// A request that was given up, by its number.
pub(super) struct GivenUp {
    unique: u64,
    pub(super) late: Late,
    /// How many ranges it is about.
    pub(super) ranges: usize,
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

    /// Takes the request that a late answer is about.
    pub(super) fn take(&self, unique: u64) -> Option<GivenUp> {
        let mut given_up = self.given_up.lock();
        let index = given_up.iter().position(|given_up| given_up.unique == unique)?;
        self.count.fetch_sub(1, Ordering::AcqRel);
        Some(given_up.swap_remove(index))
    }

    /// Whether an answer is missing.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }
}
