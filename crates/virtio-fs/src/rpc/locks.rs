//! Record locks and commands to files: SETLK, SETLKW, GETLK, IOCTL.

use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::ops::{FileLock, Getlk, Ioctl, IoctlReply, LockKind, Setlk, Setlkw};
use fuse_proto::{Errno, IoctlFlags, LockFlags};

use super::Rpc;
use super::handles::Handle;
use crate::{Error, Lock};

/// The most bytes that a command may answer with: no more can be encoded in it (14 bits).
const IOCTL_MAX: usize = 16 << 10;
/// Bytes of the answer before those (`fuse_ioctl_out`).
const IOCTL_HEAD: usize = 16;

/// Takes or gives back a lock; EAGAIN if somebody else has one that conflicts.
pub(crate) fn set<R: Lock>(rpc: &Rpc<R>, handle: &Handle, lock: FileLock) -> Result<(), Error> {
    let (node, fh, owner) = (handle.node, handle.fh(), handle.lock_owner);
    let op = Setlk { node, fh, owner, lock, flags: LockFlags::empty() };
    rpc.call_known(handle.who, &op, &mut [], drop)
}

/// Takes a lock, waiting on the host for whoever has one that conflicts.
pub(crate) fn set_waiting<R: Lock>(rpc: &Rpc<R>, handle: &Handle, lock: FileLock) -> Result<(), Error> {
    let (node, fh, owner) = (handle.node, handle.fh(), handle.lock_owner);
    let op = Setlkw { node, fh, owner, lock, flags: LockFlags::empty() };
    rpc.call_known(handle.who, &op, &mut [], drop)
}

/// The lock that stands in the way of `lock`, if there is one.
pub(crate) fn test<R: Lock>(rpc: &Rpc<R>, handle: &Handle, lock: FileLock) -> Result<Option<FileLock>, Error> {
    let (node, fh, owner) = (handle.node, handle.fh(), handle.lock_owner);
    let op = Getlk { node, fh, owner, lock, flags: LockFlags::empty() };
    let found = rpc.call_known(handle.who, &op, &mut [], |found| found)?;
    Ok((found.kind != LockKind::Unlock).then_some(found))
}

/// Passes a command to the file on the host. Returns the command's result and what it wrote.
pub(crate) fn ioctl<R: Lock>(
    rpc: &Rpc<R>,
    handle: &Handle,
    command: u32,
    argument: u64,
    data: &[u8],
) -> Result<(i32, Vec<u8>), Error> {
    let room = (IOCTL_HEAD + IOCTL_MAX).min(rpc.connection().data_buffer_size());
    let op = Ioctl {
        node: handle.node,
        fh: handle.fh(),
        flags: IoctlFlags::empty(),
        cmd: command,
        arg: argument,
        data,
        out_size: (room - IOCTL_HEAD) as u32,
    };
    let mut buffer = vec![0; room];
    rpc.call_known(handle.who, &op, &mut buffer, |reply| match reply {
        IoctlReply::Done { result, data, .. } => Ok((result, data.to_vec())),
        IoctlReply::Retry { .. } => {
            Err(Error::refused(Errno::EIO, "the server asks for memory that it was not offered"))
        }
    })?
}
