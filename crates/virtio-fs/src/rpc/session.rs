//! The begin and the end of a session: INIT and DESTROY.

use alloc::sync::Arc;

use fuse_proto::{Negotiation, Protocol, ops};

use super::connection::Connection;
use super::credentials::Credentials;
use super::{Rpc, answered, call, typed};
use crate::{Error, Lock};

/// Sends INIT. Returns the server's answer as it is.
pub(crate) fn init<R: Lock>(
    connection: &Arc<Connection<R>>,
    credentials: Credentials,
    negotiation: &Negotiation,
) -> Result<ops::InitReply, Error> {
    let (protocol, op) = (&Protocol::INITIAL, negotiation.init());
    let reply =
        typed(protocol, &op, |reply| reply, |decode| call(connection, protocol, credentials, &op, &mut [], decode));
    answered(reply)
}

/// Ends the session.
pub(crate) fn destroy<R: Lock>(rpc: &Rpc<R>) -> Result<(), Error> {
    rpc.call(rpc.credentials(), &ops::Destroy, drop)
}
