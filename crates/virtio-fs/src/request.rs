//! Requests without waiting: submit, then poll or `await`.
//!
//! Any request of the protocol can be sent this way, also those that the rest of the crate has no function for. What is
//! sent is copied when it is submitted, so nothing has to be kept for the device; a request that is dropped is given up, and
//! its buffers come back when the device returns them.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use fuse_proto::{Errno, NodeId, Operation, ReplyHeader, Unique, ops};
use lock_api::RawMutex;

use crate::connection::{HIPRIO, Received, Ticket};
use crate::queue::channel::REPLY_BYTES;
use crate::shared::Shared;
use crate::{Credentials, Error, VirtioFs};

/// A request in flight; a future of its [`Answer`].
///
/// Something has to complete requests: [`VirtioFs::handle_interrupt`] from an interrupt handler, [`VirtioFs::poll`] from a
/// loop, or polling this future. A request is given up at its deadline the next time it is polled.
#[must_use = "a request that is dropped is given up"]
pub struct InFlight<R: RawMutex + Send + Sync + 'static, O> {
    shared: Arc<Shared<R>>,
    who: Credentials,
    /// `None` once it is answered or given up.
    ticket: Option<Ticket>,
    op: Option<O>,
    data: Vec<u8>,
}

impl<R: RawMutex + Send + Sync + 'static, O> core::fmt::Debug for InFlight<R, O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InFlight").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static, O> Drop for InFlight<R, O> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.connection.abandon(ticket);
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer<O> {
    op: O,
    unique: u64,
    received: Received,
    data: Vec<u8>,
    protocol: fuse_proto::Protocol,
}

impl<O: Operation> Answer<O> {
    /// The reply's body.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the server refused, [`Error::Reply`] if the reply makes no sense.
    pub fn reply(&self) -> Result<O::Reply<'_>, Error> {
        let head = self.received.head();
        let bulk = self.op.reply_size(&self.protocol).max as usize > REPLY_BYTES - ReplyHeader::LEN;
        let body =
            if bulk { &self.data[..self.received.data_len] } else { head.get(ReplyHeader::LEN..).unwrap_or(&[]) };
        let reply = self.op.decode(&self.protocol, Unique(self.unique), self.received.written, head, body);
        reply.map_err(|error| Error::of_reply(O::OPCODE, error))
    }

    /// The request, back again.
    pub fn into_request(self) -> O {
        self.op
    }
}

impl<R: RawMutex + Send + Sync + 'static> VirtioFs<R> {
    /// Sends a request and returns at once; the device is told.
    ///
    /// Requests that change what the driver keeps (sizes, names, look-up counts) pass it by: after one of those, what is
    /// cached is stale until the server no longer vouches for it, and an entry of a reply is a look-up that the caller owes
    /// a FORGET for. A [`ops::Removemapping`] or [`ops::Setupmapping`] sent this way would pull the window from under the
    /// driver and is refused.
    ///
    /// # Errors
    ///
    /// EAGAIN when the queue or the data buffers are full: requests that were answered keep their place until they are
    /// polled. EPERM for a request about the window; [`Error::Encode`] for what cannot be expressed.
    pub fn submit<O: Operation>(&self, op: O) -> Result<InFlight<R, O>, Error> {
        let shared = &self.shared;
        shared.check_mounted()?;
        shared.settle_late();
        if O::OPCODE == ops::Setupmapping::OPCODE || O::OPCODE == ops::Removemapping::OPCODE {
            return Err(Error::refused(Errno::EPERM, "the window belongs to the driver"));
        }
        let channel = shared.connection.pick_channel();
        let who = self.credentials();
        let Some(pending) = shared.connection.submit_op_or(&shared.protocol, channel, who, &op, false)? else {
            return Err(Error::refused(Errno::EAGAIN, "no room in the queue"));
        };
        let ticket = pending.into_ticket();
        shared.connection.kick(channel);
        let reply = op.reply_size(&shared.protocol).max as usize;
        let data = if reply > REPLY_BYTES - ReplyHeader::LEN {
            vec![0; reply.min(shared.connection.data_buffer_size())]
        } else {
            Vec::new()
        };
        Ok(InFlight { shared: shared.clone(), who, ticket: Some(ticket), op: Some(op), data })
    }
}

impl<R: RawMutex + Send + Sync + 'static, O: Operation> InFlight<R, O> {
    /// Looks whether the answer is there; if not, and a waker is given, wakes it when it comes. `None`: not yet.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after the deadline, and errors of the queue. After an error, and after the answer, there is nothing
    /// more to poll: [`Error::Dead`].
    pub fn poll_answer(&mut self, waker: Option<&Waker>) -> Result<Option<Answer<O>>, Error> {
        let Some(ticket) = self.ticket else { return Err(Error::Dead) };
        match self.shared.connection.poll(ticket, waker, &mut self.data) {
            Ok(None) => Ok(None),
            Ok(Some(received)) => {
                self.ticket = None;
                let op = self.op.take().ok_or(Error::Dead)?;
                let data = core::mem::take(&mut self.data);
                Ok(Some(Answer { op, unique: ticket.unique, received, data, protocol: self.shared.protocol }))
            }
            Err(error) => {
                self.ticket = None;
                Err(error)
            }
        }
    }

    /// Asks the server to give the request up (INTERRUPT, on the hiprio queue). The answer still comes, most often EINTR.
    ///
    /// # Errors
    ///
    /// As any request that finds no room in the queue.
    pub fn interrupt(&self) -> Result<(), Error> {
        let Some(ticket) = self.ticket else { return Ok(()) };
        let op = ops::Interrupt { unique: Unique(ticket.unique) };
        let connection = &self.shared.connection;
        drop(connection.submit_op(&self.shared.protocol, HIPRIO, self.who, &op)?);
        connection.kick(HIPRIO);
        Ok(())
    }

    /// The inode that the request is about.
    pub fn node(&self) -> Option<NodeId> {
        self.op.as_ref().map(Operation::node)
    }
}

impl<R: RawMutex + Send + Sync + 'static, O: Operation + Unpin> Future for InFlight<R, O> {
    type Output = Result<Answer<O>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut().poll_answer(Some(context.waker())) {
            Ok(None) => Poll::Pending,
            Ok(Some(answer)) => Poll::Ready(Ok(answer)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
