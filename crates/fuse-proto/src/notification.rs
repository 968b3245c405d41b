//! What a server says without being asked.

use crate::{
    ByteOrder, DecodeError, EncodeError, InvalEntryFlags, List, NodeId, Protocol, PrunedNode, ReplyMessage, Unique,
    attr::{no_more, read_exact},
    name::{self, split_name},
    raw::{self, Layout},
};

/// A message from the server that answers no request (since 7.11): a reply's header with `unique` zero and the code in
/// `error`, then a body. On virtio it comes through the notification queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification<'a> {
    /// An open file may be ready for something that a [`Poll`](crate::ops::Poll) waits for (7.11).
    Poll {
        /// The client's name for the waiting.
        kh: u64,
    },
    /// Cached attributes and data of an inode are stale (7.12).
    InvalInode {
        /// The inode.
        node: NodeId,
        /// Where the stale data begins in bytes; below zero for none.
        offset: i64,
        /// How much is stale in bytes; zero or below for all up to the end.
        len: i64,
    },
    /// A cached name is stale (7.12).
    InvalEntry {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: &'a [u8],
        /// How to drop it (7.38).
        flags: InvalEntryFlags,
    },
    /// Data for the client's cache (7.15).
    Store {
        /// The inode.
        node: NodeId,
        /// Where it belongs in the file, in bytes.
        offset: u64,
        /// The data.
        data: &'a [u8],
    },
    /// The server wants cached data, in a [`NotifyReply`](crate::ops::NotifyReply) (7.15).
    Retrieve {
        /// The number for the answer.
        notify_unique: Unique,
        /// The inode.
        node: NodeId,
        /// Where the data begins in the file, in bytes.
        offset: u64,
        /// How much is wanted at most, in bytes.
        size: u32,
    },
    /// A name is gone (7.18).
    Delete {
        /// The directory.
        parent: NodeId,
        /// The inode that had the name.
        child: NodeId,
        /// The name.
        name: &'a [u8],
    },
    /// The client is to send all requests in flight again (7.40).
    Resend,
    /// All cached names are stale (7.44).
    IncEpoch,
    /// The client is to let go of inodes that it does not use (7.45).
    Prune {
        /// The inodes.
        nodes: List<'a, PrunedNode>,
    },
}

const POLL: i32 = 1;
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const STORE: i32 = 4;
const RETRIEVE: i32 = 5;
const DELETE: i32 = 6;
const RESEND: i32 = 7;
const INC_EPOCH: i32 = 8;
const PRUNE: i32 = 9;

impl<'a> Notification<'a> {
    /// Whether a message with this header is a notification rather than a reply: its `unique` is zero.
    #[must_use]
    pub fn is_notification(order: ByteOrder, message: &[u8]) -> bool {
        raw::OutHeader::read_prefix(order, message).is_ok_and(|(header, _)| header.unique == 0)
    }

    /// Reads a notification, of which `message` must be the whole.
    ///
    /// # Errors
    /// What is wrong with it; [`DecodeError::UnknownNotification`] for a code that is not known here.
    pub fn parse(order: ByteOrder, message: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, body) = raw::OutHeader::read_prefix(order, message)?;
        let used = message.len() as u64;
        if u64::from(header.len) != used {
            return Err(DecodeError::Length { len: header.len, used });
        }
        if header.unique != 0 {
            return Err(DecodeError::Unique { expected: Unique(0), found: Unique(header.unique) });
        }
        match header.error {
            POLL => {
                let raw: raw::NotifyPollWakeupOut = read_exact(order, body)?;
                Ok(Self::Poll { kh: raw.kh })
            }
            INVAL_INODE => {
                let raw: raw::NotifyInvalInodeOut = read_exact(order, body)?;
                Ok(Self::InvalInode { node: NodeId(raw.ino), offset: raw.off, len: raw.len })
            }
            INVAL_ENTRY => {
                let (raw, rest) = raw::NotifyInvalEntryOut::read_prefix(order, body)?;
                let name = named("fuse_notify_inval_entry_out.namelen", raw.namelen, rest)?;
                let flags = InvalEntryFlags::from_bits_retain(raw.flags);
                Ok(Self::InvalEntry { parent: NodeId(raw.parent), name, flags })
            }
            STORE => {
                let (raw, data) = raw::NotifyStoreOut::read_prefix(order, body)?;
                let have = data.len() as u64;
                if have < raw.size.into() {
                    return Err(DecodeError::Truncated { what: "the data of STORE", need: raw.size.into(), have });
                }
                if have > raw.size.into() {
                    return Err(DecodeError::Trailing { what: "the data of STORE", extra: have - u64::from(raw.size) });
                }
                Ok(Self::Store { node: NodeId(raw.nodeid), offset: raw.offset, data })
            }
            RETRIEVE => {
                let raw: raw::NotifyRetrieveOut = read_exact(order, body)?;
                Ok(Self::Retrieve {
                    notify_unique: Unique(raw.notify_unique),
                    node: NodeId(raw.nodeid),
                    offset: raw.offset,
                    size: raw.size,
                })
            }
            DELETE => {
                let (raw, rest) = raw::NotifyDeleteOut::read_prefix(order, body)?;
                let name = named("fuse_notify_delete_out.namelen", raw.namelen, rest)?;
                Ok(Self::Delete { parent: NodeId(raw.parent), child: NodeId(raw.child), name })
            }
            RESEND => no_more("RESEND", body).map(|()| Self::Resend),
            INC_EPOCH => no_more("INC_EPOCH", body).map(|()| Self::IncEpoch),
            PRUNE => {
                let (raw, rest) = raw::NotifyPruneOut::read_prefix(order, body)?;
                Ok(Self::Prune { nodes: List::parse(order, raw.count.into(), rest)? })
            }
            code => Err(DecodeError::UnknownNotification { code }),
        }
    }

    /// The notification's code (`enum fuse_notify_code`).
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Poll { .. } => POLL,
            Self::InvalInode { .. } => INVAL_INODE,
            Self::InvalEntry { .. } => INVAL_ENTRY,
            Self::Store { .. } => STORE,
            Self::Retrieve { .. } => RETRIEVE,
            Self::Delete { .. } => DELETE,
            Self::Resend => RESEND,
            Self::IncEpoch => INC_EPOCH,
            Self::Prune { .. } => PRUNE,
        }
    }

    /// Makes the notification ready to be sent. `scratch` takes the name with its zero byte, where there is one: as many
    /// bytes as the name has, and one more.
    ///
    /// # Errors
    /// What cannot be expressed, or [`EncodeError::Buffer`] if `scratch` is too small.
    pub fn encode<'s>(&'s self, protocol: &Protocol, scratch: &'s mut [u8]) -> Result<ReplyMessage<'s>, EncodeError> {
        let order = protocol.byte_order();
        ReplyMessage::build(order, self.code(), Unique(0), |reply| match *self {
            Self::Poll { kh } => reply.fixed(raw::NotifyPollWakeupOut { kh }),
            Self::InvalInode { node, offset, len } => {
                reply.fixed(raw::NotifyInvalInodeOut { ino: node.0, off: offset, len })
            }
            Self::InvalEntry { parent, name, flags } => {
                let namelen = name_len(name)?;
                reply.fixed(raw::NotifyInvalEntryOut { parent: parent.0, namelen, flags: flags.bits() })?;
                reply.set_data(terminated(name, scratch)?);
                Ok(())
            }
            Self::Store { node, offset, data } => {
                let len = data.len();
                let size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
                reply.fixed(raw::NotifyStoreOut { nodeid: node.0, offset, size, padding: 0 })?;
                reply.set_data(data);
                Ok(())
            }
            Self::Retrieve { notify_unique, node, offset, size } => reply.fixed(raw::NotifyRetrieveOut {
                notify_unique: notify_unique.0,
                nodeid: node.0,
                offset,
                size,
                padding: 0,
            }),
            Self::Delete { parent, child, name } => {
                let namelen = name_len(name)?;
                reply.fixed(raw::NotifyDeleteOut { parent: parent.0, child: child.0, namelen, padding: 0 })?;
                reply.set_data(terminated(name, scratch)?);
                Ok(())
            }
            Self::Resend | Self::IncEpoch => Ok(()),
            Self::Prune { nodes } => {
                let len = nodes.len();
                let count = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
                reply.fixed(raw::NotifyPruneOut { count, padding: 0, spare: 0 })?;
                reply.set_data(nodes.wire(order)?);
                Ok(())
            }
        })
    }
}

/// Reads the name at the end of a notification, which has both a length and a zero byte.
fn named<'a>(field: &'static str, namelen: u32, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let (name, rest) = split_name("notified name", bytes)?;
    if name.len() as u64 != namelen.into() {
        return Err(DecodeError::Field { field, value: namelen.into() });
    }
    no_more("notified name", rest)?;
    Ok(name)
}

fn name_len(name: &[u8]) -> Result<u32, EncodeError> {
    name::check_name(name).map_err(|error| EncodeError::Name { field: "notified name", error })?;
    // A checked name has 4095 bytes at most.
    Ok(name.len() as u32)
}

fn terminated<'s>(name: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], EncodeError> {
    let need = name.len() + 1;
    let have = scratch.len();
    let place = scratch.get_mut(..need).ok_or(EncodeError::Buffer { need: need as u64, have: have as u64 })?;
    place[..name.len()].copy_from_slice(name);
    place[name.len()] = 0;
    Ok(place)
}

#[cfg(test)]
mod tests;
