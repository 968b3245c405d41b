//! One function a request: builds it, sends it, waits, checks the reply.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use dax::MetadataChange;
use dax_window::{RemoveEntry, SetupEntry};
use fuse_proto::{
    AccessMask, Attr, AttrReply, Context, Directory, Entry, Errno, FallocateMode, FileHandle, FopenFlags, ForgetOne,
    FsyncFlags, InitFlags, List, LockOwner, MapFlags, MappingRange, NodeId, Opcode, OpenFlags, Operation, ReleaseFlags,
    RenameFlags, ReplyHeader, StatxMask, Timestamp, Unique, XattrFlags, ops,
};
use lock_api::RawMutex;

use crate::connection::{Connection, HIPRIO, Outgoing, Pending, Received};
use crate::file::{SetAttr, SetTime};
use crate::inode::Inode;
use crate::queue::channel::{About, REPLY_BYTES};
use crate::shared::Shared;
use crate::stats::Counters;
use crate::{Credentials, Error, File, OpenOptions};

/// READ and WRITE requests in flight at once for one call.
const PIPELINE: usize = 4;
/// Extended attributes and lists of their names larger than this are taken for a mistake (XATTR_SIZE_MAX).
const XATTR_MAX: usize = 64 << 10;

impl From<Credentials> for Context {
    fn from(who: Credentials) -> Self {
        Self { uid: who.uid, gid: who.gid, pid: who.pid }
    }
}

/// The largest reply whose body is a structure, not bulk data: it fits the slot's own buffer.
const SMALL: usize = REPLY_BYTES - ReplyHeader::LEN;

impl<R: RawMutex + Send + Sync + 'static> Connection<R> {
    /// Encodes a request and submits it to a queue without telling the device.
    pub(crate) fn submit_op<O: Operation>(
        &self,
        protocol: &fuse_proto::Protocol,
        channel: usize,
        who: Credentials,
        op: &O,
    ) -> Result<Pending<'_, R>, Error> {
        // Patience ends with a request or an error.
        self.submit_op_or(protocol, channel, who, op, true)?.ok_or(Error::Dead)
    }

    /// As [`Connection::submit_op`]; see [`Connection::submit_or`] for `patient`.
    pub(crate) fn submit_op_or<O: Operation>(
        &self,
        protocol: &fuse_proto::Protocol,
        channel: usize,
        who: Credentials,
        op: &O,
        patient: bool,
    ) -> Result<Option<Pending<'_, R>>, Error> {
        let unique = self.next_unique();
        let message = op.encode(protocol, Unique(unique), who.into()).map_err(Error::Encode)?;
        let parts: heapless::Vec<&[u8], 8> = message.pieces().collect();
        let reply = op.reply_size(protocol).max as usize;
        let (reply_len, reply_data) = match O::REPLY {
            fuse_proto::ReplyRule::Never => (0, 0),
            _ if reply <= SMALL => (ReplyHeader::LEN + reply, 0),
            _ => (ReplyHeader::LEN, reply),
        };
        let about = About { opcode: O::OPCODE, node: op.node(), unique };
        let outgoing = Outgoing { about, parts: &parts, reply_len, reply_data };
        self.submit_or(channel, &outgoing, patient)
    }

    /// Waits for the reply to a request and reads it; bulk data comes into `data`.
    pub(crate) fn finish_op<O: Operation, T>(
        &self,
        protocol: &fuse_proto::Protocol,
        op: &O,
        pending: Pending<'_, R>,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        let unique = Unique(pending.unique());
        let received = self.wait(pending, data)?;
        Self::read_op(protocol, op, unique, &received, data, read)
    }

    /// Reads a reply; bulk data is in `data` already.
    pub(crate) fn read_op<O: Operation, T>(
        protocol: &fuse_proto::Protocol,
        op: &O,
        unique: Unique,
        received: &Received,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        let head = received.head();
        let bulk = op.reply_size(protocol).max as usize > SMALL;
        let small = head.get(ReplyHeader::LEN..).unwrap_or(&[]);
        let body = if bulk {
            &data[..received.data_len]
        } else {
            // Data so small that it came with the header: the caller finds it where it looks for data.
            let len = small.len().min(data.len());
            data[..len].copy_from_slice(&small[..len]);
            small
        };
        let reply = op.decode(protocol, unique, received.written, head, body);
        reply.map(read).map_err(|error| Error::of_reply(O::OPCODE, error))
    }

    /// Sends a request, waits, and reads the reply.
    pub(crate) fn call_op<O: Operation, T>(
        &self,
        protocol: &fuse_proto::Protocol,
        who: Credentials,
        op: &O,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        let channel = self.pick_channel();
        let pending = self.submit_op(protocol, channel, who, op)?;
        self.kick(channel);
        self.finish_op(protocol, op, pending, data, read)
    }
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    fn call<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        self.connection.call_op(&self.protocol, who, op, &mut [], read)
    }

    /// As `call`, for a request that not every server knows: EOPNOTSUPP at once if it does not.
    pub(crate) fn call_known<O: Operation, T>(
        &self,
        who: Credentials,
        op: &O,
        data: &mut [u8],
        read: impl FnOnce(O::Reply<'_>) -> T,
    ) -> Result<T, Error> {
        if self.is_unsupported(O::OPCODE) {
            return Err(Error::refused(Errno::EOPNOTSUPP, "the server does not know the request"));
        }
        let result = self.connection.call_op(&self.protocol, who, op, data, read);
        match result {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(O::OPCODE);
                Err(Error::refused(Errno::EOPNOTSUPP, "the server does not know the request"))
            }
            result => result,
        }
    }

    /// Looks a name up; `None` if there is none and the server says nothing about how long that holds.
    pub(crate) fn op_lookup(&self, who: Credentials, parent: NodeId, name: &[u8]) -> Result<Option<Entry>, Error> {
        match self.call(who, &ops::Lookup { parent, name }, |entry| entry) {
            Err(Error::Os(Errno::ENOENT)) => Ok(None),
            result => result.map(Some),
        }
    }

    pub(crate) fn op_getattr(
        &self,
        who: Credentials,
        node: NodeId,
        fh: Option<FileHandle>,
    ) -> Result<(Attr, Duration), Error> {
        self.call(who, &ops::Getattr { node, fh }, |reply: AttrReply| (reply.attr, reply.attr_valid))
    }

    pub(crate) fn op_setattr(
        &self,
        who: Credentials,
        node: NodeId,
        fh: Option<FileHandle>,
        changes: &SetAttr,
    ) -> Result<(Attr, Duration), Error> {
        let mut op = ops::Setattr::new(node);
        if let Some(fh) = fh {
            op = op.fh(fh);
        }
        if let Some(size) = changes.size {
            op = op.size(size);
        }
        if let Some(mode) = changes.mode {
            op = op.mode(mode);
        }
        if let Some(uid) = changes.uid {
            op = op.uid(uid);
        }
        if let Some(gid) = changes.gid {
            op = op.gid(gid);
        }
        op = match changes.atime {
            None => op,
            Some(SetTime::Now) => op.atime_now(),
            Some(SetTime::At { secs, nanos }) => op.atime(Timestamp::new(secs as i64, nanos)),
        };
        op = match changes.mtime {
            None => op,
            Some(SetTime::Now) => op.mtime_now(),
            Some(SetTime::At { secs, nanos }) => op.mtime(Timestamp::new(secs as i64, nanos)),
        };
        self.call(who, &op, |reply: AttrReply| (reply.attr, reply.attr_valid))
    }

    /// Opens a file; `None` where the server needs no OPEN.
    pub(crate) fn op_open(
        &self,
        who: Credentials,
        node: NodeId,
        flags: OpenFlags,
    ) -> Result<Option<(FileHandle, FopenFlags)>, Error> {
        let no_open = self.protocol.has(InitFlags::NO_OPEN_SUPPORT);
        if no_open && self.is_unsupported(Opcode::OPEN) {
            return Ok(None);
        }
        let op = ops::Open { node, flags, extra: Default::default() };
        match self.call(who, &op, |opened| (opened.fh, opened.flags)) {
            Err(error) if error.is_enosys() && no_open => {
                self.set_unsupported(Opcode::OPEN);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    pub(crate) fn op_opendir(&self, who: Credentials, node: NodeId) -> Result<Option<FileHandle>, Error> {
        let no_open = self.protocol.has(InitFlags::NO_OPENDIR_SUPPORT);
        if no_open && self.is_unsupported(Opcode::OPENDIR) {
            return Ok(None);
        }
        let op = ops::Opendir { node, flags: OpenFlags::DIRECTORY, extra: Default::default() };
        match self.call(who, &op, |opened| opened.fh) {
            Err(error) if error.is_enosys() && no_open => {
                self.set_unsupported(Opcode::OPENDIR);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Sends RELEASE or RELEASEDIR and does not wait: there is nothing to learn from the reply.
    pub(crate) fn op_release(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        flags: OpenFlags,
        dir: bool,
    ) -> Result<(), Error> {
        let release =
            ops::Release { node, fh, flags, release_flags: ReleaseFlags::empty(), lock_owner: Default::default() };
        let channel = self.connection.pick_channel();
        let pending = if dir {
            self.connection.submit_op(
                &self.protocol,
                channel,
                who,
                &ops::Releasedir {
                    node,
                    fh,
                    flags,
                    release_flags: ReleaseFlags::empty(),
                    lock_owner: Default::default(),
                },
            )?
        } else {
            self.connection.submit_op(&self.protocol, channel, who, &release)?
        };
        pending.trail();
        self.connection.kick(channel);
        Ok(())
    }

    pub(crate) fn op_create(
        &self,
        who: Credentials,
        parent: NodeId,
        name: &[u8],
        options: OpenOptions,
    ) -> Result<(Entry, (FileHandle, FopenFlags)), Error> {
        let op = ops::Create {
            parent,
            name,
            flags: options.flags(true) | OpenFlags::CREAT,
            mode: options.mode | 0o100_000,
            umask: 0,
            extra: Default::default(),
            extensions: Default::default(),
        };
        self.call(who, &op, |created| (created.entry, (created.opened.fh, created.opened.flags)))
    }

    pub(crate) fn op_tmpfile(
        &self,
        who: Credentials,
        parent: NodeId,
        options: OpenOptions,
    ) -> Result<(Entry, (FileHandle, FopenFlags)), Error> {
        let op = ops::Tmpfile {
            parent,
            flags: options.flags(true) | OpenFlags::TMPFILE | OpenFlags::DIRECTORY,
            mode: options.mode | 0o100_000,
            umask: 0,
            extra: Default::default(),
            extensions: Default::default(),
        };
        self.call_known(who, &op, &mut [], |created| (created.entry, (created.opened.fh, created.opened.flags)))
    }

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
        let cuts = inode.cuts();
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

    pub(crate) fn op_readdir<'b>(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        offset: u64,
        buffer: &'b mut [u8],
    ) -> Result<Directory<'b>, Error> {
        let size = buffer.len() as u32;
        let op = ops::Readdir::new(node, fh, offset, size);
        let len = self.connection.call_op(&self.protocol, who, &op, buffer, |found| found.as_bytes().len())?;
        Ok(Directory::new(&buffer[..len], offset))
    }

    pub(crate) fn op_readdirplus<'b>(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        offset: u64,
        buffer: &'b mut [u8],
    ) -> Result<Directory<'b>, Error> {
        let size = buffer.len() as u32;
        let op = ops::Readdirplus::new(node, fh, offset, size);
        let len = self.connection.call_op(&self.protocol, who, &op, buffer, |found| found.as_bytes().len())?;
        Ok(Directory::new(&buffer[..len], offset))
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

    pub(crate) fn op_fsyncdir(&self, who: Credentials, node: NodeId, fh: FileHandle) -> Result<(), Error> {
        if self.is_unsupported(Opcode::FSYNCDIR) {
            return Ok(());
        }
        let op = ops::Fsyncdir { node, fh, flags: FsyncFlags::empty() };
        self.tolerate_enosys(Opcode::FSYNCDIR, self.call(who, &op, drop))
    }

    pub(crate) fn op_flush(&self, file: &File<R>, fh: FileHandle) -> Result<(), Error> {
        if self.is_unsupported(Opcode::FLUSH) {
            return Ok(());
        }
        let op = ops::Flush { node: file.inode.nodeid, fh, lock_owner: LockOwner(file.lock_owner) };
        self.tolerate_enosys(Opcode::FLUSH, self.call(file.who, &op, drop))
    }

    pub(crate) fn op_access(&self, who: Credentials, node: NodeId, mask: AccessMask) -> Result<(), Error> {
        if self.is_unsupported(Opcode::ACCESS) {
            return Ok(());
        }
        self.tolerate_enosys(Opcode::ACCESS, self.call(who, &ops::Access { node, mask }, drop))
    }

    fn tolerate_enosys(&self, opcode: Opcode, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(opcode);
                Ok(())
            }
            result => result,
        }
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

    pub(crate) fn op_mkdir(&self, who: Credentials, parent: NodeId, name: &[u8], mode: u32) -> Result<Entry, Error> {
        let op = ops::Mkdir { parent, name, mode, umask: 0, extensions: Default::default() };
        self.call(who, &op, |entry| entry)
    }

    pub(crate) fn op_mknod(
        &self,
        who: Credentials,
        parent: NodeId,
        name: &[u8],
        mode: u32,
        rdev: u32,
    ) -> Result<Entry, Error> {
        let op = ops::Mknod { parent, name, mode, rdev, umask: 0, extensions: Default::default() };
        self.call(who, &op, |entry| entry)
    }

    pub(crate) fn op_symlink(
        &self,
        who: Credentials,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
    ) -> Result<Entry, Error> {
        let op = ops::Symlink { parent, name, target, extensions: Default::default() };
        self.call(who, &op, |entry| entry)
    }

    pub(crate) fn op_link(
        &self,
        who: Credentials,
        new_parent: NodeId,
        new_name: &[u8],
        node: NodeId,
    ) -> Result<Entry, Error> {
        self.call(who, &ops::Link { target: node, new_parent, new_name }, |entry| entry)
    }

    pub(crate) fn op_unlink(&self, who: Credentials, parent: NodeId, name: &[u8]) -> Result<(), Error> {
        self.call(who, &ops::Unlink { parent, name }, drop)
    }

    pub(crate) fn op_rmdir(&self, who: Credentials, parent: NodeId, name: &[u8]) -> Result<(), Error> {
        self.call(who, &ops::Rmdir { parent, name }, drop)
    }

    pub(crate) fn op_rename(
        &self,
        who: Credentials,
        parent: NodeId,
        name: &[u8],
        new_parent: NodeId,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Error> {
        if flags.is_empty() {
            return self.call(who, &ops::Rename { parent, name, new_parent, new_name }, drop);
        }
        let op = ops::Rename2 { parent, name, new_parent, new_name, flags };
        match self.call_known(who, &op, &mut [], drop) {
            Err(Error::Refused { errno: Errno::EOPNOTSUPP, .. }) => {
                Err(Error::refused(Errno::EINVAL, "the server does not know flags for renaming"))
            }
            result => result,
        }
    }

    pub(crate) fn op_statfs(&self, who: Credentials, node: NodeId) -> Result<ops::StatfsReply, Error> {
        self.call(who, &ops::Statfs { node }, |reply| reply)
    }

    pub(crate) fn op_syncfs(&self, who: Credentials) -> Result<(), Error> {
        self.call_known(who, &ops::Syncfs { node: NodeId::ROOT }, &mut [], drop)
    }

    pub(crate) fn op_statx(&self, who: Credentials, node: NodeId, mask: u32) -> Result<ops::StatxReply, Error> {
        let op = ops::Statx { node, fh: None, sx_flags: 0, sx_mask: StatxMask::from_bits_retain(mask) };
        self.call_known(who, &op, &mut [], |reply| reply)
    }

    pub(crate) fn read_link(&self, who: Credentials, inode: &Arc<Inode<R>>) -> Result<Vec<u8>, Error> {
        if !inode.is_symlink() {
            return Err(Error::refused(Errno::EINVAL, "no symbolic link"));
        }
        let mut buffer = vec![0; crate::path::PATH_MAX];
        let op = ops::Readlink { node: inode.nodeid };
        let len = self.connection.call_op(&self.protocol, who, &op, &mut buffer, |target: &[u8]| target.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// The value of an extended attribute, or the list of their names.
    pub(crate) fn xattr(&self, who: Credentials, node: NodeId, name: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; XATTR_MAX.min(self.connection.data_buffer_size())];
        let size = buffer.len() as u32;
        let len = match name {
            Some(name) => {
                let op = ops::Getxattr { node, name, size };
                self.call_known(who, &op, &mut buffer, |reply| xattr_len(&reply))?
            }
            None => {
                let op = ops::Listxattr { node, size };
                self.call_known(who, &op, &mut buffer, |reply| xattr_len(&reply))?
            }
        };
        buffer.truncate(len);
        Ok(buffer)
    }

    pub(crate) fn op_setxattr(
        &self,
        who: Credentials,
        node: NodeId,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Error> {
        let op = ops::Setxattr { node, name, value, flags, setxattr_flags: Default::default() };
        self.call_known(who, &op, &mut [], drop)
    }

    pub(crate) fn op_removexattr(&self, who: Credentials, node: NodeId, name: &[u8]) -> Result<(), Error> {
        self.call_known(who, &ops::Removexattr { node, name }, &mut [], drop)
    }

    /// Gives look-ups back, on the hiprio queue; does not wait.
    pub(crate) fn op_forget(&self, batch: &[(NodeId, u64)]) -> Result<(), Error> {
        let connection = &self.connection;
        let who = Credentials::default();
        if batch.is_empty() {
            return Ok(());
        }
        // It goes by another queue, and must not reach the server before a RELEASE of the same inode.
        connection.settle();
        let sent = match batch {
            [(node, nlookup)] => {
                let op = ops::Forget { node: *node, nlookup: *nlookup };
                connection.submit_op(&self.protocol, HIPRIO, who, &op)?
            }
            many => {
                let items: Vec<ForgetOne> = many.iter().map(|(node, count)| ForgetOne::new(*node, *count)).collect();
                let op = ops::BatchForget { items: List::new(&items) };
                connection.submit_op(&self.protocol, HIPRIO, who, &op)?
            }
        };
        drop(sent);
        connection.kick(HIPRIO);
        Ok(())
    }

    pub(crate) fn op_destroy(&self) -> Result<(), Error> {
        self.call(self.config.credentials, &ops::Destroy, drop)
    }

    /// A window offset as the device counts it.
    fn device_offset(&self, window_offset: u64) -> u64 {
        self.dax.as_ref().map_or(window_offset, |dax| dax.memory.device_offset(window_offset))
    }

    fn setup_mapping_op(&self, node: NodeId, entry: &SetupEntry) -> ops::Setupmapping {
        let moffset = self.device_offset(entry.window_offset.0);
        Self::map_at_op(node, entry.file_offset.0, entry.len, moffset, entry.writable)
    }

    /// `moffset` is counted as the device does.
    fn map_at_op(node: NodeId, foffset: u64, len: u64, moffset: u64, writable: bool) -> ops::Setupmapping {
        let flags = if writable { MapFlags::READ | MapFlags::WRITE } else { MapFlags::READ };
        ops::Setupmapping { node, fh: FileHandle::NONE, foffset, len, flags, moffset }
    }

    pub(crate) fn op_map_at(
        &self,
        who: Credentials,
        node: NodeId,
        offset: u64,
        len: u64,
        moffset: u64,
        writable: bool,
    ) -> Result<(), Error> {
        self.call(who, &Self::map_at_op(node, offset, len, moffset, writable), drop)
    }

    pub(crate) fn op_remove_at(&self, moffset: u64, len: u64) -> Result<(), Error> {
        let ranges = [MappingRange::new(moffset, len)];
        let op = ops::Removemapping { node: NodeId::ROOT, ranges: List::new(&ranges) };
        self.call(self.config.credentials, &op, drop)
    }

    pub(crate) fn submit_setup_mapping(
        &self,
        channel: usize,
        who: Credentials,
        node: NodeId,
        entry: &SetupEntry,
        patient: bool,
    ) -> Result<Option<Pending<'_, R>>, Error> {
        self.connection.submit_op_or(&self.protocol, channel, who, &self.setup_mapping_op(node, entry), patient)
    }

    pub(crate) fn finish_setup_mapping(
        &self,
        node: NodeId,
        entry: &SetupEntry,
        pending: Pending<'_, R>,
    ) -> Result<(), Error> {
        let op = self.setup_mapping_op(node, entry);
        self.connection.finish_op(&self.protocol, &op, pending, &mut [], drop)
    }

    pub(crate) fn op_remove_mapping(&self, entries: &[RemoveEntry]) -> Result<(), Error> {
        let range = |entry: &RemoveEntry| MappingRange::new(self.device_offset(entry.window_offset.0), entry.len);
        let ranges: Vec<MappingRange> = entries.iter().map(range).collect();
        let op = ops::Removemapping { node: NodeId::ROOT, ranges: List::new(&ranges) };
        self.call(self.config.credentials, &op, drop)
    }

    /// Fetches the root's attributes and makes it the first inode.
    pub(crate) fn mount_root(&self, who: Credentials) -> Result<Arc<Inode<R>>, Error> {
        let (attr, attr_valid) = self.op_getattr(who, NodeId::ROOT, None)?;
        if !attr.is_dir() {
            return Err(Error::refused(Errno::ENOTDIR, "the root of the file system is no directory"));
        }
        let entry = Entry { node: NodeId::ROOT, generation: 0, entry_valid: Duration::MAX, attr_valid, attr };
        Ok(self.inodes.lock().insert_root(&entry, self.now()))
    }
}

fn xattr_len(reply: &ops::XattrReply<'_>) -> usize {
    match reply {
        ops::XattrReply::Value(value) => value.len(),
        ops::XattrReply::Size(_) => 0,
    }
}
