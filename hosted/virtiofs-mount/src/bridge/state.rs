//! What the kernel holds, by number.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{Errno, FileHandle, FopenFlags, Generation, INodeNo, Request};

use crate::convert;
use crate::driver::{Attr, Error, FileSystem, Node};
use crate::handles::Handles;
use crate::listing::Listing;
use crate::nodes::Nodes;
use crate::open_file::OpenFile;

/// Numbers are not used again while somebody knows them.
pub(super) const GENERATION: Generation = Generation(0);

/// How files are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// For how long the kernel may keep names and attributes.
    pub(crate) timeout: Duration,
    /// Whether reads and writes go past the kernel's page cache.
    pub(crate) direct: bool,
}

/// A node that the kernel looks up, with its attributes.
pub(super) type Entry = (Node, Attr);

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    fs: FileSystem,
    pub(super) nodes: Nodes,
    pub(super) files: Handles<OpenFile>,
    pub(super) directories: Handles<Mutex<Listing>>,
    pub(super) options: Options,
}

impl State {
    /// The kernel holds nothing but the root.
    pub(super) fn new(fs: &FileSystem, options: Options) -> Result<Self, Error> {
        let nodes = Nodes::new(fs.root()?);
        Ok(Self { fs: fs.clone(), nodes, files: Handles::default(), directories: Handles::default(), options })
    }

    pub(super) fn file_system(&self) -> &FileSystem {
        &self.fs
    }

    /// Gives up all that the kernel held.
    pub(super) fn clear(&self) {
        self.files.clear();
        self.directories.clear();
        self.nodes.clear();
    }

    /// A node by its number, in the requester's name.
    pub(super) fn node(&self, request: &Request, number: INodeNo) -> Result<Node, Errno> {
        let node = self.nodes.get(number).ok_or(Errno::ESTALE)?;
        Ok(node.as_user(convert::credentials(request)))
    }

    pub(super) fn file(&self, handle: FileHandle) -> Result<Arc<OpenFile>, Errno> {
        self.files.get(handle).ok_or(Errno::EBADF)
    }

    pub(super) fn open_flags(&self) -> FopenFlags {
        if self.options.direct { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() }
    }
}
