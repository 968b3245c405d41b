//! Notifications: messages that the server sends unasked, which invalidate what is cached.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use fuse_proto::{ByteOrder, Notification};

use super::inodes::Inodes;
use crate::Lock;
use crate::rpc::connection::Connection;

/// Messages acted upon in one go: a server that never stops talking must not keep its caller for ever.
const AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Notifications {
    /// The device broke the notification queue, and that was logged.
    failed: AtomicBool,
}

impl Notifications {
    /// Acts upon what has come through the notification queue. Returns how many messages.
    pub(crate) fn take<R: Lock>(&self, connection: &Connection<R>, inodes: &Inodes<R>) -> usize {
        let Some(queue) = connection.notifications() else { return 0 };
        let mut message = Vec::new();
        let mut count = 0;
        while count < AT_ONCE {
            match queue.take(&mut message) {
                Ok(false) => break,
                Ok(true) => {
                    count += 1;
                    match Notification::parse(ByteOrder::NATIVE, &message) {
                        Ok(notification) => act(inodes, notification),
                        Err(error) => {
                            log::warn!("virtio-fs: a malformed notification of {} bytes: {error}", message.len());
                        }
                    }
                }
                Err(error) => {
                    if !self.failed.swap(true, Ordering::Relaxed) {
                        log::error!("virtio-fs: the notification queue is unusable: {error}");
                    }
                    break;
                }
            }
        }
        if count > 0 {
            connection.kick_notifications();
        }
        count
    }
}

fn act<R: Lock>(inodes: &Inodes<R>, notification: Notification<'_>) {
    match notification {
        Notification::InvalInode { node, .. } => {
            // Data is not cached here: every read sees the host's page cache. How much there is may have changed.
            if let Some(inode) = inodes.get(node) {
                inode.forget_attr();
            }
            inodes.drop_listed_node(node);
        }
        Notification::InvalEntry { parent, name, .. } => {
            if let Some(parent) = inodes.get(parent) {
                parent.note_change();
                inodes.drop_name(&parent, name);
                parent.expire_attr();
            }
        }
        Notification::Delete { parent, child, name } => {
            let child = inodes.get(child);
            if let Some(parent) = inodes.get(parent) {
                parent.note_change();
                inodes.drop_name(&parent, name);
                parent.expire_attr();
            }
            match child {
                Some(child) => {
                    child.forget_attr();
                    inodes.drop_unless_used(child);
                }
                // A listing may have brought it.
                None => inodes.forgets().flush(),
            }
        }
        Notification::IncEpoch => inodes.all().iter().for_each(|inode| {
            inode.note_change();
            inodes.drop_names(inode);
        }),
        Notification::Prune { nodes } => {
            let mut owed = false;
            for node in nodes.iter().map(|node| node.node()) {
                owed |= inodes.drop_listed_node(node);
                if let Some(inode) = inodes.get(node) {
                    inodes.drop_unless_used(inode);
                }
            }
            if owed {
                inodes.forgets().flush();
            }
        }
        other => log::debug!("virtio-fs: nothing to do for {other:?}"),
    }
}
