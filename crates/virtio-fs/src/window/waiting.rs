//! Waiting for others that use the window.

use core::time::Duration;

use dax_window::{Wait, WaitReason};

use super::DaxWindow;
use super::base::Patience;
use crate::{Error, Lock};

impl<R: Lock> DaxWindow<R> {
    /// Waits until something happened in the window. False at the deadline, which is no earlier than that of a request that
    /// may be in the way.
    pub(super) fn wait(&self, wait: Wait, patience: &Patience) -> Result<bool, Error> {
        self.counters.waits.add(1);
        let connection = self.rpc.connection();
        loop {
            let deadline = self.deadline(wait, patience);
            let happened = self.platform().wait(deadline, &mut || {
                connection.process();
                self.settle_detached();
                self.events.seq() != wait.seq || connection.has_orphans()
            });
            if happened {
                connection.settle();
                return Ok(true);
            }
            let now = self.rpc.now();
            if now < deadline {
                return Err(Error::Cancelled);
            }
            if self.deadline(wait, patience) <= now {
                return Ok(false);
            }
        }
    }

    /// Until when to wait, as things are now.
    fn deadline(&self, wait: Wait, patience: &Patience) -> Duration {
        let connection = self.rpc.connection();
        // References are held by those who copy or keep bytes in view, and by faults while the host makes a file durable.
        let is_request = wait.reason != WaitReason::References || connection.has_long_request();
        let live = if is_request { connection.live_until() } else { None };
        live.map_or(patience.least, |live| live.min(patience.most).max(patience.least))
    }
}
