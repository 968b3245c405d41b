//! Opening and creating files.

use alloc::sync::Arc;

use fuse_proto::{Errno, InitFlags};

use super::FileIo;
use super::open_file::OpenFile;
use super::options::OpenOptions;
use crate::rpc::credentials::Credentials;
use crate::rpc::handles;
use crate::volume::inode::Inode;
use crate::volume::path::{Last, walk};
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Opens or creates the file that `path` names, walked from the directory `start`.
    pub(crate) fn open_path(
        &self,
        who: Credentials,
        start: Arc<Inode<R>>,
        path: &[u8],
        options: OpenOptions,
    ) -> Result<OpenFile<R>, Error> {
        options.check()?;
        // The server refuses a name that exists, so it need not be asked whether it does. A path that ends in / is an error
        // that depends on what it names.
        let last = match options.must_create() && !path.ends_with(b"/") {
            true => Last::Leave,
            false if options.follows() => Last::Follow,
            false => Last::LookUp,
        };
        let walked = walk(&self.volume, who, start, path, last)?;
        match walked.inode {
            Some(_) if options.must_create() => Err(Error::Os(Errno::EEXIST)),
            Some(inode) => self.open_inode(who, &inode, options),
            None if !options.creates() => Err(Error::Os(Errno::ENOENT)),
            None if walked.must_be_dir => {
                Err(Error::refused(Errno::EISDIR, "a file cannot have a name that ends in /"))
            }
            None => self.create(who, &walked.parent, &walked.name, options),
        }
    }

    /// Creates `name` in a directory and opens it.
    pub(crate) fn create(
        &self,
        who: Credentials,
        parent: &Inode<R>,
        name: &[u8],
        options: OpenOptions,
    ) -> Result<OpenFile<R>, Error> {
        let (flags, mode) = (options.flags(true), options.permissions());
        let (entry, opened) = handles::create(self.rpc(), who, parent.nodeid, name, flags, mode)?;
        let inode = self.volume.made(parent, name, &entry);
        Ok(OpenFile::new(&self.volume, inode, Some(opened), who, options))
    }

    /// Creates a file without a name and opens it.
    pub(crate) fn create_unnamed(
        &self,
        who: Credentials,
        parent: &Inode<R>,
        options: OpenOptions,
    ) -> Result<OpenFile<R>, Error> {
        options.check()?;
        let (flags, mode) = (options.flags(true), options.permissions());
        let (entry, opened) = handles::tmpfile(self.rpc(), who, parent.nodeid, flags, mode)?;
        let inode = self.volume.inodes.adopt_unnamed(parent, &entry);
        Ok(OpenFile::new(&self.volume, inode, Some(opened), who, options))
    }

    /// Opens a file that exists.
    pub(crate) fn open_inode(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        options: OpenOptions,
    ) -> Result<OpenFile<R>, Error> {
        options.check()?;
        if inode.is_dir() {
            return Err(Error::refused(Errno::EISDIR, "a directory cannot be opened as a file"));
        }
        if inode.is_symlink() {
            return Err(Error::refused(Errno::ELOOP, "a symbolic link where none may be"));
        }
        let node = inode.nodeid;
        let file = |opened| OpenFile::new(&self.volume, inode.clone(), opened, who, options);
        if options.truncates() && self.rpc().has(InitFlags::ATOMIC_O_TRUNC) {
            let open = || handles::open(self.rpc(), who, node, options.flags(true));
            let (opened, _) = self.volume.changing_size(inode, 0, open)?;
            return Ok(file(opened));
        }
        let file = file(handles::open(self.rpc(), who, node, options.flags(false))?);
        if options.truncates() {
            self.volume.set_size(who, inode, file.handle.fh, 0)?;
        }
        Ok(file)
    }
}
