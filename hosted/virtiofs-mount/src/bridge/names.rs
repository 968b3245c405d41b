//! Names, attributes, and what has no contents.

use fuse_proto::ops::StatfsReply;
use fuse_proto::{AccessMask, FileType, RenameFlags as ServerRename};
use fuser::{AccessFlags, Errno, FileHandle, INodeNo, RenameFlags, Request};
use virtio_fs::SetAttr;

use super::state::{Entry, State};
use crate::convert;
use crate::driver::{Attr, Error, Node};
use crate::open_file::OpenFile;

/// A name in a directory.
type Place<'a> = (INodeNo, &'a [u8]);

/// A node with the attributes that it has now.
fn with_attr(node: Node) -> Result<Entry, Error> {
    let attr = node.attr()?;
    Ok((node, attr))
}

impl State {
    /// Calls `act` with a directory, and returns the node that it made there.
    fn in_dir(
        &self,
        request: &Request,
        parent: INodeNo,
        act: impl FnOnce(&Node) -> Result<Node, Error>,
    ) -> Result<Entry, Errno> {
        let parent = self.node(request, parent)?;
        act(&parent).and_then(with_attr).map_err(|error| convert::errno(&error))
    }

    pub(super) fn look_up(&self, request: &Request, parent: INodeNo, name: &[u8]) -> Result<Entry, Errno> {
        self.in_dir(request, parent, |parent| parent.lookup(name))
    }

    pub(super) fn make_node(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
        mode: u32,
        rdev: u32,
    ) -> Result<Entry, Errno> {
        self.in_dir(request, parent, |parent| parent.create_node(name, mode, rdev))
    }

    pub(super) fn make_dir(&self, request: &Request, parent: INodeNo, name: &[u8], mode: u32) -> Result<Entry, Errno> {
        self.in_dir(request, parent, |parent| parent.create_dir(name, mode & !FileType::MASK))
    }

    pub(super) fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
        target: &[u8],
    ) -> Result<Entry, Errno> {
        self.in_dir(request, parent, |parent| parent.symlink(name, target))
    }

    pub(super) fn link(
        &self,
        request: &Request,
        number: INodeNo,
        parent: INodeNo,
        name: &[u8],
    ) -> Result<Entry, Errno> {
        let node = self.node(request, number)?;
        self.in_dir(request, parent, |parent| parent.hard_link(name, &node))
    }

    pub(super) fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Entry, FileHandle), Errno> {
        let parent = self.node(request, parent)?;
        let options = convert::open_options(flags)
            .create_new(flags & libc::O_EXCL != 0)
            .truncate(flags & libc::O_TRUNC != 0)
            .mode(mode & !FileType::MASK);
        let create = || {
            let file = parent.create(name, options)?;
            let (node, attr) = with_attr(file.node())?;
            Ok(((node.clone(), attr), OpenFile::with(file, &node, flags)?))
        };
        let (entry, file) = create().map_err(|error: Error| convert::errno(&error))?;
        Ok((entry, self.files.insert(file)))
    }

    pub(super) fn unlink(&self, request: &Request, parent: INodeNo, name: &[u8]) -> Result<(), Errno> {
        self.node(request, parent)?.remove_file(name).map_err(|error| convert::errno(&error))
    }

    pub(super) fn remove_dir(&self, request: &Request, parent: INodeNo, name: &[u8]) -> Result<(), Errno> {
        self.node(request, parent)?.remove_dir(name).map_err(|error| convert::errno(&error))
    }

    pub(super) fn rename(
        &self,
        request: &Request,
        (parent, name): Place<'_>,
        (new_parent, new_name): Place<'_>,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let (from, to) = (self.node(request, parent)?, self.node(request, new_parent)?);
        let flags = ServerRename::from_bits_retain(flags.bits());
        from.rename_with(name, &to, new_name, flags).map_err(|error| convert::errno(&error))
    }

    pub(super) fn read_link(&self, request: &Request, number: INodeNo) -> Result<Vec<u8>, Errno> {
        self.node(request, number)?.read_link().map_err(|error| convert::errno(&error))
    }

    pub(super) fn attributes(
        &self,
        request: &Request,
        number: INodeNo,
        handle: Option<FileHandle>,
    ) -> Result<(INodeNo, Attr), Errno> {
        let attr = match handle.and_then(|handle| self.files.get(handle)) {
            Some(open) => open.file.attr(),
            None => self.node(request, number)?.attr(),
        };
        Ok((number, attr.map_err(|error| convert::errno(&error))?))
    }

    pub(super) fn change(
        &self,
        request: &Request,
        number: INodeNo,
        handle: Option<FileHandle>,
        changes: SetAttr,
    ) -> Result<(INodeNo, Attr), Errno> {
        let changes = SetAttr { mode: changes.mode.map(|mode| mode & !FileType::MASK), ..changes };
        let attr = match handle.and_then(|handle| self.files.get(handle)) {
            Some(open) => open.file.set_attr(&changes),
            None => self.node(request, number)?.set_attr(&changes),
        };
        Ok((number, attr.map_err(|error| convert::errno(&error))?))
    }

    pub(super) fn access(&self, request: &Request, number: INodeNo, mask: AccessFlags) -> Result<(), Errno> {
        let mask = AccessMask::from_bits_retain(mask.bits().cast_unsigned());
        self.node(request, number)?.access(mask).map_err(|error| convert::errno(&error))
    }

    pub(super) fn statfs(&self, request: &Request, number: INodeNo) -> Result<StatfsReply, Errno> {
        self.node(request, number)?.statfs().map_err(|error| convert::errno(&error))
    }
}
