//! Names: looking them up, making, moving and removing them, listing them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{Directory, Entry, Errno, FileHandle, FsyncFlags, NodeId, RenameFlags, ops};

use super::Rpc;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// The longest target of a symbolic link, in bytes.
const TARGET_MAX: usize = 4096;

/// An entry. On the heap: a round trip costs more, and each function on the way up would have a copy of it on its stack.
pub(crate) type NewEntry = Box<Entry>;

/// Looks a name up, into `found`. Returns false if there is none and the server says nothing about how long that holds.
pub(crate) fn lookup<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    name: &[u8],
    found: &mut Entry,
) -> Result<bool, Error> {
    match rpc.call(who, &ops::Lookup { parent, name }, |entry| *found = entry) {
        Err(Error::Os(Errno::ENOENT)) => Ok(false),
        result => result.map(|()| true),
    }
}

/// A piece of a listing from `offset` on, with the attributes of each entry (READDIRPLUS) or without (READDIR).
pub(crate) fn readdir<'b, R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    node: NodeId,
    fh: FileHandle,
    offset: u64,
    plus: bool,
    buffer: &'b mut [u8],
) -> Result<Directory<'b>, Error> {
    let size = buffer.len() as u32;
    let read = |found: Directory<'_>| found.as_bytes().len();
    let len = if plus {
        rpc.call_into(who, &ops::Readdirplus::new(node, fh, offset, size), buffer, read)?
    } else {
        rpc.call_into(who, &ops::Readdir::new(node, fh, offset, size), buffer, read)?
    };
    Ok(Directory::new(&buffer[..len]))
}

/// Makes the entries of an open directory durable.
pub(crate) fn fsyncdir<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId, fh: FileHandle) -> Result<(), Error> {
    rpc.call_optional(who, &ops::Fsyncdir { node, fh, flags: FsyncFlags::empty() }).map(drop)
}

/// Makes a directory.
pub(crate) fn mkdir<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    name: &[u8],
    mode: u32,
) -> Result<NewEntry, Error> {
    rpc.call(who, &ops::Mkdir { parent, name, mode, umask: 0, extensions: Default::default() }, Box::new)
}

/// Makes a file of the kind that `mode` has.
pub(crate) fn mknod<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    name: &[u8],
    mode: u32,
    rdev: u32,
) -> Result<NewEntry, Error> {
    rpc.call(who, &ops::Mknod { parent, name, mode, rdev, umask: 0, extensions: Default::default() }, Box::new)
}

/// Makes a symbolic link.
pub(crate) fn symlink<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    parent: NodeId,
    name: &[u8],
    target: &[u8],
) -> Result<NewEntry, Error> {
    rpc.call(who, &ops::Symlink { parent, name, target, extensions: Default::default() }, Box::new)
}

/// Gives an inode one more name.
pub(crate) fn link<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    new_parent: NodeId,
    new_name: &[u8],
    target: NodeId,
) -> Result<NewEntry, Error> {
    rpc.call(who, &ops::Link { target, new_parent, new_name }, Box::new)
}

/// Removes the name of a file.
pub(crate) fn unlink<R: Lock>(rpc: &Rpc<R>, who: Credentials, parent: NodeId, name: &[u8]) -> Result<(), Error> {
    rpc.call(who, &ops::Unlink { parent, name }, drop)
}

/// Removes an empty directory.
pub(crate) fn rmdir<R: Lock>(rpc: &Rpc<R>, who: Credentials, parent: NodeId, name: &[u8]) -> Result<(), Error> {
    rpc.call(who, &ops::Rmdir { parent, name }, drop)
}

/// Moves a name.
pub(crate) fn rename<R: Lock>(
    rpc: &Rpc<R>,
    who: Credentials,
    (parent, name): (NodeId, &[u8]),
    (new_parent, new_name): (NodeId, &[u8]),
    flags: RenameFlags,
) -> Result<(), Error> {
    if flags.is_empty() {
        return rpc.call(who, &ops::Rename { parent, name, new_parent, new_name }, drop);
    }
    match rpc.call_known(who, &ops::Rename2 { parent, name, new_parent, new_name, flags }, &mut [], drop) {
        Err(Error::Refused { errno: Errno::EOPNOTSUPP, .. }) => {
            Err(Error::refused(Errno::EINVAL, "the server does not know flags for renaming"))
        }
        result => result,
    }
}

/// The target of a symbolic link.
pub(crate) fn readlink<R: Lock>(rpc: &Rpc<R>, who: Credentials, node: NodeId) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; TARGET_MAX];
    let len = rpc.call_into(who, &ops::Readlink { node }, &mut buffer, |target: &[u8]| target.len())?;
    buffer.truncate(len);
    Ok(buffer)
}
