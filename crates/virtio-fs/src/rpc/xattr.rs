//! Extended attributes.

use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{Errno, NodeId, Operation, XattrFlags, ops};

use super::Rpc;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// Extended attributes and lists of their names larger than this are taken for a mistake (XATTR_SIZE_MAX).
const XATTR_MAX: usize = 64 << 10;

/// The value of an extended attribute.
pub(crate) fn get<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, name: &[u8]) -> Result<Vec<u8>, Error> {
    read(rpc, who, |size| ops::Getxattr { node, name, size })
}

/// The names of all extended attributes, each followed by a NUL.
pub(crate) fn list<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId) -> Result<Vec<u8>, Error> {
    read(rpc, who, |size| ops::Listxattr { node, size })
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

/// Reads what `op` asks for with room for so many bytes. What a reply cannot hold is measured: the server says only that it is
/// too much.
fn read<R: Lock, O>(rpc: &Rpc<R>, who: Credentials, op: impl Fn(u32) -> O) -> Result<Vec<u8>, Error>
where
    O: for<'r> Operation<Reply<'r> = ops::XattrReply<'r>>,
{
    let limit = rpc.connection().data_buffer_size();
    let mut buffer = vec![0; XATTR_MAX.min(limit)];
    match rpc.call_known(who, &op(buffer.len() as u32), &mut buffer, |reply| reply_len(&reply)) {
        Ok(len) => {
            buffer.truncate(len);
            Ok(buffer)
        }
        Err(error) if error.errno() == Errno::ERANGE && limit < XATTR_MAX => {
            let len = rpc.call_known(who, &op(0), &mut [], |reply| reply_len(&reply))?;
            // It may have become shorter meanwhile.
            Err(if len > limit { Error::TooLarge { len, limit } } else { error })
        }
        Err(error) => Err(error),
    }
}

fn reply_len(reply: &ops::XattrReply<'_>) -> usize {
    match reply {
        ops::XattrReply::Value(value) => value.len(),
        ops::XattrReply::Size(size) => *size as usize,
    }
}
