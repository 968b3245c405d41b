//! The one handle of a request that was sent and not answered yet.

use alloc::sync::Arc;
use core::task::Waker;

use super::connection::{Connection, Submitted};
use super::reply::Received;
use crate::wait::wait_for;
use crate::{Error, Lock};

/// A request in flight. Dropped without an answer, it is given up: the device keeps its buffers until it returns them.
pub(crate) struct InFlight<'c, R: Lock> {
    connection: Reference<'c, R>,
    request: Submitted,
    /// Whether nothing is to be given up any more.
    settled: bool,
}

/// Whoever waits borrows the connection; a handle that is given away shares it.
enum Reference<'c, R: Lock> {
    Borrowed(&'c Arc<Connection<R>>),
    Shared(Arc<Connection<R>>),
}

impl<R: Lock> Reference<'_, R> {
    fn get(&self) -> &Arc<Connection<R>> {
        match self {
            Self::Borrowed(connection) => connection,
            Self::Shared(connection) => connection,
        }
    }
}

impl<R: Lock> core::fmt::Debug for InFlight<'_, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InFlight").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<R: Lock> Drop for InFlight<'_, R> {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.get().abandon(&self.request);
        }
    }
}

impl<'c, R: Lock> InFlight<'c, R> {
    /// The handle of what [`Connection::submit`] returned.
    pub(crate) fn new(connection: &'c Arc<Connection<R>>, request: Submitted) -> Self {
        Self { connection: Reference::Borrowed(connection), request, settled: false }
    }

    /// The same request, with a handle that nothing needs to outlive.
    pub(crate) fn into_owned(mut self) -> InFlight<'static, R> {
        self.settled = true;
        let connection = Reference::Shared(self.connection.get().clone());
        InFlight { connection, request: self.request, settled: false }
    }

    /// The request's number.
    pub(crate) fn unique(&self) -> u64 {
        self.request.unique
    }

    /// Waits for the reply; bulk data is copied to `data`.
    pub(crate) fn wait(mut self, data: &mut [u8]) -> Result<Received, Error> {
        let connection = self.connection.get();
        match wait_for(connection.platform(), self.request.deadline, || connection.look(&self.request).transpose()) {
            Some(Ok(reply)) => {
                let received = connection.receive(reply, data);
                self.settled = true;
                Ok(received)
            }
            None => Err(connection.timed_out(self.request.opcode)),
            Some(Err(error)) => {
                connection.give_up();
                Err(Error::Queue(error))
            }
        }
    }

    /// Looks whether the reply has come and registers `waker` if not; `None`: not yet. After a reply or an error there is
    /// nothing more to poll.
    pub(crate) fn poll(&mut self, waker: Option<&Waker>, data: &mut [u8]) -> Result<Option<Received>, Error> {
        let connection = self.connection.get();
        if self.settled {
            return Err(Error::Dead);
        }
        let mut reply = connection.look(&self.request).map_err(Error::Queue)?;
        if let (None, Some(waker)) = (&reply, waker) {
            connection.set_waker(&self.request, waker);
            // It may have come before the waker was there.
            reply = connection.look(&self.request).map_err(Error::Queue)?;
        }
        match reply {
            Some(reply) => {
                let received = connection.receive(reply, data);
                self.settled = true;
                Ok(Some(received))
            }
            None if connection.is_dead() => Err(Error::Dead),
            None if connection.platform().now() >= self.request.deadline => {
                connection.abandon(&self.request);
                let error = connection.timed_out(self.request.opcode);
                self.settled = true;
                Err(error)
            }
            None => Ok(None),
        }
    }

    /// Leaves the request to the device; [`Connection::drain_detached`] waits for it.
    pub(crate) fn detach_ordered(mut self) {
        self.settled = true;
        self.connection.get().detach_ordered(&self.request);
    }
}
