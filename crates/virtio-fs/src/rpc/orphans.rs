//! Orphaned replies: answers to requests that were given up. The server counts the look-ups and open handles in them, so they are
//! given back.

use fuse_proto::{
    DecodeError, Entry, Errno, FileHandle, LockOwner, NodeId, Opcode, OpenFlags, Operation, ReplyHeader, Unique, ops,
};

use super::Rpc;
use super::handles::{release, releasedir};
use crate::queue::channel::OrphanReply;
use crate::{Error, Lock};

/// How a file is released that nobody has used.
const UNLOCKED: (OpenFlags, LockOwner) = (OpenFlags::RDONLY, LockOwner(0));

/// Takes the orphaned replies that have come. Releases the handles that came with them, calls `forget` for each look-up,
/// and `note` for each reply.
/// Returns how many there were.
pub(crate) fn settle<R: Lock>(
    rpc: &Rpc<R>,
    mut forget: impl FnMut(NodeId),
    mut note: impl FnMut(&OrphanReply),
) -> usize {
    let orphans = rpc.connection().take_orphans();
    for orphan in &orphans {
        note(orphan);
        give_back(rpc, orphan, &mut |entry| {
            if !entry.is_negative() {
                forget(entry.node);
            }
        });
    }
    rpc.counters.orphaned_replies.add(orphans.len() as u64);
    orphans.len()
}

/// Whether the server refused what it answered too late; an error if the answer makes no sense.
pub(crate) fn refusal<R: Lock>(rpc: &Rpc<R>, orphan: &OrphanReply) -> Result<Option<Errno>, DecodeError> {
    let header = ReplyHeader::parse(rpc.protocol().byte_order(), orphan.written, &orphan.bytes)?;
    if header.unique == Unique(orphan.meta.unique) {
        Ok(header.error)
    } else {
        Err(DecodeError::Unique { expected: Unique(orphan.meta.unique), found: header.unique })
    }
}

fn give_back<R: Lock>(rpc: &Rpc<R>, orphan: &OrphanReply, owe: &mut dyn FnMut(&Entry)) {
    let node = orphan.meta.node;
    match orphan.meta.opcode {
        Opcode::CREATE | Opcode::TMPFILE => {
            let op = ops::Create { name: b"late", ..ops::Create::default() };
            if let Some((entry, fh)) = read(rpc, orphan, &op, |reply| (reply.entry, reply.opened.fh)) {
                close(release(rpc, rpc.credentials(), entry.node, fh, UNLOCKED));
                owe(&entry);
            }
        }
        opcode @ (Opcode::OPEN | Opcode::OPENDIR) => {
            let op = ops::Open { node, flags: OpenFlags::RDONLY, extra: Default::default() };
            if let Some(fh) = read(rpc, orphan, &op, |opened| opened.fh) {
                let who = rpc.credentials();
                if opcode == Opcode::OPENDIR {
                    close(releasedir(rpc, who, node, fh));
                } else {
                    close(release(rpc, who, node, fh, UNLOCKED));
                }
            }
        }
        Opcode::READDIRPLUS => {
            let op = ops::Readdirplus::new(node, FileHandle::NONE, 0, orphan.bytes.len() as u32);
            read(rpc, orphan, &op, |directory| {
                // After an entry that makes no sense there is none that does.
                let entries = directory.entries_plus(rpc.protocol()).map_while(Result::ok);
                let entries = entries.filter(|found| !found.dirent.is_dot()).filter_map(|found| found.entry);
                entries.for_each(|entry| owe(&entry));
            });
        }
        // They give nothing.
        Opcode::SETATTR | Opcode::FALLOCATE | Opcode::WRITE | Opcode::COPY_FILE_RANGE => {}
        Opcode::UNLINK | Opcode::RMDIR | Opcode::RENAME | Opcode::RENAME2 => {}
        _ => {
            let op = ops::Lookup { parent: node, name: b"late" };
            if let Some(entry) = read(rpc, orphan, &op, |entry| entry) {
                owe(&entry);
            }
        }
    }
}

/// Reads an orphaned reply as one to `op`; `None` if it is a refusal, which gives nothing, or makes no sense.
fn read<'r, R: Lock, O: Operation, T>(
    rpc: &Rpc<R>,
    orphan: &'r OrphanReply,
    op: &O,
    read: impl FnOnce(O::Reply<'r>) -> T,
) -> Option<T> {
    op.decode_whole(rpc.protocol(), Unique(orphan.meta.unique), orphan.written, &orphan.bytes).ok().map(read)
}

fn close(released: Result<(), Error>) {
    if let Err(error) = released {
        log::warn!("virtio-fs: the handle of an orphaned reply was not released: {error}");
    }
}
