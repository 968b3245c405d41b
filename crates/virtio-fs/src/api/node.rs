//! Operations on an inode, for embedders with a file system layer of their own that resolves names.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use fs_dax::FileRange;
use fuse_proto::{AccessMask, Attr, Entry, Errno, NodeId, RenameFlags, StatxMask, XattrFlags, ops};

use super::mounted::Mounted;
use crate::rpc::budget::Call;
use crate::rpc::{Rpc, attributes, handles, names, space, xattr};
use crate::volume::Volume;
use crate::volume::inode::{Inode, changes_so_far};
use crate::volume::path::{self, Last};
use crate::volume::unlinked::UnlinkedGuard;
use crate::{Credentials, DefaultLock, Error, File, Lock, OpenOptions, ReadDir, SetAttr, VirtioFs};

/// Something in the file system: a file, a directory, a symbolic link, or something special. With it go the credentials of
/// its requests.
///
/// A node keeps its inode known to the server (the look-up is given back when the last one is gone and the driver has
/// dropped it from its table). Operations on an entry of a directory take one name, not a path.
pub struct Node<R: Lock = DefaultLock> {
    inode: Arc<Inode<R>>,
    who: Credentials,
    unlinked: UnlinkedGuard<R>,
    /// Last: the file system lives as long as its nodes.
    mounted: Arc<Mounted<R>>,
}

impl<R: Lock> Drop for Node<R> {
    fn drop(&mut self) {
        self.unlinked.closing(&self.inode);
    }
}

impl<R: Lock> Clone for Node<R> {
    fn clone(&self) -> Self {
        self.other(self.inode.clone())
    }
}

impl<R: Lock> core::fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node").field("nodeid", &self.inode.nodeid).finish_non_exhaustive()
    }
}

impl<R: Lock> PartialEq for Node<R> {
    /// Whether both are the same inode of the same file system.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inode, &other.inode)
    }
}

impl<R: Lock> Eq for Node<R> {}

/// What it is, and its attributes.
impl<R: Lock> Node<R> {
    pub(crate) fn new(mounted: Arc<Mounted<R>>, inode: Arc<Inode<R>>, who: Credentials) -> Self {
        let unlinked = UnlinkedGuard::new(mounted.volume(), &inode);
        Self { inode, who, unlinked, mounted }
    }

    fn other(&self, inode: Arc<Inode<R>>) -> Self {
        Self::new(self.mounted.clone(), inode, self.who)
    }

    fn volume(&self) -> &Volume<R> {
        self.mounted.volume()
    }

    fn rpc(&self) -> &Rpc<R> {
        self.mounted.rpc()
    }

    fn check_dir(&self) -> Result<Call<'_>, Error> {
        let call = self.mounted.check()?;
        if self.is_dir() { Ok(call) } else { Err(Error::refused(Errno::ENOTDIR, "no directory")) }
    }

    /// Returns the same node with other credentials, which everything that is opened or looked up from it has too; see
    /// [`Credentials`] for what servers make of them.
    #[must_use]
    pub fn as_user(&self, who: Credentials) -> Self {
        Self::new(self.mounted.clone(), self.inode.clone(), who)
    }

    /// Returns the credentials of its requests.
    pub fn credentials(&self) -> Credentials {
        self.who
    }

    /// Returns the file system.
    pub fn file_system(&self) -> VirtioFs<R> {
        VirtioFs::new(self.mounted.clone(), self.who)
    }

    /// Returns the server's name for the inode, which it may use again for another one.
    pub fn node_id(&self) -> NodeId {
        self.inode.nodeid
    }

    /// Returns the driver's own name for the inode, never used again for another: by it the embedder's page tables know the
    /// file (see [`fs_dax::Mappings`]).
    pub fn key(&self) -> fs_dax::FileKey {
        self.inode.key
    }

    /// Returns the last known size in bytes.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Marks the file as failed, for good: reads and writes give EIO and faults bus errors from now on, on every processor,
    /// and its pages are taken out of the page tables.
    pub fn mark_failed(&self) {
        self.volume().mark_failed(&self.inode);
    }

    /// As [`File::mark_damaged`].
    pub fn mark_damaged(&self, bytes: FileRange) {
        self.volume().mark_damaged(&self.inode, bytes);
    }

    /// Returns which of the host's file systems it is on, as far as the server says: 0 for the share's own, another number
    /// for each one that is mounted somewhere below, never used again. Together with the inode number of its attributes it
    /// identifies a file, as `st_dev` does.
    pub fn device(&self) -> u64 {
        self.inode.device
    }

    /// Returns whether another file system of the host's begins here.
    pub fn is_submount(&self) -> bool {
        self.inode.cached_attr().attr.is_submount()
    }

    /// Returns whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.inode.is_dir()
    }

    /// Returns sizes and free space of the file system on the host that it is on.
    ///
    /// # Errors
    ///
    /// The server's own.
    pub fn statfs(&self) -> Result<ops::StatfsReply, Error> {
        let _call = self.mounted.check()?;
        space::statfs(self.rpc(), self.who, self.inode.nodeid)
    }

    /// Returns the attributes, from the cache while `attr_valid` holds.
    ///
    /// # Errors
    ///
    /// The server's own.
    pub fn attr(&self) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.volume().attr(self.who, &self.inode, None)
    }

    /// Returns the attributes, from the server.
    ///
    /// # Errors
    ///
    /// The server's own.
    pub fn refresh_attr(&self) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.volume().refresh_attr(self.who, &self.inode, None)
    }

    /// Changes attributes. Returns the new ones.
    ///
    /// # Errors
    ///
    /// EPERM, EFBIG, and the server's own.
    pub fn set_attr(&self, changes: &SetAttr) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.volume().set_attr(self.who, &self.inode, None, changes)
    }

    /// Returns the attributes that `statx(2)` knows and [`Node::attr`] does not have, birth time and attribute bits among them.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the server does not know STATX.
    pub fn statx(&self, mask: StatxMask) -> Result<ops::StatxReply, Error> {
        let _call = self.mounted.check()?;
        attributes::statx(self.rpc(), self.who, self.inode.nodeid, mask)
    }

    /// Checks whether `mask` is permitted: ACCESS. Permitted if the server does not check.
    ///
    /// # Errors
    ///
    /// EACCES if it is not.
    pub fn access(&self, mask: AccessMask) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        attributes::access(self.rpc(), self.who, self.inode.nodeid, mask)
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    ///
    /// EINVAL if it is none.
    pub fn read_link(&self) -> Result<Vec<u8>, Error> {
        let _call = self.mounted.check()?;
        self.volume().read_link(self.who, &self.inode)
    }

    /// Opens the file.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`].
    pub fn open(&self, options: OpenOptions) -> Result<File<R>, Error> {
        let _call = self.mounted.check()?;
        let open = self.mounted.io.open_inode(self.who, &self.inode, options)?;
        Ok(File::new(self.mounted.clone(), *open))
    }
}

/// Entries of a directory.
impl<R: Lock> Node<R> {
    /// Looks a name up.
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, and the server's own.
    pub fn lookup(&self, name: impl AsRef<[u8]>) -> Result<Self, Error> {
        let _call = self.check_dir()?;
        Ok(self.other(self.volume().look_up(self.who, &self.inode, name.as_ref())?))
    }

    /// Walks a path that begins in this directory, by the rules of [`crate::path`]; `..` does not lead out of it, an absolute
    /// symbolic link does.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::lookup`].
    pub fn lookup_path(&self, path: impl AsRef<[u8]>) -> Result<Self, Error> {
        let _call = self.check_dir()?;
        let start = self.inode.clone();
        Ok(self.other(path::walk_to(self.volume(), self.who, start, path.as_ref(), Last::Follow)?))
    }

    /// Creates a file in this directory and opens it.
    ///
    /// # Errors
    ///
    /// EEXIST, and the server's own.
    pub fn create(&self, name: impl AsRef<[u8]>, options: OpenOptions) -> Result<File<R>, Error> {
        let _call = self.mounted.check()?;
        let open = self.mounted.io.create(self.who, &self.inode, name.as_ref(), options)?;
        Ok(File::new(self.mounted.clone(), *open))
    }

    /// Creates a file in this directory that has no name and is gone when closed: TMPFILE.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if server or host cannot do it.
    pub fn create_unnamed(&self, options: OpenOptions) -> Result<File<R>, Error> {
        let _call = self.mounted.check()?;
        let open = self.mounted.io.create_unnamed(self.who, &self.inode, options)?;
        Ok(File::new(self.mounted.clone(), *open))
    }

    /// Lists this directory.
    ///
    /// # Errors
    ///
    /// ENOTDIR, and the server's own.
    pub fn read_dir(&self) -> Result<ReadDir<R>, Error> {
        let _call = self.check_dir()?;
        ReadDir::open(self.mounted.clone(), self.inode.clone(), self.who)
    }

    /// What a request made under `name`, which `make` sends.
    fn made(&self, name: &[u8], make: impl FnOnce() -> Result<Box<Entry>, Error>) -> Result<Self, Error> {
        let _call = self.mounted.check()?;
        let since = changes_so_far();
        let entry = make()?;
        Ok(self.other(self.volume().made(&self.inode, name, &entry, since)))
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// EEXIST, and the server's own.
    pub fn create_dir(&self, name: impl AsRef<[u8]>, mode: u32) -> Result<Self, Error> {
        let name = name.as_ref();
        self.made(name, || names::mkdir(self.rpc(), self.who, self.inode.nodeid, name, mode))
    }

    /// Makes a file of any kind: `mode` has the kind, `rdev` the device number of a device.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM, and the server's own.
    pub fn create_node(&self, name: impl AsRef<[u8]>, mode: u32, rdev: u32) -> Result<Self, Error> {
        let name = name.as_ref();
        self.made(name, || names::mknod(self.rpc(), self.who, self.inode.nodeid, name, mode, rdev))
    }

    /// Makes a symbolic link to `target`.
    ///
    /// # Errors
    ///
    /// EEXIST, and the server's own.
    pub fn symlink(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<Self, Error> {
        let name = name.as_ref();
        self.made(name, || names::symlink(self.rpc(), self.who, self.inode.nodeid, name, target.as_ref()))
    }

    /// Gives `node` one more name in this directory.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM, and the server's own.
    pub fn hard_link(&self, name: impl AsRef<[u8]>, node: &Self) -> Result<Self, Error> {
        let name = name.as_ref();
        self.made(name, || names::link(self.rpc(), self.who, self.inode.nodeid, name, node.inode.nodeid))
    }

    /// Removes a file from this directory.
    ///
    /// # Errors
    ///
    /// EISDIR, ENOENT, and the server's own.
    pub fn remove_file(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.volume().unlink(self.who, &self.inode, name.as_ref())
    }

    /// Removes an empty directory from this directory.
    ///
    /// # Errors
    ///
    /// ENOTEMPTY, ENOTDIR, ENOENT, and the server's own.
    pub fn remove_dir(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.volume().remove_dir(self.who, &self.inode, name.as_ref())
    }

    /// Renames an entry of this directory; it may go to another one. What `new_name` named is replaced.
    ///
    /// # Errors
    ///
    /// As `rename(2)`.
    pub fn rename(&self, name: impl AsRef<[u8]>, new_parent: &Self, new_name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.rename_with(name, new_parent, new_name, RenameFlags::empty())
    }

    /// Renames by the rules of `renameat2(2)`.
    ///
    /// # Errors
    ///
    /// As `renameat2(2)`; EINVAL for flags that the server does not know.
    pub fn rename_with(
        &self,
        name: impl AsRef<[u8]>,
        new_parent: &Self,
        new_name: impl AsRef<[u8]>,
        flags: RenameFlags,
    ) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let (from, to) = ((&*self.inode, name.as_ref()), (&*new_parent.inode, new_name.as_ref()));
        self.volume().rename(self.who, from, to, flags)
    }

    /// Makes the entries of this directory durable on the host: FSYNCDIR.
    ///
    /// # Errors
    ///
    /// ENOTDIR, and the server's own.
    pub fn sync_dir(&self) -> Result<(), Error> {
        let _call = self.check_dir()?;
        let (rpc, node) = (self.rpc(), self.inode.nodeid);
        let fh = handles::opendir(rpc, self.who, node)?;
        let result = names::fsyncdir(rpc, self.who, node, fh.unwrap_or_default());
        let released = fh.map_or(Ok(()), |fh| handles::releasedir(rpc, self.who, node, fh));
        result.and(released)
    }
}

/// Extended attributes.
impl<R: Lock> Node<R> {
    /// Returns the value of an extended attribute.
    ///
    /// # Errors
    ///
    /// ENODATA if there is none; EOPNOTSUPP if server or host have no such thing; [`Error::TooLarge`] for a value of more than
    /// [`crate::Config::data_buffer_size`], which may be 64 KiB.
    pub fn xattr(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let _call = self.mounted.check()?;
        xattr::get(self.rpc(), self.who, self.inode.nodeid, name.as_ref())
    }

    /// Returns the names of all extended attributes.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if server or host have no such thing; [`Error::TooLarge`] as [`Node::xattr`].
    pub fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Error> {
        let _call = self.mounted.check()?;
        let list = xattr::list(self.rpc(), self.who, self.inode.nodeid)?;
        Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(Vec::from).collect())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    ///
    /// EEXIST and ENODATA by `flags`; EOPNOTSUPP if server or host have no such thing; [`Error::TooLarge`] as [`Node::xattr`].
    pub fn set_xattr(&self, name: impl AsRef<[u8]>, value: &[u8], flags: XattrFlags) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let result = xattr::set(self.rpc(), self.who, self.inode.nodeid, name.as_ref(), value, flags);
        self.inode.expire_attr();
        result
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    ///
    /// ENODATA if there is none; EOPNOTSUPP if server or host have no such thing.
    pub fn remove_xattr(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let result = xattr::remove(self.rpc(), self.who, self.inode.nodeid, name.as_ref());
        self.inode.expire_attr();
        result
    }
}

impl<R: Lock> File<R> {
    /// Returns the file's node, with the file's credentials.
    pub fn node(&self) -> Node<R> {
        Node::new(self.mounted.clone(), self.open.inode.clone(), self.open.handle.who)
    }
}
