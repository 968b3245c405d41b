//! Look-ups to give back: collected, and sent when there are enough.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::NodeId;
use lock_api::Mutex;

use crate::Lock;
use crate::rpc::{Rpc, forget};

/// Owed FORGETs are sent once there are this many.
const BATCH: usize = 32;

/// More than this many are not owed without waiting for room to send them.
const MOST_OWED: usize = 1024;

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
        // A device that takes none must not make the list grow for ever.
        self.send(&batch, batch.len() >= MOST_OWED);
    }

    /// Sends those that are owed, if there is room.
    pub(crate) fn flush(&self) {
        let batch = core::mem::take(&mut *self.owed.lock());
        self.send(&batch, false);
    }

    /// Sends those that are owed, waiting for room.
    pub(crate) fn flush_patiently(&self) {
        let batch = core::mem::take(&mut *self.owed.lock());
        self.send(&batch, true);
    }

    /// Sends FORGETs; what cannot be sent yet stays owed.
    fn send(&self, batch: &[(NodeId, u64)], patient: bool) {
        if batch.is_empty() {
            return;
        }
        let connection = self.rpc.connection();
        // They go by another queue, and must not reach the server before a RELEASE of the same inode.
        connection.drain_detached();
        // A node that is opened for somebody who gave up has to be released first.
        let opened = connection.abandoned_opens();
        let (mut later, batch): (Vec<_>, Vec<_>) = batch.iter().copied().partition(|(node, _)| opened.contains(node));
        let mut sendable = batch.chunks(BATCH);
        for some in sendable.by_ref() {
            match forget::forget(&self.rpc, some, patient) {
                Ok(true) => {}
                Ok(false) => {
                    later.extend(some);
                    break;
                }
                Err(error) => log::warn!("virtio-fs: {} FORGETs were not sent: {error}", some.len()),
            }
        }
        later.extend(sendable.flatten());
        if !later.is_empty() {
            self.owed.lock().extend(later);
        }
    }
}
