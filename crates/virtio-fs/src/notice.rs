//! What the server says without being asked, and what the driver forgets because of it.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use fuse_proto::{ByteOrder, Notification};
use lock_api::RawMutex;

use crate::shared::Shared;
use crate::stats::Counters;

/// Messages acted upon in one go: a server that never stops talking must not keep its caller for ever.
const AT_ONCE: usize = 64;

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// Acts upon what has come through the notification queue. Returns how many messages.
    pub(crate) fn take_notices(&self) -> usize {
        let Some(queue) = self.connection.notices() else { return 0 };
        let mut message = Vec::new();
        let mut count = 0;
        while count < AT_ONCE {
            match queue.take(&mut message) {
                Ok(false) => break,
                Ok(true) => {
                    count += 1;
                    self.notice(&message);
                }
                Err(error) => {
                    if !self.notices_failed.swap(true, Ordering::Relaxed) {
                        log::error!("virtio-fs: the notification queue is unusable: {error}");
                    }
                    break;
                }
            }
        }
        if count > 0 {
            Counters::add(&self.counters.notifications, count as u64);
            self.connection.kick_notices();
        }
        count
    }

    fn notice(&self, message: &[u8]) {
        let notification = match Notification::parse(ByteOrder::NATIVE, message) {
            Ok(notification) => notification,
            Err(error) => {
                log::warn!("virtio-fs: a notification of {} bytes makes no sense: {error}", message.len());
                return;
            }
        };
        match notification {
            Notification::InvalInode { node, .. } => {
                // Data is not cached here: every read sees the host's page cache. How much there is may have changed.
                let inode = self.inodes.lock().get(node);
                if let Some(inode) = inode {
                    inode.forget_attr();
                }
            }
            Notification::InvalEntry { parent, name, .. } => {
                let parent = self.inodes.lock().get(parent);
                if let Some(parent) = parent {
                    self.drop_name(&parent, name);
                    parent.expire_attr();
                }
            }
            Notification::Delete { parent, child, name } => {
                let (parent, child) = {
                    let inodes = self.inodes.lock();
                    (inodes.get(parent), inodes.get(child))
                };
                if let Some(parent) = parent {
                    self.drop_name(&parent, name);
                    parent.expire_attr();
                }
                if let Some(child) = child {
                    child.forget_attr();
                    self.drop_if_unused(child);
                }
            }
            Notification::IncEpoch => {
                let inodes = self.inodes.lock().all();
                for inode in inodes {
                    self.drop_names(&inode);
                }
            }
            Notification::Prune { nodes } => {
                for node in nodes.iter() {
                    let inode = self.inodes.lock().get(node.node());
                    if let Some(inode) = inode {
                        self.drop_if_unused(inode);
                    }
                }
            }
            other => log::debug!("virtio-fs: nothing to do for {other:?}"),
        }
    }
}
