//! The operations of a file system that take a path.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::{Attr, Errno, RenameFlags};

use super::progress::Progress;
use crate::volume::entry_path::EntryPath;
use crate::volume::inode::Inode;
use crate::volume::path::{self, Last};
use crate::{Error, File, Lock, Node, OpenOptions, ReadDir, VirtioFs};

/// What [`VirtioFs::read`] asks for at once, in bytes, of a file that claims as much.
const AT_ONCE: usize = 1 << 20;
/// How far it follows a file past the size that was stated when it was opened, in bytes: some files state none.
const MOST_UNSTATED: usize = 16 << 20;

impl<R: Lock> VirtioFs<R> {
    fn node(&self, inode: Arc<Inode<R>>) -> Node<R> {
        Node::new(self.mounted.clone(), inode, self.credentials())
    }

    /// Returns the root directory.
    ///
    /// # Errors
    ///
    /// [`Error::Unmounted`].
    pub fn root(&self) -> Result<Node<R>, Error> {
        Ok(self.node(self.mounted.volume().root()?))
    }

    /// Walks a path and returns what it names; see [`crate::path`] for the rules.
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, and the server's own.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        self.walk(path.as_ref(), Last::Follow)
    }

    /// As [`VirtioFs::lookup`], but a symbolic link as the last component is not followed.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::lookup`].
    pub fn lookup_no_follow(&self, path: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        self.walk(path.as_ref(), Last::LookUp)
    }

    /// Opens or creates a file.
    ///
    /// # Errors
    ///
    /// EINVAL for options that contradict each other, EISDIR for a directory, EEXIST, ENOENT, and the server's own.
    pub fn open(&self, path: impl AsRef<[u8]>, options: OpenOptions) -> Result<File<R>, Error> {
        let _call = self.mounted.check()?;
        self.opened(path.as_ref(), options)
    }

    /// Opens or creates a file within a call.
    fn opened(&self, path: &[u8], options: OpenOptions) -> Result<File<R>, Error> {
        let start = self.mounted.volume().root()?;
        let open = self.mounted.io.open_path(self.credentials(), start, path, options)?;
        Ok(File::new(self.mounted.clone(), *open))
    }

    /// As [`VirtioFs::opened`], with the file off the stack of whoever goes on with it.
    #[inline(never)]
    fn opened_apart(&self, path: &[u8], options: OpenOptions) -> Result<Box<File<R>>, Error> {
        self.opened(path, options).map(Box::new)
    }

    /// Reads a whole file, which has to fit into memory: it is as large as the server makes it. For files of a server that is
    /// not trusted there is [`VirtioFs::read_up_to`].
    ///
    /// The call has time for each MiB that comes.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`] and [`File::read_at`]; ENOMEM; EIO of a server that gives next to nothing at a time.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.read_up_to(path, usize::MAX)
    }

    /// Reads a whole file of at most so many bytes.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::read`]; EFBIG for a file that is larger.
    pub fn read_up_to(&self, path: impl AsRef<[u8]>, most: usize) -> Result<Vec<u8>, Error> {
        let call = self.mounted.check()?;
        let file = self.opened_apart(path.as_ref(), OpenOptions::new().read(true))?;
        let mut bytes = Vec::new();
        self.mounted.volume().attr(self.credentials(), &file.open.inode, file.open.handle.fh)?;
        let stated = usize::try_from(file.open.inode.size()).unwrap_or(usize::MAX);
        let mut progress = Progress::new();
        let mut want = AT_ONCE;
        loop {
            let start = bytes.len();
            if start >= stated && start >= MOST_UNSTATED {
                // It grows as fast as it is read: this is what it was when it was opened.
                return Ok(bytes);
            }
            let len = match stated.saturating_sub(start) {
                // It should end here.
                0 if start == stated => 4096,
                0 => want,
                rest => want.min(rest),
            };
            // One more than the caller takes shows that there is more.
            let len = len.min(most.saturating_sub(start).saturating_add(1));
            bytes
                .try_reserve(len)
                .map_err(|_| Error::refused(Errno::ENOMEM, "no memory for the contents of a file"))?;
            bytes.resize(start + len, 0);
            let count = self.mounted.io.read(&file.open, &mut bytes[start..], start as u64)?;
            bytes.truncate(start + count);
            if count == 0 {
                return Ok(bytes);
            }
            progress.made(count)?;
            self.mounted.rpc().connection().moved(&call, count);
            if bytes.len() > most {
                return Err(Error::refused(Errno::EFBIG, "a file larger than the caller takes"));
            }
            // What is claimed costs memory only as it comes, and time as much as it brings.
            want = if count < len { (count * 2).next_multiple_of(4096) } else { want * 2 }.clamp(4096, AT_ONCE);
        }
    }

    /// Writes a whole file, created or cut first.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`] and [`File::write_at`].
    pub fn write(&self, path: impl AsRef<[u8]>, bytes: &[u8]) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let file = self.opened_apart(path.as_ref(), OpenOptions::new().write(true).create(true).truncate(true))?;
        file.write_all_at(bytes, 0)?;
        file.close()
    }

    /// Lists a directory.
    ///
    /// # Errors
    ///
    /// ENOTDIR, and the server's own.
    pub fn read_dir(&self, path: impl AsRef<[u8]>) -> Result<ReadDir<R>, Error> {
        let _call = self.mounted.check()?;
        self.lookup(path)?.read_dir()
    }

    /// Returns the attributes of what a path names.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::lookup`].
    pub fn attr(&self, path: impl AsRef<[u8]>) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.lookup(path)?.attr()
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    ///
    /// EINVAL if it is none.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let _call = self.mounted.check()?;
        self.lookup_no_follow(path)?.read_link()
    }

    fn walk(&self, path: &[u8], last: Last) -> Result<Node<R>, Error> {
        let _call = self.mounted.check()?;
        let volume = self.mounted.volume();
        Ok(self.node(path::walk_to(volume, self.credentials(), volume.root()?, path, last)?))
    }

    fn entry(&self, (parent, name): EntryPath<R>) -> (Node<R>, Vec<u8>) {
        (self.node(parent), name)
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// EEXIST, ENOENT, and the server's own.
    pub fn create_dir(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<Node<R>, Error> {
        let _call = self.mounted.check()?;
        let (parent, name) = self.entry(self.mounted.volume().entry_for_dir(self.credentials(), path.as_ref())?);
        parent.create_dir(&name, mode)
    }

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// EISDIR for a directory, ENOENT, and the server's own.
    pub fn remove_file(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let (parent, name) = self.entry(self.mounted.volume().entry_of_file(self.credentials(), path.as_ref())?);
        parent.remove_file(&name)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// ENOTEMPTY, ENOTDIR, ENOENT; EINVAL for a path that ends in `.`; and the server's own.
    pub fn remove_dir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let (parent, name) = self.entry(self.mounted.volume().entry_of_dir(self.credentials(), path.as_ref())?);
        parent.remove_dir(&name)
    }

    /// Renames; what `to` named is replaced.
    ///
    /// # Errors
    ///
    /// As `rename(2)`.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        self.rename_with(from, to, RenameFlags::empty())
    }

    /// Renames by the rules of `renameat2(2)`.
    ///
    /// # Errors
    ///
    /// As `renameat2(2)`; EINVAL for flags that the server does not know.
    pub fn rename_with(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>, flags: RenameFlags) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let volume = self.mounted.volume();
        let (from, to) = volume.entries_of_rename(self.credentials(), from.as_ref(), to.as_ref(), flags)?;
        let ((parent, name), (new_parent, new_name)) = (self.entry(from), self.entry(to));
        parent.rename_with(&name, &new_parent, &new_name, flags)
    }

    /// Makes a symbolic link to `target` at `path`.
    ///
    /// # Errors
    ///
    /// EEXIST; ENOENT for an empty target; and the server's own.
    pub fn symlink(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        let _call = self.mounted.check()?;
        let (parent, name) = self.entry(self.mounted.volume().entry_for_node(self.credentials(), path.as_ref())?);
        parent.symlink(&name, target.as_ref())
    }

    /// Gives the file at `path` one more name.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM for a directory, and the server's own.
    pub fn hard_link(&self, path: impl AsRef<[u8]>, new_path: impl AsRef<[u8]>) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        let node = self.lookup_no_follow(path)?;
        self.link_at(new_path.as_ref(), &node)
    }

    /// Apart, so that each of the two walks has its own part of the stack only.
    #[inline(never)]
    fn link_at(&self, new_path: &[u8], node: &Node<R>) -> Result<(), Error> {
        let (parent, name) = self.entry(self.mounted.volume().entry_for_node(self.credentials(), new_path)?);
        parent.hard_link(&name, node).map(drop)
    }
}
