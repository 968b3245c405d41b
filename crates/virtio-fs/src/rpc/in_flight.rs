//! The one handle of a request that was sent and not answered yet.

use alloc::sync::Arc;
use core::task::Waker;

use super::connection::{Connection, Submitted};
use super::reply::Received;
use crate::{Error, Lock};

/// A request in flight. Dropped without an answer, it is given up: the device keeps its buffers until it returns them.
pub(crate) struct InFlight<'c, R: Lock> {
    connection: Reference<'c, R>,
    request: Submitted,
    /// Whether nothing is to be given up any more.
    settled: bool,
    /// Whether there is nothing more to poll.
    over: bool,
}

/// A request that was not answered in time, if there is one, until it is arranged what becomes of its late answer: it is given
/// up when this is dropped.
pub(crate) struct GivenUp<R: Lock>(Option<InFlight<'static, R>>);

impl<R: Lock> GivenUp<R> {
    /// None.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The request's number.
    pub(crate) fn unique(&self) -> Option<u64> {
        self.0.as_ref().map(InFlight::unique)
    }

    pub(super) fn put(&mut self, request: InFlight<'_, R>) {
        self.0 = Some(request.into_owned());
    }
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
        Self { connection: Reference::Borrowed(connection), request, settled: false, over: false }
    }

    /// The same request, with a handle that nothing needs to outlive.
    pub(crate) fn into_owned(mut self) -> InFlight<'static, R> {
        self.settled = true;
        self.connection.get().leave_to_polling(&self.request);
        let connection = Reference::Shared(self.connection.get().clone());
        InFlight { connection, request: self.request, settled: false, over: false }
    }

    /// The request's number.
    pub(crate) fn unique(&self) -> u64 {
        self.request.unique
    }

    /// Waits for the reply; its first bytes are copied to `head`, bulk data to `data`. After an error the request is still with the device, and is given
    /// up when this is dropped.
    pub(crate) fn wait<'h>(&mut self, head: &'h mut [u8], data: &mut [u8]) -> Result<Received<'h>, Error> {
        let connection = self.connection.get();
        let mut found = Ok(None);
        // Sent without patience it has all of its class's time, of which the call that waits for it may have less.
        let in_time = self.request.in_time;
        let deadline = if in_time { self.request.deadline } else { connection.in_time(self.request.deadline) };
        let hurried = self.request.hurried || deadline < self.request.deadline;
        connection.platform().wait(deadline, &mut || {
            // Not again, if the platform asks once more: what was found would be lost.
            if matches!(found, Ok(None)) {
                found = connection.look(&self.request, head);
            }
            !matches!(found, Ok(None)) || connection.is_stopped()
        });
        match found {
            Ok(Some(reply)) => {
                let received = connection.receive(reply, head, data);
                self.settled = true;
                Ok(received)
            }
            Ok(None) => Err(connection.given_up(self.request.opcode, deadline, hurried)),
            Err(error) => {
                connection.give_up();
                Err(Error::Queue(error))
            }
        }
    }

    /// Looks whether the reply has come and registers `waker` if not; `None`: not yet. After a reply or an error there is
    /// nothing more to poll; after an error the request is given up when this is dropped.
    pub(crate) fn poll<'h>(
        &mut self,
        waker: Option<&Waker>,
        head: &'h mut [u8],
        data: &mut [u8],
    ) -> Result<Option<Received<'h>>, Error> {
        let connection = self.connection.get();
        if self.over {
            return Err(Error::Dead);
        }
        let mut reply = connection.look(&self.request, head).map_err(Error::Queue)?;
        if let (None, Some(waker)) = (&reply, waker) {
            connection.set_waker(&self.request, waker);
            // It may have come before the waker was there.
            reply = connection.look(&self.request, head).map_err(Error::Queue)?;
        }
        match reply {
            Some(reply) => {
                let received = connection.receive(reply, head, data);
                (self.settled, self.over) = (true, true);
                Ok(Some(received))
            }
            None if connection.is_dead() => Err(Error::Dead),
            None if connection.platform().now() >= self.request.deadline => {
                let error = connection.timed_out(self.request.opcode);
                self.over = true;
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
