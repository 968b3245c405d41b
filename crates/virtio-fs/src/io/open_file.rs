//! The state of an open file.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use dax_window::{Run, Stream};
use fuse_proto::LockOwner;
use lock_api::Mutex;

use super::options::OpenOptions;
use crate::rpc::credentials::Credentials;
use crate::rpc::handles::{self, Handle, Opened};
use crate::volume::Volume;
use crate::volume::commits::ErrorsReturned;
use crate::volume::inode::Inode;
use crate::volume::unlinked::UnlinkedGuard;
use crate::window::pending::FileId;
use crate::{Error, Lock};

/// See the module. Dropped, it is closed on the server.
pub(crate) struct OpenFile<R: Lock> {
    volume: Arc<Volume<R>>,
    pub(crate) inode: Arc<Inode<R>>,
    pub(crate) handle: Handle,
    pub(crate) options: OpenOptions,
    /// Which errors of FSYNC it has returned.
    pub(crate) errors_returned: ErrorsReturned,
    /// Whether it may hold record locks.
    locks: AtomicBool,
    stream: Mutex<R, Stream>,
    /// What the stream says of a run, for those who read only that.
    run: AtomicU8,
    unlinked: UnlinkedGuard<R>,
}

impl<R: Lock> Drop for OpenFile<R> {
    fn drop(&mut self) {
        let _call = self.volume.rpc.connection().begin_call();
        self.unlinked.closing(&self.inode);
        if self.volume.check_mounted().is_err() {
            return;
        }
        if self.options.is_writable() {
            self.volume.flush_times(&self.handle, &self.inode);
        }
        if self.locks.load(Ordering::Acquire)
            && let Err(error) = self.flush()
        {
            log::warn!("virtio-fs: FLUSH of a file with locks: {error}");
        }
        let Handle { node, fh, who, flags, lock_owner } = self.handle;
        if let Some(fh) = fh
            && let Err(error) = handles::release(&self.volume.rpc, who, node, fh, (flags, lock_owner))
        {
            log::warn!("virtio-fs: RELEASE was not sent: {error}");
        }
    }
}

impl<R: Lock> OpenFile<R> {
    /// The state of a file that the server opened, or that needs no OPEN. On the heap until it is part of a file of the API:
    /// each function on the way there would have a copy on its stack.
    #[inline(never)]
    pub(crate) fn new(
        volume: &Arc<Volume<R>>,
        inode: Arc<Inode<R>>,
        opened: Option<Opened>,
        who: Credentials,
        options: OpenOptions,
    ) -> Box<Self> {
        let lock_owner = LockOwner(volume.rpc.connection().next_unique());
        let unlinked = UnlinkedGuard::new(volume, &inode);
        let errors_returned = inode.commits.lock().opened();
        let locks = AtomicBool::new(false);
        let fh = opened.map(|(fh, _)| fh);
        let handle = Handle { node: inode.nodeid, fh, who, flags: options.flags(false), lock_owner };
        let stream = Mutex::new(Stream::new());
        let run = AtomicU8::new(Run::None as u8);
        Box::new(Self { volume: volume.clone(), inode, handle, options, errors_returned, locks, stream, run, unlinked })
    }

    /// Record locks are asked for in this file's name.
    pub(crate) fn note_locks(&self) {
        self.locks.store(true, Ordering::Release);
    }

    /// Has the server return what errors it has for the file, and give back its record locks.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        if self.options.is_writable() {
            self.volume.flush_times(&self.handle, &self.inode);
        }
        handles::flush(&self.volume.rpc, &self.handle)?;
        self.locks.store(false, Ordering::Release);
        Ok(())
    }

    /// The file for the window.
    pub(crate) fn id(&self) -> FileId {
        FileId { node: self.handle.node, who: self.handle.who, settled: self.inode.is_settled() }
    }

    /// What the window remembers of this file's accesses.
    pub(crate) fn stream(&self) -> Stream {
        *self.stream.lock()
    }

    /// Keeps it. Two accesses at the same time: the later one counts, which costs speed at most.
    pub(crate) fn keep_stream(&self, stream: Stream) {
        *self.stream.lock() = stream;
        let run = stream.run() as u8;
        if self.run.load(Ordering::Relaxed) != run {
            self.run.store(run, Ordering::Relaxed);
        }
    }

    /// Whether the last accesses that the window remembers were a run.
    #[inline]
    pub(crate) fn run(&self) -> Run {
        match self.run.load(Ordering::Relaxed) {
            run if run == Run::None as u8 => Run::None,
            run if run == Run::Sequential as u8 => Run::Sequential,
            _ => Run::Strided,
        }
    }
}
