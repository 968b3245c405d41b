//! A mounted file system: the operations that take a path.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::ops::StatfsReply;
use fuse_proto::{Attr, Errno};
use lock_api::RawMutex;
use virtio_shm::ShmRegion;

use crate::device::bring_up::Tag;
use crate::dir::ReadDir;
use crate::node::Node;
use crate::shared::Shared;
use crate::stats::{DaxStatus, Stats, get};
use crate::{Credentials, Error, File, OpenOptions};

/// A mounted virtio file system. Clones are handles to the same one; operations can be called from several threads.
///
/// `R` is the kind of lock inside: `spin::Mutex<()>` unless said otherwise. Choose one that disables interrupts if
/// interrupt handlers enter the driver ([`crate::Interrupts::InHandler`]).
pub struct VirtioFs<R: RawMutex + Send + Sync + 'static = spin::Mutex<()>> {
    pub(crate) shared: Arc<Shared<R>>,
    who: Credentials,
}

impl<R: RawMutex + Send + Sync + 'static> Clone for VirtioFs<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), who: self.who }
    }
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for VirtioFs<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VirtioFs")
            .field("tag", &self.shared.tag)
            .field("dax", &self.shared.dax_status())
            .finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> VirtioFs<R> {
    /// The same file system in somebody else's name; see [`Credentials`] for what servers make of it.
    #[must_use]
    pub fn with_credentials(&self, who: Credentials) -> Self {
        Self { shared: self.shared.clone(), who }
    }

    /// The tag by which the host names the file system.
    pub fn tag(&self) -> Tag {
        self.shared.tag
    }

    /// Whether files go through the window, and if not, why.
    pub fn dax_status(&self) -> DaxStatus {
        self.shared.dax_status()
    }

    /// Where the window, or the part of it that the driver uses, lies in guest-physical memory.
    pub fn window_region(&self) -> Option<ShmRegion> {
        self.shared.dax.as_ref().map(|dax| dax.memory.region())
    }

    /// What was negotiated with the server.
    pub fn protocol(&self) -> &fuse_proto::Protocol {
        &self.shared.protocol
    }

    /// The virtio features in force.
    pub fn features(&self) -> u64 {
        self.shared.features
    }

    /// How many request queues are used.
    pub fn request_queues(&self) -> usize {
        self.shared.connection.request_queues()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let counters = &shared.counters;
        Stats {
            dax: shared.dax_status(),
            requests: get(&shared.connection.requests),
            timeouts: get(&shared.connection.timeouts),
            late_replies: get(&counters.late_replies),
            entry_hits: get(&counters.entry_hits),
            negative_hits: get(&counters.negative_hits),
            forgets: get(&counters.forgets),
            dax_read_bytes: get(&counters.dax_read_bytes),
            dax_write_bytes: get(&counters.dax_write_bytes),
            request_read_bytes: get(&counters.request_read_bytes),
            request_write_bytes: get(&counters.request_write_bytes),
            setup_mappings: get(&counters.setup_mappings),
            setup_refused: get(&counters.setup_refused),
            remove_requests: get(&counters.remove_requests),
            removed_mappings: get(&counters.removed_mappings),
            window_waits: get(&counters.window_waits),
            notifications: get(&counters.notifications),
            faults: get(&counters.faults),
            faults_huge: get(&counters.faults_huge),
            faults_base: get(&counters.faults_base),
            sync_faults: get(&counters.sync_faults),
            fsyncs: get(&counters.fsyncs),
            protected_pages: get(&counters.protected_pages),
            around: counters.bypass_stats(),
            window: shared.dax.as_ref().map(|dax| dax.with(|window| window.stats())),
        }
    }

    /// Switches the device's interrupts on or off. Requests that came back without one are completed.
    ///
    /// What an interrupt handler or [`Platform::wait`](crate::Platform::wait) may do stays as
    /// [`Config::interrupts`](crate::Config::interrupts) says.
    pub fn set_interrupts(&self, on: bool) {
        self.shared.connection.set_interrupts(on);
    }

    /// To be called when the device interrupts: acknowledges it and completes requests. Returns how many.
    /// [`InterruptHandle`](crate::InterruptHandle) does the same before there is a file system.
    pub fn handle_interrupt(&self) -> usize {
        self.shared.connection.handle_interrupt()
    }

    /// Completes requests that the device has answered and acts upon its notifications, for embedders that poll. Returns how
    /// many. Not for interrupt handlers: what a notification says can take a request.
    pub fn poll(&self) -> usize {
        let count = self.shared.connection.process() + self.shared.take_notices();
        self.shared.settle_late();
        count
    }

    /// Says who takes pages out of page tables: needed before any page of the window is installed in one. Returns who did
    /// so before.
    pub fn set_mappings(
        &self,
        mappings: Option<Arc<dyn fs_dax::Mappings + Send + Sync>>,
    ) -> Option<Arc<dyn fs_dax::Mappings + Send + Sync>> {
        self.shared.dax.as_ref().and_then(|dax| dax.set_owner(mappings))
    }

    /// Marks the whole file system as failed, for good: reads and writes give EIO and faults bus errors from now on, on every
    /// processor, and pages that are mapped are taken out of the page tables.
    pub fn mark_failed(&self) {
        self.shared.failure.fail(fs_dax::Errno::EIO);
        let inodes = self.shared.inodes.lock().all();
        for inode in inodes {
            self.shared.unmap_failed(&inode);
        }
    }

    /// One step of background reclaim: frees a batch of ranges that are not in use, if fewer are free than a busy moment
    /// needs. For an idle loop; costs at most one round trip. Returns whether there was something to do.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn reclaim_step(&self) -> Result<bool, Error> {
        self.shared.check_mounted()?;
        self.shared.reclaim_step()
    }

    /// The root directory.
    ///
    /// # Errors
    ///
    /// After the unmount.
    pub fn root(&self) -> Result<Node<R>, Error> {
        Ok(self.node(self.shared.root()?))
    }

    pub(crate) fn from_shared(shared: Arc<Shared<R>>, who: Credentials) -> Self {
        Self { shared, who }
    }

    /// In whose name this handle makes requests.
    pub fn credentials(&self) -> Credentials {
        self.who
    }

    fn node(&self, inode: Arc<crate::inode::Inode<R>>) -> Node<R> {
        Node::new(self.shared.clone(), inode, self.who)
    }

    /// Walks a path to what it names; see [`crate::path`] for the rules.
    ///
    /// # Errors
    ///
    /// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, and what the server says.
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        self.shared.check_mounted()?;
        Ok(self.node(self.shared.walk_to(self.who, path.as_ref(), true)?))
    }

    /// As [`VirtioFs::lookup`], but a symbolic link as the last component is not followed.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::lookup`].
    pub fn lookup_no_follow(&self, path: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        self.shared.check_mounted()?;
        Ok(self.node(self.shared.walk_to(self.who, path.as_ref(), false)?))
    }

    /// Opens or creates a file.
    ///
    /// # Errors
    ///
    /// EINVAL for options that make no sense, EISDIR for a directory, EEXIST, ENOENT, and what the server says.
    pub fn open(&self, path: impl AsRef<[u8]>, options: OpenOptions) -> Result<File<R>, Error> {
        self.shared.check_mounted()?;
        options.check()?;
        self.shared.open_path(self.who, path.as_ref(), options)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`] and [`File::read_at`].
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let file = self.open(path, OpenOptions::new().read(true))?;
        let mut bytes = Vec::new();
        loop {
            let want = usize::try_from(file.len()?).unwrap_or(usize::MAX).saturating_sub(bytes.len()).max(4096);
            let start = bytes.len();
            bytes
                .try_reserve(want)
                .map_err(|_| Error::refused(Errno::ENOMEM, "no memory for the contents of a file"))?;
            bytes.resize(start + want, 0);
            let count = file.read_at(&mut bytes[start..], start as u64)?;
            bytes.truncate(start + count);
            if count == 0 {
                return Ok(bytes);
            }
        }
    }

    /// Writes a whole file, created or cut first.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::open`] and [`File::write_at`].
    pub fn write(&self, path: impl AsRef<[u8]>, bytes: &[u8]) -> Result<(), Error> {
        let file = self.open(path, OpenOptions::new().write(true).create(true).truncate(true))?;
        file.write_all_at(bytes, 0)?;
        file.close()
    }

    /// Lists a directory.
    ///
    /// # Errors
    ///
    /// ENOTDIR, and what the server says.
    pub fn read_dir(&self, path: impl AsRef<[u8]>) -> Result<ReadDir<R>, Error> {
        self.lookup(path)?.read_dir()
    }

    /// The attributes of what a path names.
    ///
    /// # Errors
    ///
    /// As [`VirtioFs::lookup`].
    pub fn attr(&self, path: impl AsRef<[u8]>) -> Result<Attr, Error> {
        self.lookup(path)?.attr()
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    ///
    /// EINVAL if it is none.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.lookup_no_follow(path)?.read_link()
    }

    /// The directory and the name that a path ends in, for an operation on an entry.
    fn parent(&self, path: impl AsRef<[u8]>) -> Result<(Node<R>, Vec<u8>, bool), Error> {
        self.shared.check_mounted()?;
        let walked = self.shared.walk_to_parent(self.who, path.as_ref())?;
        Ok((self.node(walked.parent), walked.name, walked.must_be_dir))
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// EEXIST, ENOENT, and what the server says.
    pub fn create_dir(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<Node<R>, Error> {
        let (parent, name, _) = self.parent(path)?;
        parent.make_dir(&name, mode)
    }

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// EISDIR for a directory, ENOENT, and what the server says.
    pub fn remove_file(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let (parent, name, must_be_dir) = self.parent(path)?;
        if must_be_dir {
            return Err(Error::refused(Errno::ENOTDIR, "a path that ends in / names no file"));
        }
        parent.unlink(&name)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// ENOTEMPTY, ENOTDIR, ENOENT, and what the server says.
    pub fn remove_dir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let (parent, name, _) = self.parent(path)?;
        parent.remove_dir(&name)
    }

    /// Renames; what `to` named is replaced.
    ///
    /// # Errors
    ///
    /// As `rename(2)`.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        self.rename_with(from, to, fuse_proto::RenameFlags::empty())
    }

    /// Renames by the rules of `renameat2(2)`.
    ///
    /// # Errors
    ///
    /// As `renameat2(2)`; EINVAL for flags that the server does not know.
    pub fn rename_with(
        &self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
        flags: fuse_proto::RenameFlags,
    ) -> Result<(), Error> {
        let (parent, name, _) = self.parent(from)?;
        let (new_parent, new_name, _) = self.parent(to)?;
        parent.rename(&name, &new_parent, &new_name, flags)
    }

    /// Makes a symbolic link at `path` that says `target`.
    ///
    /// # Errors
    ///
    /// EEXIST, and what the server says.
    pub fn symlink(&self, target: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Result<Node<R>, Error> {
        let (parent, name, _) = self.parent(path)?;
        parent.symlink(&name, target.as_ref())
    }

    /// Gives the file at `path` one more name.
    ///
    /// # Errors
    ///
    /// EEXIST, EPERM for a directory, and what the server says.
    pub fn hard_link(&self, path: impl AsRef<[u8]>, new_path: impl AsRef<[u8]>) -> Result<(), Error> {
        let node = self.lookup_no_follow(path)?;
        let (parent, name, _) = self.parent(new_path)?;
        parent.link(&name, &node).map(drop)
    }

    /// Sizes and free space of the file system on the host.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn statfs(&self) -> Result<StatfsReply, Error> {
        self.shared.check_mounted()?;
        self.shared.op_statfs(self.who, fuse_proto::NodeId::ROOT)
    }

    /// Makes everything written durable on the host: SYNCFS.
    ///
    /// # Errors
    ///
    /// As any request; EOPNOTSUPP if the server does not know SYNCFS.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.check_mounted()?;
        self.shared.op_syncfs(self.who)
    }

    /// Ends the session: waits for requests in flight, removes all mappings, gives all inodes back, sends DESTROY and
    /// resets the device.
    ///
    /// Files and nodes that are still open get [`Error::Unmounted`] from then on. Mapped views and pins must be gone:
    /// their memory would vanish under them.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while views are alive; nothing has happened then. Other errors are those of the last requests; the
    /// file system is unmounted all the same.
    pub fn unmount(&self) -> Result<(), Error> {
        self.shared.check_mounted()?;
        self.shared.unmount()
    }
}
