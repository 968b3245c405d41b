//! Opening and creating files.

use alloc::boxed::Box;
use alloc::sync::Arc;

use fuse_proto::{Errno, InitFlags};

use super::FileIo;
use super::open_file::OpenFile;
use super::options::OpenOptions;
use crate::rpc::credentials::Credentials;
use crate::rpc::handles;
use crate::rpc::in_flight::GivenUp;
use crate::volume::inode::{Inode, changes_so_far};
use crate::volume::path::{Ending, Last, walk};
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Opens or creates the file that `path` names, walked from the directory `start`.
    pub(crate) fn open_path(
        &self,
        who: Credentials,
        start: Arc<Inode<R>>,
        path: &[u8],
        options: OpenOptions,
    ) -> Result<Box<OpenFile<R>>, Error> {
        options.check()?;
        // The server refuses a name that exists, so it need not be asked whether it does.
        let last = match (options.must_create(), options.creates(), options.follows()) {
            (true, ..) => Last::Leave,
            (_, true, true) => Last::Create,
            (_, true, false) => Last::LookUp,
            (_, false, true) => Last::Follow,
            (_, false, false) => Last::LookUp,
        };
        let walked = walk(&self.volume, who, start, path, last)?;
        if options.must_create() && walked.inode.is_some() {
            return Err(Error::refused(Errno::EEXIST, "the path names a directory"));
        }
        if options.creates() && (walked.must_be_dir || walked.ending != Ending::Name) {
            return Err(Error::refused(Errno::EISDIR, "a file cannot have such a name"));
        }
        match walked.inode {
            Some(inode) => self.open_inode(who, &inode, options),
            None if !options.creates() => Err(Error::Os(Errno::ENOENT)),
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
    ) -> Result<Box<OpenFile<R>>, Error> {
        // Without O_TRUNC: what has got this name since it was looked up may be mapped, and is cut the way of all cuts.
        let (flags, mode) = (options.flags(false), options.permissions());
        let since = changes_so_far();
        let (entry, opened) = handles::create(self.rpc(), who, parent.nodeid, name, flags, mode)?;
        let inode = self.volume.made(parent, name, &entry, since);
        let file = OpenFile::new(&self.volume, inode, Some(opened), who, options);
        if options.truncates() && entry.attr.size > 0 {
            self.volume.set_size(who, &file.inode, file.handle.fh, 0)?;
        }
        Ok(file)
    }

    /// Creates a file without a name and opens it.
    pub(crate) fn create_unnamed(
        &self,
        who: Credentials,
        parent: &Inode<R>,
        options: OpenOptions,
    ) -> Result<Box<OpenFile<R>>, Error> {
        options.check()?;
        let (flags, mode) = (options.flags(true), options.permissions());
        let since = changes_so_far();
        let (entry, opened) = handles::tmpfile(self.rpc(), who, parent.nodeid, flags, mode)?;
        let inode = self.volume.inodes.adopt_unnamed(parent, &entry, since);
        Ok(OpenFile::new(&self.volume, inode, Some(opened), who, options))
    }

    /// Opens a file that exists.
    pub(crate) fn open_inode(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        options: OpenOptions,
    ) -> Result<Box<OpenFile<R>>, Error> {
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
            let flags = (options.flags(true), self.volume.kills_set_id(who, inode));
            let open = |given_up: &mut GivenUp<R>| match handles::open_keeping(self.rpc(), who, node, flags, given_up)?
            {
                Some(opened) => Ok(Some(opened)),
                // The server needs no OPEN, and so has not cut the file.
                None => self.volume.send_size(who, inode, None, 0, given_up).map(|()| None),
            };
            self.volume.clear_set_id(who, inode)?;
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
