//! Names: looking them up, making, moving and removing them, listing them.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{Directory, Entry, Errno, FileHandle, FsyncFlags, NodeId, Opcode, RenameFlags, ops};
use lock_api::RawMutex;

use crate::inode::Inode;
use crate::shared::Shared;
use crate::{Credentials, Error};

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// Looks a name up; `None` if there is none and the server says nothing about how long that holds.
    pub(crate) fn op_lookup(&self, who: Credentials, parent: NodeId, name: &[u8]) -> Result<Option<Entry>, Error> {
        match self.call(who, &ops::Lookup { parent, name }, |entry| entry) {
            Err(Error::Os(Errno::ENOENT)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// A piece of a listing from `offset` on, with the attributes of each entry (READDIRPLUS) or without (READDIR).
    pub(crate) fn op_readdir<'b>(
        &self,
        who: Credentials,
        node: NodeId,
        fh: FileHandle,
        offset: u64,
        plus: bool,
        buffer: &'b mut [u8],
    ) -> Result<Directory<'b>, Error> {
        let (connection, protocol, size) = (&self.connection, &self.protocol, buffer.len() as u32);
        let read = |found: Directory<'_>| found.as_bytes().len();
        let len = if plus {
            connection.call_op(protocol, who, &ops::Readdirplus::new(node, fh, offset, size), buffer, read)?
        } else {
            connection.call_op(protocol, who, &ops::Readdir::new(node, fh, offset, size), buffer, read)?
        };
        Ok(Directory::new(&buffer[..len], offset))
    }

    pub(crate) fn op_fsyncdir(&self, who: Credentials, node: NodeId, fh: FileHandle) -> Result<(), Error> {
        if self.is_unsupported(Opcode::FSYNCDIR) {
            return Ok(());
        }
        let op = ops::Fsyncdir { node, fh, flags: FsyncFlags::empty() };
        self.tolerate_enosys(Opcode::FSYNCDIR, self.call(who, &op, drop))
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
}
