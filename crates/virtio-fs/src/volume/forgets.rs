//! Look-ups to give back: collected, and sent when there are enough.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::NodeId;
use lock_api::Mutex;

use crate::Lock;
use crate::rpc::{Rpc, forget};

/// Owed FORGETs are sent once there are this many.
const BATCH: usize = 32;

/// See the module.
pub(crate) struct Forgets<R: Lock> {
    rpc: Arc<Rpc<R>>,
    owed: Mutex<R, Vec<(NodeId, u64)>>,
}

impl<R: Lock> Forgets<R> {
    /// Nothing owed yet.
    pub(crate) fn new(rpc: Arc<Rpc<R>>) -> Self {
        Self { rpc, owed: Mutex::new(Vec::new()) }
    }

    /// Notes look-ups to give back; sends them when there are enough.
    pub(crate) fn owe(&self, nodeid: NodeId, lookups: u64) {
        if lookups == 0 || nodeid == NodeId::ROOT {
            return;
        }
        let batch = {
            let mut owed = self.owed.lock();
            owed.push((nodeid, lookups));
            if owed.len() < BATCH {
                return;
            }
            core::mem::take(&mut *owed)
        };
        self.send(&batch);
    }

    /// Sends all that are owed.
    pub(crate) fn flush(&self) {
        let batch = core::mem::take(&mut *self.owed.lock());
        self.send(&batch);
    }

    fn send(&self, batch: &[(NodeId, u64)]) {
        // A node that is opened for somebody who gave up has to be released first.
        let opened = self.rpc.connection().abandoned_opens();
        let (later, batch): (Vec<_>, Vec<_>) = batch.iter().partition(|(node, _)| opened.contains(node));
        if !later.is_empty() {
            self.owed.lock().extend(later);
        }
        for some in batch.chunks(BATCH) {
            if let Err(error) = forget::forget(&self.rpc, some) {
                log::warn!("virtio-fs: {} FORGETs were not sent: {error}", some.len());
            }
        }
    }
}
