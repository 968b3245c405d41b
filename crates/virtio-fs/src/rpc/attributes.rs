//! Attributes: GETATTR, SETATTR, STATX, ACCESS.

use alloc::boxed::Box;
use core::time::Duration;

use fuse_proto::{AccessMask, Attr, AttrReply, FileHandle, NodeId, SetattrValid, StatxMask, Timestamp, ops};

use super::Rpc;
use super::credentials::Credentials;
use super::in_flight::GivenUp;
use crate::{Error, Lock};

/// What to change with [`File::set_attr`](crate::File::set_attr); `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Time of the last access.
    pub atime: Option<SetTime>,
    /// Time of the last change of the data.
    pub mtime: Option<SetTime>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetTime {
    /// The host's time now.
    Now,
    /// Seconds and nanoseconds since 1970.
    At {
        /// Seconds.
        secs: u64,
        /// Nanoseconds, below 10^9.
        nanos: u32,
    },
}

/// Attributes, and how long `attr_valid` holds. On the heap: a round trip costs more, and each function on the way up would
/// have a copy of them on its stack.
pub(crate) type FreshAttr = Box<(Attr, Duration)>;

fn fresh(reply: AttrReply) -> FreshAttr {
    Box::new((reply.attr, reply.attr_valid))
}

/// Fetches attributes, and how long they are valid, into `fresh`: reads and writes of mapped bytes do that now and then, and
/// allocate nothing.
pub(crate) fn getattr<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    fh: Option<FileHandle>,
    fresh: &mut (Attr, Duration),
) -> Result<(), Error> {
    rpc.call(who, &ops::Getattr { node, fh }, |reply| *fresh = (reply.attr, reply.attr_valid))
}

/// Changes attributes. Returns the new ones. A request without an answer comes into `given_up`.
/// `kill`: the server takes away the bits by which programs run as the file's owner.
pub(crate) fn setattr<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    fh: Option<FileHandle>,
    (changes, kill): (&SetAttr, bool),
    given_up: &mut GivenUp<R>,
) -> Result<FreshAttr, Error> {
    let mut op = setattr_op(node, fh, changes);
    if kill {
        op.valid |= SetattrValid::KILL_SUIDGID;
    }
    rpc.call_keeping(who, &op, given_up, fresh)
}

/// The SETATTR of these changes.
pub(crate) fn setattr_op(node: NodeId, fh: Option<FileHandle>, changes: &SetAttr) -> ops::Setattr {
    let mut op = ops::Setattr::new(node);
    if let Some(fh) = fh {
        op = op.fh(fh);
    }
    if let Some(size) = changes.size {
        op = op.size(size);
    }
    if let Some(mode) = changes.mode {
        op = op.mode(mode);
    }
    if let Some(uid) = changes.uid {
        op = op.uid(uid);
    }
    if let Some(gid) = changes.gid {
        op = op.gid(gid);
    }
    op = match changes.atime {
        None => op,
        Some(SetTime::Now) => op.atime_now(),
        Some(SetTime::At { secs, nanos }) => op.atime(Timestamp::new(secs as i64, nanos)),
    };
    match changes.mtime {
        None => op,
        Some(SetTime::Now) => op.mtime_now(),
        Some(SetTime::At { secs, nanos }) => op.mtime(Timestamp::new(secs as i64, nanos)),
    }
}

/// Checks permissions; permitted by a server that does not check.
pub(crate) fn access<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, mask: AccessMask) -> Result<(), Error> {
    rpc.call_optional(who, &ops::Access { node, mask }).map(drop)
}

/// Fetches the attributes that `mask` names, birth time and attribute bits among them.
pub(crate) fn statx<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    mask: StatxMask,
) -> Result<ops::StatxReply, Error> {
    let op = ops::Statx { node, fh: None, sx_flags: 0, sx_mask: mask };
    rpc.call_known(who, &op, &mut [], |reply| reply)
}
