//! One function a request: builds it, sends it, waits, checks the reply.

mod attributes;
mod io;
mod mapping;
mod names;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use fuse_proto::{
    Context, Entry, Errno, FileHandle, FopenFlags, ForgetOne, InitFlags, List, Message, NodeId, Opcode, OpenFlags,
    Operation, ReleaseFlags, ReplyHeader, ReplyRule, Shape, Unique, ops,
};
use lock_api::RawMutex;

use crate::connection::{Connection, HIPRIO, Outgoing, Pending, Received};
use crate::inode::Inode;
use crate::queue::channel::{REPLY_BYTES, RequestMeta};
use crate::shared::Shared;
use crate::{Credentials, Error, OpenOptions};

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
        self.submit_message(&op.shape(protocol), channel, unique, &message, patient)
    }

    /// As [`Connection::submit_op_or`], for a request of any kind: there once, not once a kind.
    #[inline(never)]
    fn submit_message(
        &self,
        shape: &Shape,
        channel: usize,
        unique: u64,
        message: &Message<'_>,
        patient: bool,
    ) -> Result<Option<Pending<'_, R>>, Error> {
        let parts: heapless::Vec<&[u8], 8> = message.pieces().collect();
        let reply = shape.reply.max as usize;
        let (reply_len, reply_data) = match shape.rule {
            ReplyRule::Never => (0, 0),
            _ if reply <= SMALL => (ReplyHeader::LEN + reply, 0),
            _ => (ReplyHeader::LEN, reply),
        };
        let about = RequestMeta { opcode: shape.opcode, node: shape.node, unique };
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
        read_op(protocol, op, unique, &received, data, read)
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
        let unique = self.next_unique();
        let message = op.encode(protocol, Unique(unique), who.into()).map_err(Error::Encode)?;
        let received = self.exchange(&op.shape(protocol), unique, &message, data)?;
        read_op(protocol, op, Unique(unique), &received, data, read)
    }

    /// Sends a request of any kind and waits for what comes back.
    #[inline(never)]
    fn exchange(&self, shape: &Shape, unique: u64, message: &Message<'_>, data: &mut [u8]) -> Result<Received, Error> {
        let channel = self.pick_channel();
        // Patience ends with a request or an error.
        let pending = self.submit_message(shape, channel, unique, message, true)?.ok_or(Error::Dead)?;
        self.kick(channel);
        self.wait(pending, data)
    }
}

/// Reads a reply; bulk data is in `data` already.
fn read_op<O: Operation, T>(
    protocol: &fuse_proto::Protocol,
    op: &O,
    unique: Unique,
    received: &Received,
    data: &mut [u8],
    read: impl FnOnce(O::Reply<'_>) -> T,
) -> Result<T, Error> {
    let body = body(protocol, &op.shape(protocol), unique, received, data)?;
    let reply = op.decode_body(protocol, body);
    reply.map(read).map_err(|error| Error::of_reply(O::OPCODE, error.into()))
}

/// The body of a reply of any kind, checked as far as that needs not know which.
#[inline(never)]
fn body<'a>(
    protocol: &fuse_proto::Protocol,
    shape: &Shape,
    unique: Unique,
    received: &'a Received,
    data: &'a mut [u8],
) -> Result<&'a [u8], Error> {
    let head = received.head();
    let small = head.get(ReplyHeader::LEN..).unwrap_or(&[]);
    let body = if shape.reply.max as usize > SMALL {
        &data[..received.data_len]
    } else {
        // Data so small that it came with the header: the caller finds it where it looks for data.
        let len = small.len().min(data.len());
        data[..len].copy_from_slice(&small[..len]);
        small
    };
    shape.check(protocol, unique, received.written, head, body).map_err(|error| Error::of_reply(shape.opcode, error))
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
        pending.detach_ordered();
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

    fn tolerate_enosys(&self, opcode: Opcode, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if error.is_enosys() => {
                self.set_unsupported(opcode);
                Ok(())
            }
            result => result,
        }
    }

    /// Gives look-ups back, on the hiprio queue; does not wait.
    pub(crate) fn op_forget(&self, batch: &[(NodeId, u64)]) -> Result<(), Error> {
        let connection = &self.connection;
        let who = Credentials::default();
        if batch.is_empty() {
            return Ok(());
        }
        // It goes by another queue, and must not reach the server before a RELEASE of the same inode.
        connection.drain_detached();
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
