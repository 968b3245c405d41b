//! Extended attributes.

use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{NodeId, XattrFlags, ops};

use super::Rpc;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// Extended attributes and lists of their names larger than this are taken for a mistake (XATTR_SIZE_MAX).
const XATTR_MAX: usize = 64 << 10;

/// The value of an extended attribute.
pub(crate) fn get<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = buffer(rpc);
    let op = ops::Getxattr { node, name, size: buffer.len() as u32 };
    let len = rpc.call_known(who, &op, &mut buffer, |reply| value_len(&reply))?;
    buffer.truncate(len);
    Ok(buffer)
}

/// The names of all extended attributes, each followed by a NUL.
pub(crate) fn list<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId) -> Result<Vec<u8>, Error> {
    let mut buffer = buffer(rpc);
    let op = ops::Listxattr { node, size: buffer.len() as u32 };
    let len = rpc.call_known(who, &op, &mut buffer, |reply| value_len(&reply))?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Sets an extended attribute.
pub(crate) fn set<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    name: &[u8],
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Error> {
    let op = ops::Setxattr { node, name, value, flags, setxattr_flags: Default::default() };
    rpc.call_known(who, &op, &mut [], drop)
}

/// Removes an extended attribute.
pub(crate) fn remove<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, name: &[u8]) -> Result<(), Error> {
    rpc.call_known(who, &ops::Removexattr { node, name }, &mut [], drop)
}

fn buffer<R: Lock>(rpc: &Rpc<R>) -> Vec<u8> {
    vec![0; XATTR_MAX.min(rpc.connection().data_buffer_size())]
}

fn value_len(reply: &ops::XattrReply<'_>) -> usize {
    match reply {
        ops::XattrReply::Value(value) => value.len(),
        ops::XattrReply::Size(_) => 0,
    }
}
