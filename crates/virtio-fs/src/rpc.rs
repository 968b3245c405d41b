//! Requests to the server and their replies.
//!
//! [`Rpc`] encodes a request, sends it, waits, and reads the reply; [`InFlight`] is the one handle of a request that was sent
//! and not answered yet. Below them is [`connection`], which keeps deadlines and what becomes of a device that does not answer.
//! Around them are the operations of the protocol by subject, each a function that takes an [`Rpc`].

pub(crate) mod attributes;
pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod counters;
pub(crate) mod credentials;
pub(crate) mod data;
pub(crate) mod deadlines;
pub(crate) mod forget;
pub(crate) mod handles;
pub(crate) mod in_flight;
pub(crate) mod locks;
pub(crate) mod mapping;
pub(crate) mod names;
pub(crate) mod orphans;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod session;
pub(crate) mod space;
pub(crate) mod xattr;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;

use fuse_proto::{DecodeError, Encode, Errno, InitFlags, Message, Opcode, Operation, Protocol, Shape, Unique};

use self::connection::Connection;
use self::counters::Counters;
use self::credentials::Credentials;
use self::in_flight::{GivenUp, InFlight};
use self::reply::{SHORT_HEAD, head_len, read_reply};
use self::request::Request;
use crate::queue::channel::REPLY_BYTES;
use crate::wait::wait_for;
use crate::{Error, Lock, Platform};

/// A session with the server: everything that sends requests does it through this.
pub(crate) struct Rpc<R: Lock> {
    connection: Arc<Connection<R>>,
    protocol: Protocol,
    /// The credentials of the driver's own requests.
    credentials: Credentials,
    /// Bit per opcode: the server answered ENOSYS.
    unsupported: AtomicU64,
    pub(crate) counters: Counters,
}

impl<R: Lock> Rpc<R> {
    /// A session by `protocol`, as [`session::open`] negotiated it.
    pub(crate) fn new(connection: Arc<Connection<R>>, protocol: Protocol, credentials: Credentials) -> Self {
        Self { connection, protocol, credentials, unsupported: AtomicU64::new(0), counters: Counters::default() }
    }

    /// What is below the session.
    pub(crate) fn connection(&self) -> &Arc<Connection<R>> {
        &self.connection
    }

    /// What was negotiated.
    pub(crate) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Whether a feature was negotiated.
    pub(crate) fn has(&self, feature: InitFlags) -> bool {
        self.protocol.has(feature)
    }

    /// The credentials of the driver's own requests.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// The embedder's platform.
    pub(crate) fn platform(&self) -> &dyn Platform {
        self.connection.platform()
    }

    /// Time since the platform's fixed point.
    pub(crate) fn now(&self) -> Duration {
        self.platform().now()
    }

    /// Waits until `look` finds something, completing requests meanwhile; `None` at the deadline.
    pub(crate) fn wait_for<T>(&self, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        wait_for(self.platform(), deadline, || {
            self.connection.process();
            look()
        })
    }

    /// Encodes a request and puts it into a queue; the device does not know of it before [`Connection::kick`].
    ///
    /// Returns `None` if there is no room and the caller is not `patient`; see [`Connection::submit`].
    // Apart, so that the encoding is off the stack while the caller waits.
    #[inline(never)]
    pub(crate) fn submit(
        &self,
        channel: usize,
        who: Credentials,
        op: &dyn Encode,
        patient: bool,
    ) -> Result<Option<InFlight<'_, R>>, Error> {
        let mut message = Message::new(self.protocol.byte_order());
        let shape = op.describe(&self.protocol);
        let unique = encode(&self.connection, &self.protocol, who, (&shape, op), &mut message)?;
        let submitted = self.connection.submit(channel, &Request::new(&shape, unique, &message), patient, false)?;
        Ok(submitted.map(|submitted| InFlight::new(&self.connection, submitted)))
    }

    /// As [`Rpc::submit`], waiting for room.
    pub(crate) fn submit_patiently(
        &self,
        channel: usize,
        who: Credentials,
        op: &dyn Encode,
    ) -> Result<InFlight<'_, R>, Error> {
        // Patience ends with a request or an error.
        self.submit(channel, who, op, true)?.ok_or(Error::Dead)
    }

    /// Sends a request; [`Rpc::answer`] waits for its answer.
    pub(crate) fn send(&self, who: Credentials, op: &dyn Encode) -> Result<InFlight<'_, R>, Error> {
        send(&self.connection, &self.protocol, who, (&op.describe(&self.protocol), op))
    }

    /// Waits for the reply to a request and reads it; bulk data comes into `data`. A request that was not answered stays with
    /// the caller, who can arrange for its late answer before it is given up by dropping it.
    pub(crate) fn answer<O: Operation, T>(
        &self,
        op: &O,
        in_flight: &mut InFlight<'_, R>,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        answered(typed(&self.protocol, op, read, |decode| {
            answer(&self.protocol, &op.shape(&self.protocol), in_flight, data, decode)
        }))
    }

    /// Reads the reply to a request if it has come; `None`: not yet. See [`InFlight::poll`].
    pub(crate) fn poll_answer<O: Operation, T>(
        &self,
        op: &O,
        in_flight: &mut InFlight<'_, R>,
        waker: Option<&Waker>,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        typed(&self.protocol, op, read, |decode| {
            poll_answer(&self.protocol, &op.shape(&self.protocol), in_flight, waker, data, decode)
        })
    }

    /// Sends a request, waits, and reads the reply.
    pub(crate) fn call<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        self.call_into(who, op, &mut [], read)
    }

    /// As [`Rpc::call`]; a request that was not answered in time comes into `given_up`.
    pub(crate) fn call_keeping<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        given_up: &mut GivenUp<R>,
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        answered(typed(&self.protocol, op, read, |decode| {
            call_keeping(&self.connection, &self.protocol, who, op, given_up, decode)
        }))
    }

    /// As [`Rpc::call`]; bulk data of the reply comes into `data`.
    pub(crate) fn call_into<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        answered(typed(&self.protocol, op, read, |decode| {
            call(&self.connection, &self.protocol, who, op, data, decode)
        }))
    }

    /// As [`Rpc::call_into`], for a request that not every server knows: EOPNOTSUPP at once if it does not.
    pub(crate) fn call_known<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        self.if_known(O::OPCODE, || self.call_into(who, op, data, read))
    }

    /// Makes a call that not every server knows: EOPNOTSUPP at once if it does not.
    pub(crate) fn if_known<T>(&self, opcode: Opcode, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        const UNKNOWN: Error = Error::refused(Errno::EOPNOTSUPP, "the server does not know the request");
        if self.is_unsupported(opcode) {
            return Err(UNKNOWN);
        }
        match call() {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(opcode);
                Err(UNKNOWN)
            }
            result => result,
        }
    }

    /// As [`Rpc::call`], for a request that a server without it has no need of. Returns whether the server knows it.
    pub(crate) fn call_optional<O: Operation>(&self, who: Credentials, op: &O) -> Result<bool, Error> {
        if self.is_unsupported(O::OPCODE) {
            return Ok(false);
        }
        match self.call(who, op, |_| ()) {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(O::OPCODE);
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// Whether the server is known not to implement a request.
    pub(crate) fn is_unsupported(&self, opcode: Opcode) -> bool {
        self.unsupported.load(Ordering::Relaxed) & bit(opcode) != 0
    }

    /// Notes that the server does not implement a request.
    pub(crate) fn set_unsupported(&self, opcode: Opcode) {
        self.unsupported.fetch_or(bit(opcode), Ordering::Relaxed);
    }
}

/// Reads the body of a reply that did what was asked: the part of an answer that each operation has for itself.
type Decode<'d> = &'d mut dyn FnMut(&[u8]) -> Result<(), DecodeError>;

/// Has `exchange` find the body of a reply, if there is one yet, and reads it as one to `op`.
fn typed<O: Operation, T>(
    protocol: &Protocol,
    op: &O,
    read: impl FnOnce(O::Reply<'_>) -> T,
    exchange: impl FnOnce(Decode<'_>) -> Result<(), Error>,
) -> Result<Option<T>, Error> {
    let mut read = Some(read);
    let mut found = None;
    exchange(&mut |body| {
        let reply = op.decode_body(protocol, body)?;
        found = read.take().map(|read| read(reply));
        Ok(())
    })?;
    Ok(found)
}

/// The answer to a request that was waited for: it has come, or there was an error.
fn answered<T>(answer: Result<Option<T>, Error>) -> Result<T, Error> {
    answer.and_then(|found| found.ok_or(Error::Dead))
}

/// Sends a request, waits, and has the reply read; bulk data comes into `data`.
fn call<R: Lock>(
    connection: &Arc<Connection<R>>,
    protocol: &Protocol,
    who: Credentials,
    op: &dyn Encode,
    data: &mut [u8],
    decode: Decode<'_>,
) -> Result<(), Error> {
    let shape = op.describe(protocol);
    let mut in_flight = send(connection, protocol, who, (&shape, op))?;
    answer(protocol, &shape, &mut in_flight, data, decode)
}

/// As [`call`]; a request that was not answered in time comes into `given_up`.
fn call_keeping<R: Lock>(
    connection: &Arc<Connection<R>>,
    protocol: &Protocol,
    who: Credentials,
    op: &dyn Encode,
    given_up: &mut GivenUp<R>,
    decode: Decode<'_>,
) -> Result<(), Error> {
    let shape = op.describe(protocol);
    let mut in_flight = send(connection, protocol, who, (&shape, op))?;
    let result = answer(protocol, &shape, &mut in_flight, &mut [], decode);
    if matches!(result, Err(Error::TimedOut { .. } | Error::Cancelled)) {
        given_up.put(in_flight);
    }
    result
}

/// Sends a request. Apart, so that the encoding is off the stack while the caller waits.
#[inline(never)]
fn send<'c, R: Lock>(
    connection: &'c Arc<Connection<R>>,
    protocol: &Protocol,
    who: Credentials,
    op: (&Shape, &dyn Encode),
) -> Result<InFlight<'c, R>, Error> {
    let mut message = Message::new(protocol.byte_order());
    let unique = encode(connection, protocol, who, op, &mut message)?;
    Ok(InFlight::new(connection, connection.send(&Request::new(op.0, unique, &message))?))
}

/// Encodes a request in `message`. Returns its number.
fn encode<'m, R: Lock>(
    connection: &Connection<R>,
    protocol: &Protocol,
    who: Credentials,
    (shape, op): (&Shape, &'m dyn Encode),
    message: &mut Message<'m>,
) -> Result<u64, Error> {
    let unique = connection.next_unique();
    op.encode_to(protocol, shape, Unique(unique), who.into(), message).map_err(Error::Encode)?;
    Ok(unique)
}

/// Waits for the reply to a request and has it read.
fn answer<R: Lock>(
    protocol: &Protocol,
    shape: &Shape,
    in_flight: &mut InFlight<'_, R>,
    data: &mut [u8],
    decode: Decode<'_>,
) -> Result<(), Error> {
    if head_len(shape) <= SHORT_HEAD {
        answer_of::<SHORT_HEAD, R>(protocol, shape, in_flight, data, decode)
    } else {
        answer_of::<REPLY_BYTES, R>(protocol, shape, in_flight, data, decode)
    }
}

/// As [`answer`], with room for so many first bytes. Apart, so that they are on the stack only now.
#[inline(never)]
fn answer_of<const HEAD: usize, R: Lock>(
    protocol: &Protocol,
    shape: &Shape,
    in_flight: &mut InFlight<'_, R>,
    data: &mut [u8],
    decode: Decode<'_>,
) -> Result<(), Error> {
    let unique = Unique(in_flight.unique());
    let mut head = [0; HEAD];
    let received = in_flight.wait(&mut head, data)?;
    read_reply(protocol, shape, unique, &received, data, decode)
}

/// Has the reply to a request read if it has come. See [`InFlight::poll`].
#[inline(never)]
fn poll_answer<R: Lock>(
    protocol: &Protocol,
    shape: &Shape,
    in_flight: &mut InFlight<'_, R>,
    waker: Option<&Waker>,
    data: &mut [u8],
    decode: Decode<'_>,
) -> Result<(), Error> {
    let unique = Unique(in_flight.unique());
    let mut head = [0; REPLY_BYTES];
    match in_flight.poll(waker, &mut head, data)? {
        Some(received) => read_reply(protocol, shape, unique, &received, data, decode),
        None => Ok(()),
    }
}

fn bit(opcode: Opcode) -> u64 {
    1u64.checked_shl(opcode.0).unwrap_or(0)
}
