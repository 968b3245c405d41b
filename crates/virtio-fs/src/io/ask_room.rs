//! Asking the server for a file's first hole without blocking.

use core::task::Waker;

use fuse_proto::ops::{self, Whence};
use fuse_proto::{Errno, Opcode};

use super::FileIo;
use super::open_file::OpenFile;
use super::prealloc::Look;
use crate::rpc::in_flight::InFlight;
use crate::{Error, Lock};

/// An LSEEK under way.
pub(super) struct AskRoom<'f, R: Lock> {
    look: Look,
    op: ops::Lseek,
    in_flight: InFlight<'f, R>,
}

impl<'f, R: Lock> AskRoom<'f, R> {
    /// Asks, if that is possible.
    pub(super) fn begin(io: &'f FileIo<R>, file: &OpenFile<R>) -> Result<Asking<'f, R>, Error> {
        let rpc = io.rpc();
        let look = Look::begin(&file.inode);
        if rpc.is_unsupported(Opcode::LSEEK) {
            look.end(&file.inode, Err(Error::Os(Errno::ENOSYS)), rpc.now());
            return Ok(Asking::Known);
        }
        let op = ops::Lseek { node: file.handle.node, fh: file.handle.fh(), offset: look.from, whence: Whence::HOLE };
        let channel = rpc.connection().pick_channel();
        let sent = rpc.submit(channel, file.handle.who, &op, false)?;
        rpc.connection().kick(channel);
        Ok(sent.map_or(Asking::NoRoom, |in_flight| Asking::Asked(Self { look, op, in_flight })))
    }

    /// Returns what is left to be waited for.
    pub(super) fn poll(mut self, io: &FileIo<R>, file: &OpenFile<R>, waker: &Waker) -> Result<Option<Self>, Error> {
        let found =
            match io.rpc().poll_answer(&self.op, &mut self.in_flight, Some(waker), &mut [], |found| found.offset) {
                Ok(None) => return Ok(Some(self)),
                Ok(Some(first)) => Ok(first),
                Err(error @ Error::Os(_)) => Err(error),
                Err(error) => return Err(error),
            };
        self.look.end(&file.inode, found, io.rpc().now());
        Ok(None)
    }
}

/// What became of asking.
pub(super) enum Asking<'f, R: Lock> {
    Asked(AskRoom<'f, R>),
    /// The server does not know LSEEK.
    Known,
    /// There is no room in the queue.
    NoRoom,
}
