//! What changes a file's size or takes bytes away from it: freeze, change, thaw.

use fs_dax::{FileRange, MetadataChange};
use fuse_proto::{Attr, Errno, FallocateMode, FileHandle};

use super::Volume;
use super::inode::Inode;
use super::late_change::{Change, MOVES, TAKES};
use super::mapped_bytes::Freeze;
use crate::rpc::attributes::{self as requests, SetAttr};
use crate::rpc::credentials::Credentials;
use crate::rpc::handles::Handle;
use crate::rpc::in_flight::GivenUp;
use crate::rpc::space;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Carries out something that cuts the file to `size`: nothing past it is mapped meanwhile, nor before the answer is known of
    /// a request that comes into what `change` is given. Returns with it what
    /// [`Inode::changes`] said when it was done.
    pub(crate) fn changing_size<T>(
        &self,
        inode: &Inode<R>,
        size: u64,
        change: impl FnOnce(&mut GivenUp<R>) -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        self.check_alive(inode)?;
        // Private copies are installed with no reference to the window: they learn from the layout that the file was cut.
        let _layout = inode.layout.change();
        let _epoch = inode.epoch.change(MetadataChange::SizeChange);
        let mapped = self.inodes.mapped();
        let cut = FileRange::between(size, u64::MAX);
        let frozen = mapped.freeze(inode.key, cut, Freeze::Cut)?;
        inode.note_change();
        inode.note_truncate();
        let mut given_up = GivenUp::none();
        let result = change(&mut given_up);
        if result.is_ok() {
            // Before anybody is let in again: whoever comes first must not go by the old size.
            inode.set_size(size);
            mapped.take_copies(inode.key, cut);
        }
        inode.note_truncate();
        inode.note_change();
        inode.expire_attr();
        let since = inode.changes();
        self.thaw_when_settled((inode, frozen), Change::Size(size), given_up, None);
        result.map(|value| (value, since))
    }

    /// Cuts or stretches a file.
    pub(crate) fn set_size(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
        size: u64,
    ) -> Result<(), Error> {
        self.set_attr(who, inode, fh, &SetAttr { size: Some(size), ..SetAttr::default() }).map(drop)
    }

    /// Asks the server for another size, within [`Volume::changing_size`].
    pub(crate) fn send_size(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
        size: u64,
        given_up: &mut GivenUp<R>,
    ) -> Result<(), Error> {
        let size = SetAttr { size: Some(size), ..SetAttr::default() };
        let kill = self.kills_set_id(who, inode);
        requests::setattr(&self.rpc, who, inode.nodeid, fh, (&size, kill), given_up).map(drop)
    }

    /// Changes attributes.
    pub(crate) fn set_attr(
        &self,
        who: Credentials,
        inode: &Inode<R>,
        fh: Option<FileHandle>,
        changes: &SetAttr,
    ) -> Result<Attr, Error> {
        let Some(size) = changes.size else {
            return self.change_attr(who, inode, fh, changes);
        };
        if i64::try_from(size).is_err() {
            return Err(Error::refused(Errno::EFBIG, "a size past the largest offset"));
        }
        self.clear_set_id(who, inode)?;
        if changes.mtime.is_some() {
            // The time that is set counts, not that of stores before.
            inode.take_times();
        }
        let changes = (changes, self.kills_set_id(who, inode));
        let send = |given_up: &mut GivenUp<R>| requests::setattr(&self.rpc, who, inode.nodeid, fh, changes, given_up);
        let (fresh, since) = self.changing_size(inode, size, send)?;
        self.inodes.take_attr(inode, &fresh.0, fresh.1, since);
        Ok(fresh.0)
    }

    /// Allocates, punches, zeroes, collapses or inserts bytes. Returns whether bytes moved.
    pub(crate) fn allocate(
        &self,
        inode: &Inode<R>,
        handle: &Handle,
        mode: FallocateMode,
        offset: u64,
        len: u64,
    ) -> Result<bool, Error> {
        self.check_alive(inode)?;
        self.clear_set_id(handle.who, inode)?;
        let end = offset
            .checked_add(len)
            .filter(|&end| len > 0 && i64::try_from(end).is_ok())
            .ok_or(Error::refused(Errno::EINVAL, "an empty range or one past the largest offset"))?;
        let moves = mode.intersects(MOVES);
        let takes = mode.intersects(TAKES);
        let kind = if moves || takes { MetadataChange::Deallocate } else { MetadataChange::Allocate };
        let _epoch = inode.epoch.change(kind);
        let _layout = (moves || takes).then(|| inode.layout.change());
        let mapped = self.inodes.mapped();
        let rest = FileRange::between(offset, u64::MAX);
        if moves && inode.damage.first_in(rest).is_some() {
            return Err(Error::refused(Errno::EIO, "damaged pages cannot be moved"));
        }
        let frozen = if moves {
            mapped.freeze(inode.key, rest, Freeze::Cut)?
        } else if takes {
            // The host keeps mappings coherent with a hole: they stay, nobody may be in them, page tables let go.
            mapped.freeze(inode.key, FileRange::between(offset, end), Freeze::Punch)?
        } else {
            None
        };
        let cuts = inode.truncate_seq();
        inode.note_change();
        if moves {
            inode.note_truncate();
        }
        let change = Change::Allocate { mode, offset, len };
        let mut given_up = GivenUp::none();
        let result = space::fallocate_keeping(&self.rpc, handle, mode, offset, len, &mut given_up);
        if result.is_ok() {
            if moves {
                mapped.take_copies(inode.key, rest);
            }
            change.note(inode, cuts);
        }
        if moves {
            inode.note_truncate();
        }
        inode.note_change();
        inode.expire_attr();
        self.thaw_when_settled((inode, frozen), change, given_up, None);
        result.map(|()| moves)
    }
}
