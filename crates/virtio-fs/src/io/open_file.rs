//! The state of an open file.

use alloc::sync::Arc;

use dax_window::Stream;
use fuse_proto::{FopenFlags, LockOwner};
use lock_api::Mutex;

use super::options::OpenOptions;
use crate::Lock;
use crate::rpc::credentials::Credentials;
use crate::rpc::handles::{self, Handle, Opened};
use crate::volume::Volume;
use crate::volume::inode::Inode;
use crate::volume::unlinked::UnlinkedGuard;
use crate::window::pending::FileId;

/// See the module. Dropped, it is closed on the server.
pub(crate) struct OpenFile<R: Lock> {
    volume: Arc<Volume<R>>,
    pub(crate) inode: Arc<Inode<R>>,
    pub(crate) handle: Handle,
    pub(crate) options: OpenOptions,
    /// The server wants no caching, which excludes mappings (FOPEN_DIRECT_IO).
    pub(crate) direct: bool,
    stream: Mutex<R, Stream>,
    unlinked: UnlinkedGuard<R>,
}

impl<R: Lock> Drop for OpenFile<R> {
    fn drop(&mut self) {
        self.unlinked.closing(&self.inode);
        let Handle { node, fh, who, flags, .. } = self.handle;
        if let Some(fh) = fh
            && self.volume.check_mounted().is_ok()
            && let Err(error) = handles::release(&self.volume.rpc, who, node, fh, flags)
        {
            log::warn!("virtio-fs: RELEASE was not sent: {error}");
        }
    }
}

impl<R: Lock> OpenFile<R> {
    /// The state of a file that the server opened, or that needs no OPEN.
    pub(crate) fn new(
        volume: &Arc<Volume<R>>,
        inode: Arc<Inode<R>>,
        opened: Option<Opened>,
        who: Credentials,
        options: OpenOptions,
    ) -> Self {
        let lock_owner = LockOwner(volume.rpc.connection().next_unique());
        let unlinked = UnlinkedGuard::new(volume, &inode);
        let direct = opened.is_some_and(|(_, flags)| flags.contains(FopenFlags::DIRECT_IO));
        let fh = opened.map(|(fh, _)| fh);
        let handle = Handle { node: inode.nodeid, fh, who, flags: options.flags(false), lock_owner };
        let stream = Mutex::new(Stream::new());
        Self { volume: volume.clone(), inode, handle, options, direct, stream, unlinked }
    }

    /// The file for the window.
    pub(crate) fn id(&self) -> FileId {
        FileId { node: self.handle.node, who: self.handle.who }
    }

    /// What the window remembers of this file's accesses.
    pub(crate) fn stream(&self) -> Stream {
        *self.stream.lock()
    }

    /// Keeps it. Two accesses at the same time: the later one counts, which costs speed at most.
    pub(crate) fn keep_stream(&self, stream: Stream) {
        *self.stream.lock() = stream;
    }
}
