//! Waiting for others that use the window.

use core::time::Duration;

use dax_window::Wait;

use super::DaxWindow;
use crate::Lock;

impl<R: Lock> DaxWindow<R> {
    /// Waits until something happened in the window; false at the deadline.
    pub(super) fn wait(&self, wait: Wait, deadline: Duration) -> bool {
        self.counters.waits.add(1);
        self.platform().wait(deadline, &mut || {
            self.rpc.connection().process();
            self.settle_detached();
            self.events.seq() != wait.seq
        })
    }
}
