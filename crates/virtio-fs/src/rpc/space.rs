//! Room on the host: FALLOCATE, LSEEK for holes, COPY_FILE_RANGE, STATFS; and making it durable: FSYNC, SYNCFS.

use fuse_proto::{Errno, FallocateMode, FsyncFlags, NodeId, Opcode, ops};

use super::Rpc;
use super::credentials::Credentials;
use super::handles::Handle;
use super::in_flight::GivenUp;
use crate::{Error, Lock};

/// Makes data durable. A server that does not know FSYNC has nothing to do, as far as an ordinary fsync goes; returns whether
/// it knows it.
pub(crate) fn fsync<R: Lock>(rpc: &Rpc<R>, handle: &Handle, data_only: bool) -> Result<bool, Error> {
    if rpc.is_unsupported(Opcode::FSYNC) {
        return Ok(false);
    }
    match fsync_as_answered(rpc, handle, data_only) {
        Err(error) if error.is_enosys() => {
            rpc.set_unsupported(Opcode::FSYNC);
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// As [`fsync`], with the server's answer as it is: ENOSYS from a server that makes nothing durable.
pub(crate) fn fsync_as_answered<R: Lock>(rpc: &Rpc<R>, handle: &Handle, data_only: bool) -> Result<(), Error> {
    let flags = if data_only { FsyncFlags::FDATASYNC } else { FsyncFlags::empty() };
    rpc.counters.fsyncs.add(1);
    rpc.call(handle.who, &ops::Fsync { node: handle.node, fh: handle.fh(), flags }, drop)
}

/// Makes everything written durable.
pub(crate) fn syncfs<R: Lock>(rpc: &Rpc<R>, who: Credentials) -> Result<(), Error> {
    rpc.call_known(who, &ops::Syncfs { node: NodeId::ROOT }, &mut [], drop)
}

/// Allocates, punches or zeroes.
pub(crate) fn fallocate<R: Lock>(
    rpc: &Rpc<R>,
    handle: &Handle,
    mode: FallocateMode,
    offset: u64,
    length: u64,
) -> Result<(), Error> {
    fallocate_keeping(rpc, handle, mode, offset, length, &mut GivenUp::none())
}

/// As [`fallocate`]; a request without an answer comes into `given_up`.
pub(crate) fn fallocate_keeping<R: Lock>(
    rpc: &Rpc<R>,
    handle: &Handle,
    mode: FallocateMode,
    offset: u64,
    length: u64,
    given_up: &mut GivenUp<R>,
) -> Result<(), Error> {
    let op = ops::Fallocate { node: handle.node, fh: handle.fh(), offset, length, mode };
    rpc.if_known(Opcode::FALLOCATE, || rpc.call_keeping(handle.who, &op, given_up, drop))
}

/// Finds the next data or hole.
pub(crate) fn lseek<R: Lock>(rpc: &Rpc<R>, handle: &Handle, offset: u64, whence: ops::Whence) -> Result<u64, Error> {
    let op = ops::Lseek { node: handle.node, fh: handle.fh(), offset, whence };
    rpc.call_known(handle.who, &op, &mut [], |found| found.offset)
}

/// The most bytes of one copy: the reply counts in 32 bits.
pub(crate) const MAX_COPY: u64 = u32::MAX as u64 & !0xfff;

/// Copies up to [`MAX_COPY`] bytes between two files on the host. Returns how many; a request without an answer comes into
/// `given_up`.
pub(crate) fn copy_file_range<R: Lock>(
    rpc: &Rpc<R>,
    (from, off_in): (&Handle, u64),
    (to, off_out): (&Handle, u64),
    len: u64,
    given_up: &mut GivenUp<R>,
) -> Result<u64, Error> {
    let op = ops::CopyFileRange {
        node_in: from.node,
        fh_in: from.fh(),
        off_in,
        node_out: to.node,
        fh_out: to.fh(),
        off_out,
        len,
        flags: 0,
    };
    let copied = rpc.if_known(Opcode::COPY_FILE_RANGE, || {
        rpc.call_keeping(from.who, &op, given_up, |written| u64::from(written.size))
    })?;
    if copied > len {
        return Err(Error::refused(Errno::EIO, "the server claims to have copied too much"));
    }
    Ok(copied)
}

/// Sizes and free space of the file system that a node is on.
pub(crate) fn statfs<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId) -> Result<ops::StatfsReply, Error> {
    rpc.call(who, &ops::Statfs { node }, |reply| reply)
}
