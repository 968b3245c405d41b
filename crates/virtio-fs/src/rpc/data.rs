//! Bytes of open files: READ and WRITE, several in flight at once.

use alloc::vec::Vec;

use fuse_proto::{Errno, WriteFlags, ops};

use super::Rpc;
use super::handles::Handle;
use crate::{Error, Lock};

/// READ and WRITE requests in flight at once for one call.
pub(crate) const PIPELINE: usize = 4;

/// The most bytes of one READ or WRITE.
pub(crate) fn io_size<R: Lock>(rpc: &Rpc<R>) -> usize {
    (rpc.protocol().max_write() as usize).min(rpc.connection().data_buffer_size())
}

/// The READ of `size` bytes at `offset`.
pub(crate) fn read_op(handle: &Handle, offset: u64, size: usize) -> ops::Read {
    ops::Read {
        node: handle.node,
        fh: handle.fh(),
        offset,
        size: size as u32,
        read_flags: Default::default(),
        lock_owner: Default::default(),
        flags: handle.flags,
    }
}

/// The WRITE of `data` at `offset`. `kill`: the server takes away the bits by which programs run as the file's owner.
pub(crate) fn write_op<'d>(handle: &Handle, offset: u64, data: &'d [u8], kill: bool) -> ops::Write<'d> {
    let kill = if kill { WriteFlags::KILL_SUIDGID } else { WriteFlags::empty() };
    ops::Write {
        node: handle.node,
        fh: handle.fh(),
        offset,
        data,
        write_flags: kill,
        lock_owner: Default::default(),
        flags: handle.flags,
    }
}

/// How much of `len` bytes at `offset` can be read: no file reaches past the largest offset, and servers take one past it for
/// a negative one.
pub(crate) fn readable_len(offset: u64, len: usize) -> usize {
    usize::try_from((i64::MAX as u64).saturating_sub(offset)).unwrap_or(usize::MAX).min(len)
}

/// Reads; returns how many bytes, fewer than asked for only at the end of the file and before what cannot be read.
pub(crate) fn read<R: Lock>(rpc: &Rpc<R>, handle: &Handle, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
    let len = readable_len(offset, buffer.len());
    let buffer = &mut buffer[..len];
    let mut done = 0;
    while done < buffer.len() {
        let (count, end) = read_batch(rpc, handle, &mut buffer[done..], offset.saturating_add(done as u64));
        rpc.counters.read_bytes.add(count as u64);
        done += count;
        match end {
            None => {}
            Some(End::Failed(error)) if done == 0 => return Err(error),
            Some(_) => break,
        }
    }
    Ok(done)
}

/// Why nothing was read past some byte.
enum End {
    /// The file ends there.
    OfFile,
    Failed(Error),
}

/// Reads by up to [`PIPELINE`] requests at once. Returns the bytes read without a gap, and why they are not all.
fn read_batch<R: Lock>(rpc: &Rpc<R>, handle: &Handle, buffer: &mut [u8], mut offset: u64) -> (usize, Option<End>) {
    let size = io_size(rpc);
    let channel = rpc.connection().pick_channel();
    // On the heap: a round trip costs more, and stacks are small.
    let mut sent = Vec::with_capacity(PIPELINE);
    let mut unsent = None;
    for chunk in buffer.chunks(size).take(PIPELINE) {
        let op = read_op(handle, offset, chunk.len());
        match rpc.submit(channel, handle.who, &op, sent.is_empty()) {
            Ok(Some(in_flight)) => {
                sent.push((op, in_flight));
            }
            Ok(None) => break,
            Err(error) => {
                unsent = Some(End::Failed(error));
                break;
            }
        }
        offset = offset.saturating_add(chunk.len() as u64);
    }
    rpc.connection().kick(channel);
    let mut end = None;
    let mut got = 0;
    for ((op, in_flight), chunk) in sent.iter_mut().zip(buffer.chunks_mut(size)) {
        let result = rpc.answer(op, in_flight, chunk, |bytes: &[u8]| bytes.len());
        if end.is_some() {
            // It lies past the end of the file or past what cannot be read, whatever the reply says.
            continue;
        }
        match result {
            Ok(count) => {
                got += count;
                end = (count < chunk.len()).then_some(End::OfFile);
            }
            Err(error) => end = Some(End::Failed(error)),
        }
    }
    (got, end.or(unsent))
}

/// Writes by up to `most` requests at once; `kill`: see [`write_op`]. Returns the bytes written without a gap, and the first error after them.
pub(crate) fn write_batch<R: Lock>(
    rpc: &Rpc<R>,
    handle: &Handle,
    buffer: &[u8],
    mut offset: u64,
    (most, kill): (usize, bool),
) -> (usize, Option<Error>) {
    let channel = rpc.connection().pick_channel();
    // On the heap: a round trip costs more, and stacks are small.
    let mut sent = Vec::with_capacity(PIPELINE);
    let mut failed = None;
    for data in buffer.chunks(io_size(rpc)).take(most.min(PIPELINE)) {
        let op = write_op(handle, offset, data, kill);
        match rpc.submit(channel, handle.who, &op, sent.is_empty()) {
            Ok(Some(in_flight)) => {
                sent.push((op, in_flight));
            }
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        offset = offset.saturating_add(data.len() as u64);
    }
    rpc.connection().kick(channel);
    let mut done = 0;
    let mut short = false;
    for (op, in_flight) in &mut sent {
        let wanted = op.data.len();
        match rpc.answer(op, in_flight, &mut [], |written| written.size as usize).and_then(|n| written(n, wanted)) {
            Ok(count) => {
                if !short {
                    done += count;
                }
                short |= count < wanted;
            }
            Err(error) => {
                failed = failed.or(Some(error));
                short = true;
            }
        }
    }
    rpc.counters.write_bytes.add(done as u64);
    (done, failed)
}

/// Refuses a server's claim to have written more than it was given.
pub(crate) fn written(count: usize, wanted: usize) -> Result<usize, Error> {
    if count > wanted {
        return Err(Error::refused(Errno::EIO, "the server claims to have written too much"));
    }
    Ok(count)
}
