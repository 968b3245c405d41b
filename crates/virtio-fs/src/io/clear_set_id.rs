//! Taking away without blocking the bits by which programs run as a file's owner.

use core::task::Waker;

use fuse_proto::{AttrReply, ops};

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::attributes::{SetAttr, setattr_op};
use crate::rpc::in_flight::InFlight;
use crate::{Error, Lock};

/// A SETATTR of the mode under way.
pub(super) struct ClearSetId<'f, R: Lock> {
    op: ops::Setattr,
    in_flight: InFlight<'f, R>,
    /// [`Inode::changes`](crate::volume::inode::Inode::changes) before.
    since: u64,
}

impl<'f, R: Lock> ClearSetId<'f, R> {
    /// Sends it, in the driver's own name; `None` if there is no room in the queue.
    pub(super) fn new(io: &'f FileIo<R>, file: &OpenFile<R>, changes: SetAttr) -> Result<Option<Self>, Error> {
        let rpc = io.rpc();
        let since = file.inode.changes();
        let channel = rpc.connection().pick_channel();
        let op = setattr_op(file.handle.node, None, &changes);
        let sent = rpc.submit(channel, rpc.credentials(), &op, false)?;
        rpc.connection().kick(channel);
        Ok(sent.map(|in_flight| Self { op, in_flight, since }))
    }

    /// Returns whether the answer has come.
    pub(super) fn poll(&mut self, io: &FileIo<R>, file: &OpenFile<R>, waker: &Waker) -> Result<bool, Error> {
        let read = |reply: AttrReply| (reply.attr, reply.attr_valid);
        let answer = io.rpc().poll_answer(&self.op, &mut self.in_flight, Some(waker), &mut [], read)?;
        let Some((attr, valid)) = answer else { return Ok(false) };
        io.volume.inodes.take_attr(&file.inode, &attr, valid, self.since);
        Ok(true)
    }
}
