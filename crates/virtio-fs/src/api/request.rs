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

use fuse_proto::{Errno, Message, NodeId, Operation, Protocol, Shape, Unique, ops};

use super::vet::vet;
use crate::queue::channel::REPLY_BYTES;
use crate::rpc::connection::HIPRIO;
use crate::rpc::reply::{Received, is_bulk, small_body};
use crate::rpc::request::Request;
use crate::rpc::{Rpc, in_flight};
use crate::{Credentials, DefaultLock, Error, Lock, VirtioFs};

/// A request in flight; a future of its [`Answer`].
///
/// Something has to complete requests: [`crate::InterruptHandle::handle`] from an interrupt handler, [`VirtioFs::poll`] from a
/// loop, or polling this future. A request is given up at its deadline the next time it is polled.
#[must_use = "a request that is dropped is given up"]
pub struct InFlight<O, R: Lock = DefaultLock> {
    rpc: Arc<Rpc<R>>,
    who: Credentials,
    /// `None` once it is answered or given up.
    in_flight: Option<in_flight::InFlight<'static, R>>,
    op: Option<O>,
    data: Vec<u8>,
}

impl<O, R: Lock> core::fmt::Debug for InFlight<O, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InFlight").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer<O> {
    op: O,
    unique: u64,
    /// Bytes that the device says it wrote.
    written: usize,
    /// Header and fixed body.
    head: Vec<u8>,
    data_len: usize,
    data: Vec<u8>,
    protocol: Protocol,
}

impl<O: Operation> Answer<O> {
    /// Returns the reply's body.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the server refused, [`Error::Reply`] if the reply is malformed.
    pub fn reply(&self) -> Result<O::Reply<'_>, Error> {
        let bulk = is_bulk(self.op.reply_size(&self.protocol).max);
        let body = if bulk { &self.data[..self.data_len] } else { small_body(&self.head) };
        let reply = self.op.decode(&self.protocol, Unique(self.unique), self.written, &self.head, body);
        reply.map_err(|error| Error::of_reply(O::OPCODE, error))
    }

    /// Returns the request.
    pub fn into_request(self) -> O {
        self.op
    }
}

impl<R: Lock> VirtioFs<R> {
    /// Sends a request and returns at once; the device is notified.
    ///
    /// Requests that change what the driver keeps (sizes, names, look-up counts) bypass it: after one of those, what is
    /// cached is stale until its timeout has passed, and an entry of a reply is a look-up that the caller owes
    /// a FORGET for.
    ///
    /// What would pull the window or the session from under the driver is refused, by what the encoded request says: INIT,
    /// DESTROY, SETUPMAPPING, REMOVEMAPPING; and with a window, what takes bytes away from a file that may be mapped (a size
    /// by SETATTR, O_TRUNC, FALLOCATE that punches, zeroes or moves, copies): [`crate::File`] has these.
    ///
    /// # Errors
    ///
    /// EAGAIN when the queue or the data buffers are full: requests that were answered keep their place until they are
    /// polled. EPERM for a request that belongs to the driver, EINVAL for one that is encoded as another one than its type
    /// says; [`Error::Encode`] for what cannot be expressed.
    pub fn submit<O: Operation>(&self, op: O) -> Result<InFlight<O, R>, Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().settle_orphans();
        let (rpc, who) = (self.mounted.rpc(), self.credentials());
        let unique = rpc.connection().next_unique();
        let shape = op.shape(rpc.protocol());
        let encoded = op.encode(rpc.protocol(), Unique(unique), who.into());
        let in_flight =
            self.submit_encoded(encoded.as_ref().map_err(|error| Error::Encode(*error))?, &shape, unique)?;
        drop(encoded);
        let room = if is_bulk(shape.reply.max) { shape.reply.max as usize } else { 0 };
        let data = vec![0; room.min(rpc.connection().data_buffer_size())];
        Ok(InFlight { rpc: rpc.clone(), who, in_flight: Some(in_flight), op: Some(op), data })
    }

    /// Sends what [`VirtioFs::submit`] has encoded.
    fn submit_encoded(
        &self,
        message: &Message<'_>,
        shape: &Shape,
        unique: u64,
    ) -> Result<in_flight::InFlight<'static, R>, Error> {
        vet(message, shape, unique, self.mounted.io.window().is_some())?;
        let connection = self.mounted.rpc().connection();
        let channel = connection.pick_channel();
        let submitted = connection.submit(channel, &Request::new(shape, unique, message), false, false)?;
        let submitted = submitted.ok_or(Error::refused(Errno::EAGAIN, "no room in the queue"))?;
        let in_flight = in_flight::InFlight::new(connection, submitted).into_owned();
        connection.kick(channel);
        Ok(in_flight)
    }
}

impl<O: Operation, R: Lock> InFlight<O, R> {
    /// Looks whether the answer is there; if not, and a waker is given, wakes it when it comes. `None`: not yet.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after the deadline, and errors of the queue. After an error, and after the answer, there is nothing
    /// more to poll: [`Error::Dead`].
    pub fn poll_answer(&mut self, waker: Option<&Waker>) -> Result<Option<Answer<O>>, Error> {
        let Some(in_flight) = &mut self.in_flight else { return Err(Error::Dead) };
        let unique = in_flight.unique();
        let mut head = [0; REPLY_BYTES];
        match in_flight.poll(waker, &mut head, &mut self.data) {
            Ok(None) => Ok(None),
            Ok(Some(received)) => {
                self.in_flight = None;
                let op = self.op.take().ok_or(Error::Dead)?;
                let data = core::mem::take(&mut self.data);
                let Received { written, head, data_len } = received;
                let protocol = *self.rpc.protocol();
                Ok(Some(Answer { op, unique, written, head: head.to_vec(), data_len, data, protocol }))
            }
            Err(error) => {
                self.in_flight = None;
                Err(error)
            }
        }
    }

    /// Asks the server to give the request up (INTERRUPT, on the hiprio queue). The answer still comes, most often EINTR.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if there is no room in the queue.
    pub fn interrupt(&self) -> Result<(), Error> {
        let Some(in_flight) = &self.in_flight else { return Ok(()) };
        let op = ops::Interrupt { unique: Unique(in_flight.unique()) };
        drop(self.rpc.submit_patiently(HIPRIO, self.who, &op)?);
        self.rpc.connection().kick(HIPRIO);
        Ok(())
    }

    /// Returns the inode that the request is about.
    pub fn node(&self) -> Option<NodeId> {
        self.op.as_ref().map(Operation::node)
    }
}

impl<O: Operation + Unpin, R: Lock> Future for InFlight<O, R> {
    type Output = Result<Answer<O>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut().poll_answer(Some(context.waker())) {
            Ok(None) => Poll::Pending,
            Ok(Some(answer)) => Poll::Ready(Ok(answer)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
