//! Counting changes, so that whoever looked before one can tell.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Changes that have begun and changes that have ended. Nobody is in the middle of one exactly when both are equal.
///
/// Both only grow and `finished` never passes `started`. So if `started` equals a value of `finished` that was read
/// earlier, no change was under way at that time and none has begun since: one comparison answers both.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    started: AtomicUsize,
    finished: AtomicUsize,
}

impl Changes {
    pub(crate) const fn new(count: usize) -> Self {
        Self { started: AtomicUsize::new(count), finished: AtomicUsize::new(count) }
    }

    pub(crate) fn begin(&self) {
        // Sequentially consistent with the loads below: a change that is seen by what it does is seen here too.
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// What to compare with later.
    pub(crate) fn seen(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    /// Whether nothing was under way when `seen` was read and nothing has begun since.
    pub(crate) fn unchanged_since(&self, seen: usize) -> bool {
        self.started.load(Ordering::SeqCst) == seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_before_during_and_after() {
        let changes = Changes::new(0);
        let before = changes.seen();
        assert!(changes.unchanged_since(before));
        changes.begin();
        let during = changes.seen();
        assert!(!changes.unchanged_since(before) && !changes.unchanged_since(during));
        changes.begin();
        let both = changes.seen();
        changes.end();
        let one_left = changes.seen();
        changes.end();
        for seen in [before, during, both, one_left] {
            assert!(!changes.unchanged_since(seen));
        }
        assert!(changes.unchanged_since(changes.seen()));
    }

    #[test]
    fn counters_wrap() {
        let changes = Changes::new(usize::MAX);
        let seen = changes.seen();
        changes.begin();
        assert!(!changes.unchanged_since(seen));
        changes.end();
        assert!(changes.unchanged_since(changes.seen()));
    }
}
