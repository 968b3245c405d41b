//! Listings of directories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, PoisonError};

use fuse_proto::Errno as ServerErrno;
use fuser::{Errno, FileHandle, INodeNo, ReplyDirectory, ReplyDirectoryPlus, Request};

use super::state::{GENERATION, State};
use crate::convert;
use crate::listing::{Item, Listing};

impl State {
    pub(super) fn open_dir(&self, request: &Request, number: INodeNo) -> Result<FileHandle, Errno> {
        let node = self.node(request, number)?;
        let listing = Listing::open(&node).map_err(|error| convert::errno(&error))?;
        Ok(self.directories.insert(Mutex::new(listing)))
    }

    pub(super) fn sync_dir(&self, request: &Request, number: INodeNo) -> Result<(), Errno> {
        self.node(request, number)?.sync_dir().map_err(|error| convert::errno(&error))
    }

    /// Calls `add` with each entry from an offset on, and the offset of the next one, until it has enough.
    fn each(
        &self,
        handle: FileHandle,
        mut offset: u64,
        mut add: impl FnMut(&Item, u64) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let listing = self.directories.get(handle).ok_or(Errno::EBADF)?;
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        if offset == 0 {
            listing.rewind();
        }
        let first = offset;
        loop {
            match listing.at(offset) {
                Ok(None) => return Ok(()),
                Ok(Some(item)) => {
                    if add(item, offset + 1)? {
                        return Ok(());
                    }
                }
                // What was found before the error is given out first.
                Err(_) if offset > first => return Ok(()),
                Err(error) => return Err(convert::errno(&error)),
            }
            offset += 1;
        }
    }

    pub(super) fn list(
        &self,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<(), Errno> {
        self.each(handle, offset, |item, next| {
            let ino = item.ino.map_or(number, INodeNo);
            Ok(reply.add(ino, next, convert::kind(item.kind), OsStr::from_bytes(&item.name)))
        })
    }

    pub(super) fn list_plus(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<(), Errno> {
        let directory = self.node(request, number)?;
        let own = directory.attr().map_err(|error| convert::errno(&error))?;
        let ttl = self.options.timeout;
        self.each(handle, offset, |item, next| {
            let name = OsStr::from_bytes(&item.name);
            if item.is_dot() {
                // The kernel looks at its name only.
                return Ok(reply.add(number, next, name, &ttl, &convert::attr(number, &own), GENERATION));
            }
            let found = directory.lookup(&item.name).and_then(|node| Ok((node.attr()?, node)));
            let (attr, node) = match found {
                Ok(found) => found,
                // It went after it was listed.
                Err(error) if error.errno() == ServerErrno::ENOENT => return Ok(false),
                Err(error) => return Err(convert::errno(&error)),
            };
            let known = self.nodes.look_up(&node, &attr);
            let full = reply.add(known, next, name, &ttl, &convert::attr(known, &attr), GENERATION);
            if full {
                self.nodes.forget(known, 1);
            }
            Ok(full)
        })
    }
}
