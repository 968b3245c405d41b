//! Asking the server for a file's size without blocking.

use core::task::Waker;

use fuse_proto::{AttrReply, ops};

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::in_flight::InFlight;
use crate::{Error, Lock};

/// A GETATTR under way.
pub(super) struct AskSize<'f, R: Lock> {
    in_flight: InFlight<'f, R>,
    /// [`Inode::changes`](crate::volume::inode::Inode::changes) before.
    since: u64,
}

/// Whether an access up to `end` should ask first.
pub(super) fn is_needed<R: Lock>(io: &FileIo<R>, file: &OpenFile<R>, end: u64) -> bool {
    file.inode.attr_is_old(io.rpc().now()) || end > file.inode.size()
}

impl<'f, R: Lock> AskSize<'f, R> {
    /// Asks; `None` if there is no room in the queue.
    pub(super) fn new(io: &'f FileIo<R>, file: &OpenFile<R>) -> Result<Option<Self>, Error> {
        let rpc = io.rpc();
        let since = file.inode.changes();
        let channel = rpc.connection().pick_channel();
        let sent = rpc.submit(channel, file.handle.who, &op(file), false)?;
        rpc.connection().kick(channel);
        Ok(sent.map(|in_flight| Self { in_flight, since }))
    }

    /// Returns whether the file may go through the window, once the answer has come; `None`: not yet.
    ///
    /// It may not if the host has cut it: to take mappings past its end away is to wait, which is for the next one who may.
    pub(super) fn poll(&mut self, io: &FileIo<R>, file: &OpenFile<R>, waker: &Waker) -> Result<Option<bool>, Error> {
        let read = |reply: AttrReply| (reply.attr, reply.attr_valid);
        let answer = io.rpc().poll_answer(&op(file), &mut self.in_flight, Some(waker), &mut [], read)?;
        let Some((attr, valid)) = answer else { return Ok(None) };
        if attr.size < file.inode.size() {
            file.inode.forget_attr();
            return Ok(Some(false));
        }
        io.volume.inodes.take_attr(&file.inode, &attr, valid, self.since);
        Ok(Some(true))
    }
}

fn op<R: Lock>(file: &OpenFile<R>) -> ops::Getattr {
    ops::Getattr { node: file.handle.node, fh: file.handle.fh }
}
