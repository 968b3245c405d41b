//! Operations on an inode, for embedders whose own file system layer resolves names.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use fuse_proto::{
    AccessMask, Attr, Errno, NodeId, OpenFlags, RenameFlags, XattrFlags, ops::StatfsReply, ops::StatxReply,
};
use lock_api::RawMutex;

use crate::dir::ReadDir;
use crate::file::{File, OpenOptions, SetAttr};
use crate::inode::Inode;
use crate::leave::UnlinkedGuard;
use crate::shared::Shared;
use crate::{Credentials, Error, VirtioFs};

/// Something in the file system: a file, a directory, a symbolic link, or something special.
///
/// A node keeps its inode known to the server (the look-up is given back when the last one is gone and the driver has
/// dropped it from its table).
pub struct Node<R: RawMutex + Send + Sync + 'static = spin::Mutex<()>> {
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) inode: Arc<Inode<R>>,
    pub(crate) who: Credentials,
    leave: UnlinkedGuard<R>,
}

impl<R: RawMutex + Send + Sync + 'static> Drop for Node<R> {
    fn drop(&mut self) {
        self.leave.from(&self.inode);
    }
}

impl<R: RawMutex + Send + Sync + 'static> Clone for Node<R> {
    fn clone(&self) -> Self {
        self.other(self.inode.clone())
    }
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node").field("nodeid", &self.inode.nodeid).finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> PartialEq for Node<R> {
    /// Whether both are the same inode of the same file system.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inode, &other.inode)
    }
}

impl<R: RawMutex + Send + Sync + 'static> Eq for Node<R> {}

impl<R: RawMutex + Send + Sync + 'static> Node<R> {
    pub(crate) fn new(shared: Arc<Shared<R>>, inode: Arc<Inode<R>>, who: Credentials) -> Self {
        let leave = UnlinkedGuard::new(&shared, &inode);
        Self { shared, inode, who, leave }
    }

    fn other(&self, inode: Arc<Inode<R>>) -> Self {
        Self::new(self.shared.clone(), inode, self.who)
    }

    /// The file system.
    pub fn file_system(&self) -> VirtioFs<R> {
        VirtioFs::from_shared(self.shared.clone(), self.who)
    }

    /// The server's name for the inode.
    pub fn node_id(&self) -> NodeId {
        self.inode.nodeid
    }

    /// The driver's own name for the inode, never used again for another: by it the embedder's page tables know the file
    /// (see [`fs_dax::Mappings`]).
    pub fn key(&self) -> fs_dax::FileKey {
        self.inode.key
    }

    /// The size in bytes as last heard.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Marks the file as failed, for good: reads and writes give EIO and faults bus errors from now on, on every processor,
    /// and its pages are taken out of the page tables.
    pub fn mark_failed(&self) {
        self.inode.failure.fail(fs_dax::Errno::EIO);
        self.shared.unmap_failed(&self.inode);
    }

    /// Which of the host's file systems it is on, as far as the server tells: 0 for the share's own, another number for each
    /// one that is mounted somewhere below, never used again. Together with the inode number of its attributes it
    /// identifies a file, as `st_dev` does.
    pub fn device(&self) -> u64 {
        self.inode.device
    }

    /// Whether it is where another file system of the host's begins.
    pub fn is_submount(&self) -> bool {
        self.inode.cached_attr().attr.is_submount()
    }

    /// Sizes and free space of the file system on the host that it is on.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn statfs(&self) -> Result<StatfsReply, Error> {
        self.shared.check_mounted()?;
        self.shared.op_statfs(self.who, self.inode.nodeid)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.inode.is_dir()
    }

    /// Attributes, from the cache while the server vouches for them.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn attr(&self) -> Result<Attr, Error> {
        self.shared.check_mounted()?;
        self.shared.attr(self.who, &self.inode, None)
    }

    /// Attributes, from the server.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn refresh_attr(&self) -> Result<Attr, Error> {
        self.shared.check_mounted()?;
        self.shared.refresh_attr(self.who, &self.inode, None)
    }

    /// Changes attributes.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn set_attr(&self, changes: &SetAttr) -> Result<Attr, Error> {
        self.shared.check_mounted()?;
        self.shared.set_attr(self.who, &self.inode, None, changes)
    }

    /// The attributes that `statx(2)` knows and [`Node::attr`] does not have, birth time and attribute bits among them.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the server does not know STATX.
    pub fn statx(&self, mask: u32) -> Result<StatxReply, Error> {
        self.shared.check_mounted()?;
        self.shared.op_statx(self.who, self.inode.nodeid, mask)
    }

    /// Looks a name up.
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, and what the server says.
    pub fn lookup(&self, name: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.shared.check_mounted()?;
        self.check_dir()?;
        Ok(self.other(self.shared.look_up(self.who, &self.inode, name.as_ref())?))
    }

    fn check_dir(&self) -> Result<(), Error> {
        if self.is_dir() { Ok(()) } else { Err(Error::refused(Errno::ENOTDIR, "no directory")) }
    }

    /// Opens the file.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`].
    pub fn open(&self, options: OpenOptions) -> Result<File<R>, Error> {
        self.shared.check_mounted()?;
        options.check()?;
        self.shared.open_inode(self.who, &self.inode, options)
    }

    /// Creates a file in this directory and opens it.
    ///
    /// # Errors
    ///
    /// EEXIST, and what the server says.
    pub fn create(&self, name: impl AsRef<[u8]>, options: OpenOptions) -> Result<File<R>, Error> {
        self.shared.check_mounted()?;
        self.shared.create_file(self.who, &self.inode, name.as_ref(), options)
    }

    /// Creates a file in this directory that has no name and is gone when closed: TMPFILE.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if server or host cannot do it.
    pub fn create_unnamed(&self, options: OpenOptions) -> Result<File<R>, Error> {
        self.shared.check_mounted()?;
        options.check()?;
        let (entry, opened) = self.shared.op_tmpfile(self.who, self.inode.nodeid, options)?;
        let inode = self.shared.adopt_inode(&self.inode, &entry)?;
        Ok(File::new(self.shared.clone(), inode, Some(opened), self.who, options))
    }

    /// Lists this directory.
    ///
    /// # Errors
    ///
    /// ENOTDIR, and what the server says.
    pub fn read_dir(&self) -> Result<ReadDir<R>, Error> {
        self.shared.check_mounted()?;
        self.check_dir()?;
        ReadDir::open(self.shared.clone(), self.inode.clone(), self.who)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    ///
    /// EINVAL if it is none.
    pub fn read_link(&self) -> Result<Vec<u8>, Error> {
        self.shared.check_mounted()?;
        self.shared.read_link(self.who, &self.inode)
    }

    /// Takes over the inode that an operation made under `name`.
    fn made(&self, name: &[u8], entry: &fuse_proto::Entry) -> Result<Self, Error> {
        let inode = self.shared.adopt(&self.inode, name, entry)?;
        self.inode.expire_attr();
        Ok(self.other(inode))
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// EEXIST, and what the server says.
    pub fn make_dir(&self, name: impl AsRef<[u8]>, mode: u32) -> Result<Self, Error> {
        self.shared.check_mounted()?;
        let entry = self.shared.op_mkdir(self.who, self.inode.nodeid, name.as_ref(), mode)?;
        self.made(name.as_ref(), &entry)
    }

    /// Makes a file of any kind: `mode` has the kind, `rdev` the device number of a device.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM, and what the server says.
    pub fn make_node(&self, name: impl AsRef<[u8]>, mode: u32, rdev: u32) -> Result<Self, Error> {
        self.shared.check_mounted()?;
        let entry = self.shared.op_mknod(self.who, self.inode.nodeid, name.as_ref(), mode, rdev)?;
        self.made(name.as_ref(), &entry)
    }

    /// Makes a symbolic link that says `target`.
    ///
    /// # Errors
    ///
    /// EEXIST, and what the server says.
    pub fn symlink(&self, name: impl AsRef<[u8]>, target: &[u8]) -> Result<Self, Error> {
        self.shared.check_mounted()?;
        let entry = self.shared.op_symlink(self.who, self.inode.nodeid, name.as_ref(), target)?;
        self.made(name.as_ref(), &entry)
    }

    /// Gives `node` one more name in this directory.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM, and what the server says.
    pub fn link(&self, name: impl AsRef<[u8]>, node: &Self) -> Result<Self, Error> {
        self.shared.check_mounted()?;
        let entry = self.shared.op_link(self.who, self.inode.nodeid, name.as_ref(), node.inode.nodeid)?;
        self.made(name.as_ref(), &entry)
    }

    /// Removes a file from this directory.
    ///
    /// # Errors
    ///
    /// EISDIR, ENOENT, and what the server says.
    pub fn unlink(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let result = self.shared.op_unlink(self.who, self.inode.nodeid, name.as_ref());
        self.removed(name.as_ref(), result)
    }

    /// Removes an empty directory from this directory.
    ///
    /// # Errors
    ///
    /// ENOTEMPTY, ENOTDIR, ENOENT, and what the server says.
    pub fn remove_dir(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let result = self.shared.op_rmdir(self.who, self.inode.nodeid, name.as_ref());
        self.removed(name.as_ref(), result)
    }

    fn removed(&self, name: &[u8], result: Result<(), Error>) -> Result<(), Error> {
        let known = self.inode.last_known(name);
        self.shared.drop_name(&self.inode, name);
        result?;
        self.inode.expire_attr();
        let inode = known.and_then(|nodeid| self.shared.inodes.lock().get(nodeid));
        if let Some(inode) = inode {
            self.shared.lost_name(self.who, inode);
        }
        Ok(())
    }

    /// Renames an entry of this directory; it may go to another one.
    ///
    /// # Errors
    ///
    /// As `renameat2(2)`.
    pub fn rename(
        &self,
        name: impl AsRef<[u8]>,
        new_parent: &Self,
        new_name: impl AsRef<[u8]>,
        flags: RenameFlags,
    ) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let (name, new_name) = (name.as_ref(), new_name.as_ref());
        let result = self.shared.op_rename(self.who, self.inode.nodeid, name, new_parent.inode.nodeid, new_name, flags);
        let moved = self.inode.last_known(name);
        let replaced = new_parent.inode.last_known(new_name);
        self.shared.drop_name(&self.inode, name);
        self.shared.drop_name(&new_parent.inode, new_name);
        result?;
        self.inode.expire_attr();
        new_parent.inode.expire_attr();
        // Remembered, not vouched for: the next look-up asks the server.
        if moved.is_some() {
            self.shared.cache_name(&new_parent.inode, new_name, moved, Duration::ZERO);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            if replaced.is_some() {
                self.shared.cache_name(&self.inode, name, replaced, Duration::ZERO);
            }
            return Ok(());
        }
        let replaced = replaced.and_then(|nodeid| self.shared.inodes.lock().get(nodeid));
        if let Some(inode) = replaced {
            self.shared.lost_name(self.who, inode);
        }
        Ok(())
    }

    /// Whether `mask` is permitted: ACCESS. True if the server does not check.
    ///
    /// # Errors
    ///
    /// EACCES if it is not, and what the server says.
    pub fn access(&self, mask: AccessMask) -> Result<(), Error> {
        self.shared.check_mounted()?;
        self.shared.op_access(self.who, self.inode.nodeid, mask)
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    ///
    /// ENODATA if there is none; EOPNOTSUPP if server or host have no such thing.
    pub fn xattr(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.shared.check_mounted()?;
        self.shared.xattr(self.who, self.inode.nodeid, Some(name.as_ref()))
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if server or host have no such thing.
    pub fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.shared.check_mounted()?;
        let list = self.shared.xattr(self.who, self.inode.nodeid, None)?;
        Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(Vec::from).collect())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    ///
    /// EEXIST and ENODATA by `flags`; EOPNOTSUPP if server or host have no such thing.
    pub fn set_xattr(&self, name: impl AsRef<[u8]>, value: &[u8], flags: XattrFlags) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let result = self.shared.op_setxattr(self.who, self.inode.nodeid, name.as_ref(), value, flags);
        self.inode.expire_attr();
        result
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    ///
    /// ENODATA if there is none; EOPNOTSUPP if server or host have no such thing.
    pub fn remove_xattr(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let result = self.shared.op_removexattr(self.who, self.inode.nodeid, name.as_ref());
        self.inode.expire_attr();
        result
    }

    /// Makes the entries of this directory durable on the host: FSYNCDIR.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn sync_dir(&self) -> Result<(), Error> {
        self.shared.check_mounted()?;
        self.check_dir()?;
        let fh = self.shared.op_opendir(self.who, self.inode.nodeid)?;
        let result = self.shared.op_fsyncdir(self.who, self.inode.nodeid, fh.unwrap_or_default());
        let released = match fh {
            Some(fh) => self.shared.op_release(self.who, self.inode.nodeid, fh, OpenFlags::RDONLY, true),
            None => Ok(()),
        };
        result.and(released)
    }
}
