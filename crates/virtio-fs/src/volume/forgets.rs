//! Look-ups to give back: collected, and sent when there are enough.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::{ForgetOne, NodeId};
use lock_api::Mutex;

use crate::rpc::{Rpc, forget};
use crate::{Error, Lock};

/// So many fit into a request without a buffer for data.
const SMALL_BATCH: usize = 32;

/// The most that are sent in one request.
const LARGE_BATCH: usize = 512;

/// More than so many batches are not owed without waiting for room to send them.
const MOST_BATCHES: usize = 4;

/// See the module.
pub(crate) struct Forgets<R: Lock> {
    rpc: Arc<Rpc<R>>,
    owed: Mutex<R, Vec<(NodeId, u64)>>,
    /// Those that are owed are sent once there are this many.
    batch: usize,
}

impl<R: Lock> Forgets<R> {
    /// Nothing owed yet. The server keeps what is owed, beside the `inodes` that are held at most: a part of them more.
    pub(crate) fn new(rpc: Arc<Rpc<R>>, inodes: usize) -> Self {
        Self { rpc, owed: Mutex::new(Vec::new()), batch: (inodes / 2).clamp(SMALL_BATCH, LARGE_BATCH) }
    }

    /// Notes look-ups to give back; sends them when there are enough.
    pub(crate) fn owe(&self, nodeid: NodeId, lookups: u64) {
        if lookups == 0 || nodeid == NodeId::ROOT {
            return;
        }
        let batch = {
            let mut owed = self.owed.lock();
            owed.push((nodeid, lookups));
            if owed.len() < self.batch {
                return;
            }
            core::mem::replace(&mut *owed, Vec::with_capacity(self.batch))
        };
        // A device that takes none must not make the list grow for ever.
        self.send(&batch, batch.len() >= MOST_BATCHES * self.batch.max(SMALL_BATCH * 8));
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
        if opened.is_empty() {
            self.send_now(batch, patient);
        } else {
            self.send_closed(batch, &opened, patient);
        }
    }

    /// Sends those of nodes that are not `opened`; the others stay owed.
    #[cold]
    fn send_closed(&self, batch: &[(NodeId, u64)], opened: &[NodeId], patient: bool) {
        let (later, batch): (Vec<_>, Vec<_>) = batch.iter().copied().partition(|(node, _)| opened.contains(node));
        self.send_now(&batch, patient);
        self.owed.lock().extend(later);
    }

    fn send_now(&self, batch: &[(NodeId, u64)], patient: bool) {
        let connection = self.rpc.connection();
        let mut rest = batch;
        let mut most = LARGE_BATCH.min(connection.data_buffer_size() / size_of::<ForgetOne>()).max(SMALL_BATCH);
        while !rest.is_empty() {
            let (some, others) = rest.split_at(most.min(rest.len()));
            match forget::forget(&self.rpc, some, patient) {
                Ok(true) => rest = others,
                // Others have the buffers: what needs none may go all the same.
                Ok(false) if some.len() > SMALL_BATCH => most = SMALL_BATCH,
                Ok(false) => break,
                Err(error) => {
                    warn_unsent(some.len(), &error);
                    rest = others;
                }
            }
        }
        if !rest.is_empty() {
            self.owed.lock().extend(rest);
        }
    }
}

/// Apart, so that the message is on the stack only now.
#[cold]
fn warn_unsent(count: usize, error: &Error) {
    log::warn!("virtio-fs: {count} FORGETs were not sent: {error}");
}
