//! Results as answers to the kernel.

use fuse_proto::ops::StatfsReply;
use fuser::{
    Errno, FileHandle, FopenFlags, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use super::state::{Entry, GENERATION, State};
use crate::convert;
use crate::driver::Attr;

/// A lock in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) kind: i32,
    pub(super) pid: u32,
}

pub(super) fn entry(reply: ReplyEntry, state: &State, result: Result<Entry, Errno>) {
    match result {
        Ok((node, attr)) => {
            let number = state.nodes.look_up(&node, &attr);
            reply.entry(&state.options.timeout, &convert::attr(number, &attr), GENERATION);
        }
        Err(error) => reply.error(error),
    }
}

pub(super) fn created(reply: ReplyCreate, state: &State, result: Result<(Entry, FileHandle), Errno>) {
    match result {
        Ok(((node, attr), handle)) => {
            let number = state.nodes.look_up(&node, &attr);
            let attr = convert::attr(number, &attr);
            reply.created(&state.options.timeout, &attr, GENERATION, handle, state.open_flags());
        }
        Err(error) => reply.error(error),
    }
}

pub(super) fn attr(reply: ReplyAttr, state: &State, result: Result<(INodeNo, Attr), Errno>) {
    match result {
        Ok((number, attr)) => reply.attr(&state.options.timeout, &convert::attr(number, &attr)),
        Err(error) => reply.error(error),
    }
}

pub(super) fn empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

pub(super) fn data(reply: ReplyData, result: Result<Vec<u8>, Errno>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(error) => reply.error(error),
    }
}

pub(super) fn opened(reply: ReplyOpen, flags: FopenFlags, result: Result<FileHandle, Errno>) {
    match result {
        Ok(handle) => reply.opened(handle, flags),
        Err(error) => reply.error(error),
    }
}

pub(super) fn written(reply: ReplyWrite, result: Result<u32, Errno>) {
    match result {
        Ok(count) => reply.written(count),
        Err(error) => reply.error(error),
    }
}

pub(super) fn offset(reply: ReplyLseek, result: Result<i64, Errno>) {
    match result {
        Ok(offset) => reply.offset(offset),
        Err(error) => reply.error(error),
    }
}

/// An attribute's value, or its size for who asks with no room.
pub(super) fn xattr(reply: ReplyXattr, room: u32, result: Result<Vec<u8>, Errno>) {
    match result {
        Ok(value) if room == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(error),
    }
}

pub(super) fn lock(reply: ReplyLock, result: Result<Found, Errno>) {
    match result {
        Ok(Found { start, end, kind, pid }) => reply.locked(start, end, kind, pid),
        Err(error) => reply.error(error),
    }
}

pub(super) fn ioctl(reply: ReplyIoctl, result: Result<(i32, Vec<u8>), Errno>) {
    match result {
        Ok((result, data)) => reply.ioctl(result, &data),
        Err(error) => reply.error(error),
    }
}

pub(super) fn statfs(reply: ReplyStatfs, result: Result<StatfsReply, Errno>) {
    match result {
        Ok(StatfsReply { blocks, bfree, bavail, files, ffree, bsize, namelen, frsize }) => {
            reply.statfs(blocks, bfree, bavail, files, ffree, bsize, namelen, if frsize == 0 { bsize } else { frsize });
        }
        Err(error) => reply.error(error),
    }
}
