//! Attributes, from the cache while `attr_valid` holds.

use core::time::Duration;

use fuse_proto::{Attr, FileHandle, InitFlags};

use super::Volume;
use super::inode::Inode;
use crate::rpc::attributes::{self as requests, SetAttr, SetTime};
use crate::rpc::credentials::Credentials;
use crate::rpc::handles::Handle;
use crate::rpc::in_flight::GivenUp;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// The attributes, from the cache while `attr_valid` holds.
    pub(crate) fn attr(&self, who: Credentials, inode: &Inode<R>, fh: Option<FileHandle>) -> Result<Attr, Error> {
        self.take_notifications();
        if inode.owes_times() {
            return self.flushed_attr(who, inode, fh);
        }
        let cached = inode.cached_attr();
        if self.rpc.now() < cached.valid_until {
            return Ok(cached.attr);
        }
        self.refresh_attr(who, inode, fh)
    }

    /// The attributes, from the server.
    pub(crate) fn refresh_attr(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
    ) -> Result<Attr, Error> {
        if !inode.is_settled() {
            // The answer that says which size it is may have come.
            self.rpc.connection().process();
            self.settle_orphans();
        }
        let since = inode.changes();
        let mut fresh = (Attr::default(), Duration::ZERO);
        requests::getattr(&self.rpc, who, inode.nodeid, fh, &mut fresh)?;
        self.inodes.take_attr(inode, &fresh.0, fresh.1, since);
        Ok(fresh.0)
    }

    /// Changes attributes, but not the size.
    pub(super) fn change_attr(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
        changes: &SetAttr,
    ) -> Result<Attr, Error> {
        if changes.mtime.is_some() {
            // The time that is set counts, not that of stores before.
            inode.take_times();
        }
        let since = inode.changes();
        let fresh = requests::setattr(&self.rpc, who, inode.nodeid, fh, (changes, false), &mut GivenUp::none())?;
        self.inodes.take_attr(inode, &fresh.0, fresh.1, since);
        Ok(fresh.0)
    }

    /// Has the host's times show stores through the window, once for all of them: the host sees the first of them only.
    pub(crate) fn flush_times(&self, handle: &Handle, inode: &Inode<R>) {
        if !inode.take_times() {
            return;
        }
        let changes = SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() };
        if let Err(error) = self.change_attr(handle.who, inode, handle.fh, &changes) {
            log::debug!("virtio-fs: the times of a file that was stored to: {error}");
        }
    }

    /// The attributes after stores through the window.
    fn flushed_attr(&self, who: Credentials, inode: &Inode<R>, fh: Option<FileHandle>) -> Result<Attr, Error> {
        inode.take_times();
        let changes = SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() };
        // A caller who may not write gets the times that the host has.
        self.change_attr(who, inode, fh, &changes).or_else(|_| self.refresh_attr(who, inode, fh))
    }

    /// Clears the set-user-id and set-group-id bits before a file is changed, unless the caller is privileged.
    pub(crate) fn clear_set_id(&self, who: Credentials, inode: &Inode<R>) -> Result<(), Error> {
        let Some(changes) = self.set_id_to_clear(who, inode) else { return Ok(()) };
        // With the driver's own credentials: the caller may write without being the owner.
        self.change_attr(self.rpc.credentials(), inode, None, &changes).map(drop)
    }

    /// Whether the server is to take them away too with a request that changes a file: somebody on the host may have set them
    /// since they were last seen.
    pub(crate) fn kills_set_id(&self, who: Credentials, inode: &Inode<R>) -> bool {
        // Of a group that may not run it the bit means something else, and hosts take that too.
        who.uid != 0 && self.rpc.has(InitFlags::HANDLE_KILLPRIV_V2) && !inode.has_lock_mark()
    }

    /// The change that [`Volume::clear_set_id`] makes, if there is one to make.
    pub(crate) fn set_id_to_clear(&self, who: Credentials, inode: &Inode<R>) -> Option<SetAttr> {
        let mode = inode.mode_without_set_id().filter(|_| who.uid != 0)?;
        Some(SetAttr { mode: Some(mode), ..SetAttr::default() })
    }

    /// Refreshes attributes after `attr_valid` has ended, but not more than once in
    /// [`REFRESH`](super::inode::REFRESH).
    pub(crate) fn refresh_attr_sometimes(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
    ) -> Result<(), Error> {
        self.take_notifications();
        if inode.attr_is_old(self.rpc.now()) {
            self.refresh_attr(who, inode, fh)?;
        }
        Ok(())
    }
}
