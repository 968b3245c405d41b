//! Replies that come when nobody waits for them any more. What the server gives with them, look-ups and open handles, is
//! given back: it counts them, whether the driver took notice or not.

use fuse_proto::{Entry, FileHandle, NodeId, Opcode, OpenFlags, Operation, Unique, ops};
use lock_api::RawMutex;

use crate::queue::channel::OrphanReply;
use crate::shared::Shared;
use crate::stats::Counters;

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// Gives back what came with late replies.
    pub(crate) fn settle_late(&self) {
        let late = self.connection.take_late();
        if late.is_empty() {
            return;
        }
        Counters::add(&self.counters.late_replies, late.len() as u64);
        late.iter().for_each(|late| self.give_back(late));
        self.flush_forgets();
    }

    fn give_back(&self, late: &OrphanReply) {
        let node = late.about.node;
        match late.about.opcode {
            Opcode::CREATE | Opcode::TMPFILE => {
                let op = ops::Create { name: b"late", ..ops::Create::default() };
                if let Some((entry, fh)) = self.read_late(late, &op, |reply| (reply.entry, reply.opened.fh)) {
                    self.release_late(entry.node, fh, false);
                    self.owe_late(&entry);
                }
            }
            opcode @ (Opcode::OPEN | Opcode::OPENDIR) => {
                let op = ops::Open { node, flags: OpenFlags::RDONLY, extra: Default::default() };
                if let Some(fh) = self.read_late(late, &op, |opened| opened.fh) {
                    self.release_late(node, fh, opcode == Opcode::OPENDIR);
                }
            }
            Opcode::READDIRPLUS => {
                let op = ops::Readdirplus::new(node, FileHandle::NONE, 0, late.bytes.len() as u32);
                self.read_late(late, &op, |directory| {
                    // After an entry that makes no sense there is none that does.
                    let entries = directory.entries_plus(&self.protocol).map_while(Result::ok);
                    entries.filter(|found| !found.dirent.is_dot()).filter_map(|found| found.entry).for_each(|entry| {
                        self.owe_late(&entry);
                    });
                });
            }
            _ => {
                let op = ops::Lookup { parent: node, name: b"late" };
                if let Some(entry) = self.read_late(late, &op, |entry| entry) {
                    self.owe_late(&entry);
                }
            }
        }
    }

    /// Reads a late reply as one to `op`; `None` if it is a refusal, which gives nothing, or makes no sense.
    fn read_late<'r, O: Operation, T>(
        &self,
        late: &'r OrphanReply,
        op: &O,
        read: impl FnOnce(O::Reply<'r>) -> T,
    ) -> Option<T> {
        op.decode_whole(&self.protocol, Unique(late.about.unique), late.written, &late.bytes).ok().map(read)
    }

    fn owe_late(&self, entry: &Entry) {
        if !entry.is_negative() {
            self.owe_forget(entry.node, 1);
        }
    }

    fn release_late(&self, node: NodeId, fh: FileHandle, dir: bool) {
        if let Err(error) = self.op_release(self.config.credentials, node, fh, OpenFlags::RDONLY, dir) {
            log::warn!("virtio-fs: the release of a handle that came late was not sent: {error}");
        }
    }
}
