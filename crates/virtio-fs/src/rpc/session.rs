//! The begin and the end of a session: INIT and DESTROY.

use alloc::sync::Arc;

use fuse_proto::{Negotiation, Protocol, ops};

use super::connection::Connection;
use super::credentials::Credentials;
use super::{Rpc, call};
use crate::{Error, Lock};

/// Sends INIT. Returns the server's answer as it is.
pub(crate) fn init<R: Lock>(
    connection: &Arc<Connection<R>>,
    credentials: Credentials,
    negotiation: &Negotiation,
) -> Result<ops::InitReply, Error> {
    call(connection, &Protocol::INITIAL, credentials, &negotiation.init(), &mut [], |reply| reply)
}

/// Ends the session.
pub(crate) fn destroy<R: Lock>(rpc: &Rpc<R>) -> Result<(), Error> {
    rpc.call(rpc.credentials(), &ops::Destroy, drop)
}
