//! Copies between files on the host: freeze, change, thaw for the destination; the source gets no durable page meanwhile.

use fs_dax::{FileRange, MetadataChange};

use super::Volume;
use super::inode::Inode;
use super::late_change::{Change, SharedSource};
use super::mapped_bytes::Freeze;
use crate::rpc::handles::Handle;
use crate::rpc::in_flight::GivenUp;
use crate::rpc::space;
use crate::{Error, Lock};

impl<R: Lock> Volume<R> {
    /// Copies `len` bytes, as many as one request can have; returns how many.
    ///
    /// The host may leave a hole where the source has one, and may have both files share blocks, which then move with the next
    /// store to either. So it is with the destination as with a hole that is punched, and stores to the source fault again.
    pub(crate) fn copy_range(
        &self,
        (from, source, offset): (&Inode<R>, &Handle, u64),
        (to, destination, to_offset): (&Inode<R>, &Handle, u64),
        len: u64,
    ) -> Result<u64, Error> {
        let len = len.min(space::MAX_COPY);
        let mapped = self.inodes.mapped();
        let sharing = from.epoch.change(MetadataChange::CopyFileRange);
        {
            // A fault that found durable blocks there installs no page to store to.
            let _layout = from.layout.change();
            mapped.protect(from.key, FileRange::between(offset, offset.saturating_add(len)));
        }
        let _epoch = to.epoch.change(MetadataChange::CopyFileRange);
        let _layout = to.layout.change();
        let frozen =
            mapped.freeze(to.key, FileRange::between(to_offset, to_offset.saturating_add(len)), Freeze::Punch)?;
        let cuts = to.truncate_seq();
        to.note_change();
        let mut given_up = GivenUp::none();
        let places = ((source, offset), (destination, to_offset));
        let result = space::copy_file_range(&self.rpc, places.0, places.1, len, &mut given_up);
        if let Ok(copied) = &result
            && *copied > 0
        {
            to.grow_to(to_offset, to_offset.saturating_add(*copied), cuts);
        }
        if !matches!(result, Ok(0) | Err(Error::Os(_))) {
            Change::Copy { offset: to_offset }.note(to, cuts);
            self.inodes.note_changed(to);
        }
        to.note_change();
        to.expire_attr();
        let shared = given_up.unique().and_then(|_| self.known(from));
        let shared = shared.map(|inode| SharedSource { inode, change: sharing.outlast() });
        self.thaw_when_settled((to, frozen), Change::Copy { offset: to_offset }, given_up, shared);
        result
    }
}
