//! The state of a mounted file system, shared by all its handles.
//!
//! # Locks
//!
//! All are short: none is held across a request or a call into the embedder. Where two are held at once the order is:
//! inode table, then an inode's names or attributes; a queue, then the data pool. The window's lock, the list of owed
//! FORGETs and the transport's lock are never held together with another.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

use fs_dax::FailureState;
use fuse_proto::{Attr, Entry, Errno, FileHandle, NodeId, Opcode, Protocol};
use lock_api::{Mutex, RawMutex};

use crate::connection::Connection;
use crate::dax_io::Dax;
use crate::device::bring_up::Tag;
use crate::inode::{Inode, InodeTable};
use crate::stats::{Counters, DaxStatus};
use crate::{Config, Credentials, Error};

/// Owed FORGETs are sent once there are this many.
const FORGET_BATCH: usize = 32;
/// How many inodes to look at for one that can be dropped.
const DROP_TRIES: usize = 8;
/// Attributes are fetched again no more often than this for a read, whatever the server says.
pub(crate) const ATTR_REFRESH: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Shared<R: RawMutex + Send + Sync + 'static> {
    pub(crate) connection: Connection<R>,
    pub(crate) protocol: Protocol,
    pub(crate) config: Config,
    pub(crate) tag: Tag,
    pub(crate) features: u64,
    pub(crate) dax: Option<Dax<R>>,
    pub(crate) dax_status: Mutex<R, DaxStatus>,
    /// Whether it is [`DaxStatus::Active`], for those who need not know why not.
    dax_active: AtomicBool,
    root: Mutex<R, Option<Arc<Inode<R>>>>,
    pub(crate) inodes: Mutex<R, InodeTable<R>>,
    owed_forgets: Mutex<R, Vec<(NodeId, u64)>>,
    /// Names cached in all directories.
    names: AtomicUsize,
    /// Bit per opcode: the server answered ENOSYS.
    unsupported: AtomicU64,
    pub(crate) unmounted: AtomicBool,
    /// The device broke the notification queue, and that was said.
    pub(crate) notices_failed: AtomicBool,
    /// Once failed, the whole file system stays so.
    pub(crate) failure: FailureState,
    /// Mapped views, pins and faults under way.
    pub(crate) maps: AtomicUsize,
    pub(crate) counters: Counters,
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    pub(crate) fn new(
        connection: Connection<R>,
        protocol: Protocol,
        config: Config,
        tag: Tag,
        features: u64,
        dax: Result<Dax<R>, DaxStatus>,
    ) -> Self {
        let (dax, status) = match dax {
            Ok(dax) => (Some(dax), DaxStatus::Active),
            Err(status) => (None, status),
        };
        Self {
            connection,
            protocol,
            config,
            tag,
            features,
            dax,
            dax_active: AtomicBool::new(status == DaxStatus::Active),
            dax_status: Mutex::new(status),
            root: Mutex::new(None),
            inodes: Mutex::new(InodeTable::new()),
            owed_forgets: Mutex::new(Vec::new()),
            names: AtomicUsize::new(0),
            unsupported: AtomicU64::new(0),
            unmounted: AtomicBool::new(false),
            notices_failed: AtomicBool::new(false),
            failure: FailureState::new(),
            maps: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.connection.platform.now()
    }

    /// Refuses work after the unmount.
    pub(crate) fn check_mounted(&self) -> Result<(), Error> {
        if self.unmounted.load(Ordering::Acquire) { Err(Error::Unmounted) } else { Ok(()) }
    }

    /// Refuses work on a file, or a file system, that was marked failed.
    pub(crate) fn check_alive(&self, inode: &Inode<R>) -> Result<(), Error> {
        match self.failure.failed().or_else(|| inode.failure.failed()) {
            None => Ok(()),
            Some(_) => Err(Error::refused(Errno::EIO, "marked as failed")),
        }
    }

    pub(crate) fn set_root(&self, root: Arc<Inode<R>>) {
        *self.root.lock() = Some(root);
    }

    /// The root directory. Set by the mount before anybody can ask.
    pub(crate) fn root(&self) -> Result<Arc<Inode<R>>, Error> {
        self.root.lock().clone().ok_or(Error::Unmounted)
    }

    pub(crate) fn take_root(&self) -> Option<Arc<Inode<R>>> {
        self.root.lock().take()
    }

    /// Whether the server is known not to implement a request.
    pub(crate) fn is_unsupported(&self, opcode: Opcode) -> bool {
        self.unsupported.load(Ordering::Relaxed) & bit(opcode) != 0
    }

    /// Notes that the server does not implement a request.
    pub(crate) fn set_unsupported(&self, opcode: Opcode) {
        self.unsupported.fetch_or(bit(opcode), Ordering::Relaxed);
    }

    /// Looks a name up in a directory, in the cache first.
    pub(crate) fn look_up(
        &self,
        who: Credentials,
        parent: &Arc<Inode<R>>,
        name: &[u8],
    ) -> Result<Arc<Inode<R>>, Error> {
        self.take_notices();
        self.settle_late();
        let now = self.now();
        match parent.cached_name(name, now) {
            Some(None) => {
                Counters::add(&self.counters.negative_hits, 1);
                return Err(Error::Os(Errno::ENOENT));
            }
            Some(Some(nodeid)) => {
                let inode = self.inodes.lock().get(nodeid);
                if let Some(inode) = inode {
                    Counters::add(&self.counters.entry_hits, 1);
                    return Ok(inode);
                }
            }
            None => {}
        }
        match self.op_lookup(who, parent.nodeid, name)? {
            Some(entry) if entry.is_negative() => {
                self.cache_name(parent, name, None, entry.entry_valid);
                Err(Error::Os(Errno::ENOENT))
            }
            Some(entry) => self.adopt(parent, name, &entry),
            None => {
                self.drop_name(parent, name);
                Err(Error::Os(Errno::ENOENT))
            }
        }
    }

    /// Takes over the entry of a reply: the inode, its attributes, its name.
    pub(crate) fn adopt(&self, parent: &Arc<Inode<R>>, name: &[u8], entry: &Entry) -> Result<Arc<Inode<R>>, Error> {
        let inode = self.adopt_inode(parent, entry)?;
        self.cache_name(parent, name, Some(entry.node), entry.entry_valid);
        Ok(inode)
    }

    /// Takes over the inode of an entry without a name, which was found or made in `parent`.
    pub(crate) fn adopt_inode(&self, parent: &Inode<R>, entry: &Entry) -> Result<Arc<Inode<R>>, Error> {
        let now = self.now();
        let (inode, replaced) = self.inodes.lock().insert(entry, parent.device, now);
        if let Some(replaced) = replaced {
            self.drop_mappings(&replaced);
        }
        let since = inode.size_changes();
        self.take_attr(&inode, &entry.attr, entry.attr_valid, since);
        self.trim_inodes();
        Ok(inode)
    }

    /// Uses attributes that came with a reply. `since`: see [`Inode::update_attr`].
    pub(crate) fn take_attr(&self, inode: &Arc<Inode<R>>, attr: &Attr, valid: Duration, since: u64) {
        if inode.update_attr(attr, valid, self.now(), since).is_some() {
            // The host cut the file: mappings past its end must go before anybody touches them.
            self.cut_mappings(inode, attr.size);
        }
    }

    /// The attributes, from the cache while the server vouches for them.
    pub(crate) fn attr(&self, who: Credentials, inode: &Arc<Inode<R>>, fh: Option<FileHandle>) -> Result<Attr, Error> {
        self.take_notices();
        let cached = inode.cached_attr();
        if self.now() < cached.valid_until {
            return Ok(cached.attr);
        }
        self.refresh_attr(who, inode, fh)
    }

    /// The attributes, from the server.
    pub(crate) fn refresh_attr(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        fh: Option<FileHandle>,
    ) -> Result<Attr, Error> {
        let since = inode.size_changes();
        let (attr, valid) = self.op_getattr(who, inode.nodeid, fh)?;
        self.take_attr(inode, &attr, valid, since);
        Ok(attr)
    }

    /// Refreshes attributes that nobody vouches for any more, but not more than once in [`ATTR_REFRESH`].
    pub(crate) fn refresh_attr_sometimes(
        &self,
        who: Credentials,
        inode: &Arc<Inode<R>>,
        fh: Option<FileHandle>,
    ) -> Result<(), Error> {
        self.take_notices();
        if inode.attr_is_old(self.now(), ATTR_REFRESH) {
            self.refresh_attr(who, inode, fh)?;
        }
        Ok(())
    }

    pub(crate) fn cache_name(&self, parent: &Inode<R>, name: &[u8], nodeid: Option<NodeId>, valid: Duration) {
        if valid.is_zero() && nodeid.is_none() {
            self.drop_name(parent, name);
            return;
        }
        // A name that nobody vouches for is kept all the same: when it is removed, it says which inode to let go.
        if self.names.load(Ordering::Relaxed) >= self.config.max_entries {
            // Full: this directory's names make room, which bounds the cache and needs no list of all names.
            let dropped = parent.forget_names();
            self.names.fetch_sub(dropped, Ordering::Relaxed);
            if dropped == 0 {
                return;
            }
        }
        if parent.cache_name(name, nodeid, self.now().saturating_add(valid)) {
            self.names.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn drop_name(&self, parent: &Inode<R>, name: &[u8]) {
        if parent.forget_name(name) {
            self.names.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets all cached names of a directory.
    pub(crate) fn drop_names(&self, parent: &Inode<R>) {
        let dropped = parent.forget_names();
        self.names.fetch_sub(dropped, Ordering::Relaxed);
    }

    /// Drops inodes that nobody holds while there are more than the configuration allows.
    fn trim_inodes(&self) {
        loop {
            let removed = {
                let mut inodes = self.inodes.lock();
                if inodes.len() <= self.config.max_inodes.max(1) {
                    return;
                }
                inodes.remove_any_unused(DROP_TRIES)
            };
            match removed {
                Some((inode, owed)) => self.let_go(&inode, owed),
                None => return,
            }
        }
    }

    /// Drops an inode that nobody holds, so that the host can free a file that is gone.
    pub(crate) fn drop_if_unused(&self, inode: Arc<Inode<R>>) {
        drop(self.keep_if_used(inode));
    }

    /// As [`Shared::drop_if_unused`]; gives the inode back if somebody else holds it.
    pub(crate) fn keep_if_used(&self, inode: Arc<Inode<R>>) -> Option<Arc<Inode<R>>> {
        let nodeid = inode.nodeid;
        drop(inode);
        let removed = {
            let mut inodes = self.inodes.lock();
            let Some(removed) = inodes.remove_unused(nodeid) else { return inodes.get(nodeid) };
            removed
        };
        let (inode, owed) = removed;
        self.let_go(&inode, owed);
        // At once: the server keeps the file's space until then.
        self.flush_forgets();
        None
    }

    fn let_go(&self, inode: &Arc<Inode<R>>, owed: u64) {
        self.drop_names(inode);
        self.drop_mappings(inode);
        self.owe_forget(inode.nodeid, owed);
    }

    /// Notes look-ups to give back; sends them when there are enough.
    pub(crate) fn owe_forget(&self, nodeid: NodeId, lookups: u64) {
        if lookups == 0 || nodeid == NodeId::ROOT {
            return;
        }
        let batch = {
            let mut owed = self.owed_forgets.lock();
            owed.push((nodeid, lookups));
            if owed.len() < FORGET_BATCH {
                return;
            }
            core::mem::take(&mut *owed)
        };
        self.send_forgets(&batch);
    }

    /// Sends all FORGETs that are owed.
    pub(crate) fn flush_forgets(&self) {
        let batch = core::mem::take(&mut *self.owed_forgets.lock());
        self.send_forgets(&batch);
    }

    fn send_forgets(&self, batch: &[(NodeId, u64)]) {
        // A node that is opened for somebody who gave up has to be released first.
        let opened = self.connection.abandoned_opens();
        let (later, batch): (Vec<_>, Vec<_>) = batch.iter().partition(|(node, _)| opened.contains(node));
        if !later.is_empty() {
            self.owed_forgets.lock().extend(later);
        }
        for some in batch.chunks(FORGET_BATCH) {
            if let Err(error) = self.op_forget(some) {
                log::warn!("virtio-fs: {} FORGETs were not sent: {error}", some.len());
            } else {
                Counters::add(&self.counters.forgets, some.len() as u64);
            }
        }
    }

    /// Records why DAX is not used any more, once.
    pub(crate) fn turn_dax_off(&self, why: DaxStatus) {
        let mut status = self.dax_status.lock();
        self.dax_active.store(false, Ordering::Release);
        if matches!(*status, DaxStatus::Active) {
            *status = why;
        }
    }

    pub(crate) fn is_dax_active(&self) -> bool {
        self.dax_active.load(Ordering::Acquire)
    }

    pub(crate) fn dax_status(&self) -> DaxStatus {
        self.dax_status.lock().clone()
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for Shared<R> {
    /// The last handle is gone: ends the session if nobody did.
    fn drop(&mut self) {
        match self.unmount() {
            Ok(()) | Err(Error::Unmounted) => {}
            Err(error) => log::warn!("virtio-fs: the session did not end well: {error}"),
        }
    }
}

fn bit(opcode: Opcode) -> u64 {
    1u64.checked_shl(opcode.0).unwrap_or(0)
}
