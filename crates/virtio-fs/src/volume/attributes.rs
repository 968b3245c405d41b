//! Attributes, from the cache while the server vouches for them.

use core::time::Duration;

use fuse_proto::{Attr, FileHandle};

use super::Volume;
use super::inode::Inode;
use crate::rpc::attributes as requests;
use crate::rpc::credentials::Credentials;
use crate::{Error, Lock};

/// Attributes are fetched again no more often than this for a read, whatever the server says.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);

impl<R: Lock> Volume<R> {
    /// The attributes, from the cache while `attr_valid` holds.
    pub(crate) fn attr(&self, who: Credentials, inode: &Inode<R>, fh: Option<FileHandle>) -> Result<Attr, Error> {
        self.take_notifications();
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
        let since = inode.size_changes();
        let (attr, valid) = requests::getattr(&self.rpc, who, inode.nodeid, fh)?;
        self.inodes.take_attr(inode, &attr, valid, since);
        Ok(attr)
    }

    /// Refreshes attributes that the server does not vouch for any more, but not more than once in [`REFRESH`].
    pub(crate) fn refresh_attr_sometimes(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
    ) -> Result<(), Error> {
        self.take_notifications();
        if inode.attr_is_old(self.rpc.now(), REFRESH) {
            self.refresh_attr(who, inode, fh)?;
        }
        Ok(())
    }
}
