//! Putting ranges to use again whose late answers have come.

use dax_window::Outcome;

use super::DaxWindow;
use super::late::GivenUp;
use crate::Lock;
use crate::rpc::orphans;

impl<R: Lock> DaxWindow<R> {
    /// Puts the ranges to use again whose late answers have come.
    #[inline]
    pub(crate) fn settle_late(&self) {
        if self.late.any() || self.rpc.connection().has_late_mappings() {
            self.settle_answered();
        }
    }

    #[cold]
    fn settle_answered(&self) {
        self.rpc.connection().process();
        for orphan in self.rpc.connection().take_late_mappings() {
            let Some(GivenUp { late, ranges, .. }) = self.late.take(orphan.meta.unique) else { continue };
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
