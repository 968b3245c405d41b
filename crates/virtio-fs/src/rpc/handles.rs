//! Open files and directories on the server: OPEN, CREATE, TMPFILE, OPENDIR, RELEASE, FLUSH.

use alloc::boxed::Box;

use fuse_proto::{
    Encode, FileHandle, FopenFlags, InitFlags, LockOwner, NodeId, Opcode, OpenExtraFlags, OpenFlags, ReleaseFlags, ops,
};

use super::Rpc;
use super::credentials::Credentials;
use super::in_flight::GivenUp;
use super::names::NewEntry;
use crate::{Error, Lock};

/// The kind of a regular file, in the mode of a new one.
const REGULAR: u32 = 0o100_000;

/// An open file as the server knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) node: NodeId,
    /// `None` where the server needs no OPEN.
    pub(crate) fh: Option<FileHandle>,
    /// The user that its requests are made for.
    pub(crate) who: Credentials,
    /// How it was opened.
    pub(crate) flags: OpenFlags,
    /// Its name among the owners of locks.
    pub(crate) lock_owner: LockOwner,
}

impl Handle {
    /// The number for requests; servers that need no OPEN ignore it.
    pub(crate) fn fh(&self) -> FileHandle {
        self.fh.unwrap_or_default()
    }
}

/// What a server answers to an OPEN.
pub(crate) type Opened = (FileHandle, FopenFlags);

/// Opens a file; `None` where the server needs no OPEN.
pub(crate) fn open<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    flags: OpenFlags,
) -> Result<Option<Opened>, Error> {
    open_keeping(rpc, who, node, (flags, false), &mut GivenUp::none())
}

/// As [`open`]; a request without an answer comes into `given_up`. `kill`: the server takes away the bits by which programs
/// run as the file's owner.
pub(crate) fn open_keeping<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    (flags, kill): (OpenFlags, bool),
    given_up: &mut GivenUp<R>,
) -> Result<Option<Opened>, Error> {
    let extra = if kill { OpenExtraFlags::KILL_SUIDGID } else { OpenExtraFlags::empty() };
    let op = ops::Open { node, flags, extra };
    unless_needless(rpc, InitFlags::NO_OPEN_SUPPORT, Opcode::OPEN, || {
        rpc.call_keeping(who, &op, given_up, |opened| (opened.fh, opened.flags))
    })
}

/// Opens a directory; `None` where the server needs no OPENDIR.
pub(crate) fn opendir<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId) -> Result<Option<FileHandle>, Error> {
    let op = ops::Opendir { node, flags: OpenFlags::DIRECTORY, extra: Default::default() };
    unless_needless(rpc, InitFlags::NO_OPENDIR_SUPPORT, Opcode::OPENDIR, || rpc.call(who, &op, |opened| opened.fh))
}

/// Opens by `send`, unless the server was found to do without (`feature`).
fn unless_needless<R: Lock, T>(
    rpc: &Rpc<R>,
    feature: InitFlags,
    opcode: Opcode,
    send: impl FnOnce() -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let can_do_without = rpc.has(feature);
    if can_do_without && rpc.is_unsupported(opcode) {
        return Ok(None);
    }
    match send() {
        Err(error) if error.is_enosys() && can_do_without => {
            rpc.set_unsupported(opcode);
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Creates a file and opens it. `mode` has the permission bits.
pub(crate) fn create<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    name: &[u8],
    flags: OpenFlags,
    mode: u32,
) -> Result<(NewEntry, Opened), Error> {
    let op = ops::Create {
        parent,
        name,
        flags: flags | OpenFlags::CREAT,
        mode: mode | REGULAR,
        umask: 0,
        extra: Default::default(),
        extensions: Default::default(),
    };
    rpc.call(who, &op, |created| (Box::new(created.entry), (created.opened.fh, created.opened.flags)))
}

/// Creates a file without a name and opens it. `mode` has the permission bits.
pub(crate) fn tmpfile<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    flags: OpenFlags,
    mode: u32,
) -> Result<(NewEntry, Opened), Error> {
    let op = ops::Tmpfile {
        parent,
        flags: flags | OpenFlags::TMPFILE | OpenFlags::DIRECTORY,
        mode: mode | REGULAR,
        umask: 0,
        extra: Default::default(),
        extensions: Default::default(),
    };
    rpc.call_known(who, &op, &mut [], |created| (Box::new(created.entry), (created.opened.fh, created.opened.flags)))
}

/// Sends RELEASE and does not wait: there is nothing to learn from the reply.
pub(crate) fn release<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    fh: FileHandle,
    (flags, lock_owner): (OpenFlags, LockOwner),
) -> Result<(), Error> {
    let op = ops::Release { node, fh, flags, release_flags: ReleaseFlags::empty(), lock_owner };
    send_in_order(rpc, who, &op)
}

/// Sends RELEASEDIR and does not wait.
pub(crate) fn releasedir<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, fh: FileHandle) -> Result<(), Error> {
    let flags = OpenFlags::RDONLY;
    let release_flags = ReleaseFlags::empty();
    let op = ops::Releasedir { node, fh, flags, release_flags, lock_owner: Default::default() };
    send_in_order(rpc, who, &op)
}

/// Sends a request that a later FORGET must not overtake.
fn send_in_order<R: Lock>(rpc: &Rpc<R>, who: Credentials, op: &dyn Encode) -> Result<(), Error> {
    let channel = rpc.connection().pick_channel();
    rpc.submit_patiently(channel, who, op)?.detach_ordered();
    rpc.connection().kick(channel);
    Ok(())
}

/// Asks for the errors that the server has for a file that is closed: FLUSH.
pub(crate) fn flush<R: Lock>(rpc: &Rpc<R>, handle: &Handle) -> Result<(), Error> {
    let op = ops::Flush { node: handle.node, fh: handle.fh(), lock_owner: handle.lock_owner };
    rpc.call_optional(handle.who, &op).map(drop)
}
