//! Bytes of open files: READ and WRITE, several in flight at once, and what is done to them in bulk.

use fs_dax::MetadataChange;
use fuse_proto::{Errno, FallocateMode, FileHandle, FsyncFlags, LockOwner, NodeId, Opcode, ops};
use lock_api::RawMutex;

use crate::shared::Shared;
use crate::stats::Counters;
use crate::{Credentials, Error, File};

/// READ and WRITE requests in flight at once for one call.
const PIPELINE: usize = 4;

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// The most bytes of one READ or WRITE.
    fn io_size(&self) -> usize {
        (self.protocol.max_write() as usize).min(self.connection.data_buffer_size())
    }

    /// Reads by READ requests, several in flight at once.
    pub(crate) fn read_by_requests(&self, file: &File<R>, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        // No file reaches further, and servers take such an offset for a negative one.
        let most = usize::try_from((i64::MAX as u64).saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(most);
        let buffer = &mut buffer[..len];
        let size = self.io_size();
        let node = file.inode.nodeid;
        let mut done = 0;
        while done < buffer.len() {
            let batch = &mut buffer[done..];
            let channel = self.connection.pick_channel();
            let mut sent = heapless::Vec::<_, PIPELINE>::new();
            let mut at = offset.saturating_add(done as u64);
            for chunk in batch.chunks(size).take(PIPELINE) {
                let op = ops::Read {
                    node,
                    fh: file.fh.unwrap_or_default(),
                    offset: at,
                    size: chunk.len() as u32,
                    read_flags: Default::default(),
                    lock_owner: Default::default(),
                    flags: file.flags(),
                };
                let patient = sent.is_empty();
                let Some(pending) = self.connection.submit_op_or(&self.protocol, channel, file.who, &op, patient)?
                else {
                    break;
                };
                // No more than PIPELINE: there is room.
                let _ = sent.push((op, pending));
                at = at.saturating_add(chunk.len() as u64);
            }
            self.connection.kick(channel);
            let mut short = false;
            let mut got = 0;
            for ((op, pending), chunk) in sent.into_iter().zip(batch.chunks_mut(size)) {
                let count =
                    self.connection.finish_op(&self.protocol, &op, pending, chunk, |bytes: &[u8]| bytes.len())?;
                if !short {
                    got += count;
                }
                // What comes after a short read is past the end of the file, whatever a later reply says.
                short |= count < chunk.len();
            }
            Counters::add(&self.counters.request_read_bytes, got as u64);
            done += got;
            if short {
                break;
            }
        }
        Ok(done)
    }

    /// Writes by WRITE requests, several in flight at once. A write of several requests that fails in the middle says how
    /// much was written before.
    pub(crate) fn write_by_requests(&self, file: &File<R>, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        let mut done = 0;
        while done < buffer.len() {
            match self.write_some(file, &buffer[done..], offset.saturating_add(done as u64), PIPELINE) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Appends: one request after the other, since each goes to wherever the end is then.
    pub(crate) fn append_by_requests(&self, file: &File<R>, buffer: &[u8]) -> Result<usize, Error> {
        let size = self.io_size();
        let mut done = 0;
        while done < buffer.len() {
            let chunk = &buffer[done..buffer.len().min(done + size)];
            // The host appends by itself; the offset matters only to what is remembered here until the attributes, which
            // expire now, are fetched again.
            match self.write_some(file, chunk, file.inode.size(), 1) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// One batch of WRITE requests; returns the bytes written without a gap.
    fn write_some(&self, file: &File<R>, buffer: &[u8], offset: u64, most: usize) -> Result<usize, Error> {
        let size = self.io_size();
        let inode = &file.inode;
        let channel = self.connection.pick_channel();
        let mut sent = heapless::Vec::<_, PIPELINE>::new();
        let cuts = inode.truncate_seq();
        inode.note_size_change();
        let extends = offset.saturating_add(buffer.len() as u64) > inode.size();
        let _change = extends.then(|| inode.epoch.change(MetadataChange::ExtendingWrite));
        let mut at = offset;
        let mut failed = None;
        for data in buffer.chunks(size).take(most.min(PIPELINE)) {
            let op = ops::Write {
                node: inode.nodeid,
                fh: file.fh.unwrap_or_default(),
                offset: at,
                data,
                write_flags: Default::default(),
                lock_owner: Default::default(),
                flags: file.flags(),
            };
            let patient = sent.is_empty();
            match self.connection.submit_op_or(&self.protocol, channel, file.who, &op, patient) {
                Ok(Some(pending)) => {
                    // No more than PIPELINE: there is room.
                    let _ = sent.push((op, pending));
                }
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            at = at.saturating_add(data.len() as u64);
        }
        self.connection.kick(channel);
        let mut done = 0;
        let mut short = false;
        for (op, pending) in sent {
            let wanted = op.data.len();
            let result =
                self.connection.finish_op(&self.protocol, &op, pending, &mut [], |written| written.size as usize);
            match result {
                Ok(count) if count > wanted => {
                    failed = failed.or(Some(Error::refused(Errno::EIO, "the server claims to have written too much")));
                    short = true;
                }
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
        if done > 0 {
            inode.grow_to(offset, offset.saturating_add(done as u64), cuts);
            Counters::add(&self.counters.request_write_bytes, done as u64);
        }
        inode.note_size_change();
        inode.expire_attr();
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// Makes data durable. A server that does not know FSYNC has nothing to do, as far as an ordinary fsync goes; the answer
    /// says whether it does know it.
    pub(crate) fn op_fsync(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        data_only: bool,
    ) -> Result<bool, Error> {
        if self.is_unsupported(Opcode::FSYNC) {
            return Ok(false);
        }
        match self.op_fsync_raw(who, node, fh, data_only) {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(Opcode::FSYNC);
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// As `op_fsync`, with the server's answer as it is.
    pub(crate) fn op_fsync_raw(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        data_only: bool,
    ) -> Result<(), Error> {
        let flags = if data_only { FsyncFlags::FDATASYNC } else { FsyncFlags::empty() };
        Counters::add(&self.counters.fsyncs, 1);
        self.call(who, &ops::Fsync { node, fh, flags }, drop)
    }

    pub(crate) fn op_flush(&self, file: &File<R>, fh: FileHandle) -> Result<(), Error> {
        if self.is_unsupported(Opcode::FLUSH) {
            return Ok(());
        }
        let op = ops::Flush { node: file.inode.nodeid, fh, lock_owner: LockOwner(file.lock_owner) };
        self.tolerate_enosys(Opcode::FLUSH, self.call(file.who, &op, drop))
    }

    pub(crate) fn op_fallocate(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        mode: FallocateMode,
        offset: u64,
        len: u64,
    ) -> Result<(), Error> {
        let op = ops::Fallocate { node, fh, offset, length: len, mode };
        self.call_known(who, &op, &mut [], drop)
    }

    pub(crate) fn op_lseek(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        offset: u64,
        whence: u32,
    ) -> Result<u64, Error> {
        let op = ops::Lseek { node, fh, offset, whence: ops::Whence(whence) };
        self.call_known(who, &op, &mut [], |found| found.offset)
    }

    pub(crate) fn op_copy_file_range(
        &self,
        from: &File<R>,
        offset: u64,
        to: &File<R>,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, Error> {
        // The reply counts in 32 bits.
        let len = len.min(u64::from(u32::MAX) & !0xfff);
        let op = ops::CopyFileRange {
            node_in: from.inode.nodeid,
            fh_in: from.fh.unwrap_or_default(),
            off_in: offset,
            node_out: to.inode.nodeid,
            fh_out: to.fh.unwrap_or_default(),
            off_out: to_offset,
            len,
            flags: 0,
        };
        let copied = self.call_known(from.who, &op, &mut [], |written| u64::from(written.size))?;
        if copied > len {
            return Err(Error::refused(Errno::EIO, "the server claims to have copied too much"));
        }
        Ok(copied)
    }
}
