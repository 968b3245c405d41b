//! The requests that fill the window and empty it.

use alloc::vec::Vec;

use dax_window::{RemoveEntry, SetupEntry};
use fuse_proto::{FileHandle, List, MapFlags, MappingRange, NodeId, ops};
use lock_api::RawMutex;

use crate::connection::Pending;
use crate::shared::Shared;
use crate::{Credentials, Error};

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// A window offset as the device counts it.
    fn device_offset(&self, window_offset: u64) -> u64 {
        self.dax.as_ref().map_or(window_offset, |dax| dax.memory.device_offset(window_offset))
    }

    fn setup_mapping_op(&self, node: NodeId, entry: &SetupEntry) -> ops::Setupmapping {
        let moffset = self.device_offset(entry.window_offset.0);
        Self::map_at_op(node, entry.file_offset.0, entry.len, moffset, entry.writable)
    }

    /// `moffset` is counted as the device does.
    fn map_at_op(node: NodeId, foffset: u64, len: u64, moffset: u64, writable: bool) -> ops::Setupmapping {
        let flags = if writable { MapFlags::READ | MapFlags::WRITE } else { MapFlags::READ };
        ops::Setupmapping { node, fh: FileHandle::NONE, foffset, len, flags, moffset }
    }

    pub(crate) fn op_map_at(
        &self,
        who: Credentials,
        node: NodeId,
        offset: u64,
        len: u64,
        moffset: u64,
        writable: bool,
    ) -> Result<(), Error> {
        self.call(who, &Self::map_at_op(node, offset, len, moffset, writable), drop)
    }

    pub(crate) fn op_remove_at(&self, moffset: u64, len: u64) -> Result<(), Error> {
        let ranges = [MappingRange::new(moffset, len)];
        let op = ops::Removemapping { node: NodeId::ROOT, ranges: List::new(&ranges) };
        self.call(self.config.credentials, &op, drop)
    }

    pub(crate) fn submit_setup_mapping(
        &self,
        channel: usize,
        who: Credentials,
        node: NodeId,
        entry: &SetupEntry,
        patient: bool,
    ) -> Result<Option<Pending<'_, R>>, Error> {
        self.connection.submit_op_or(&self.protocol, channel, who, &self.setup_mapping_op(node, entry), patient)
    }

    pub(crate) fn finish_setup_mapping(
        &self,
        node: NodeId,
        entry: &SetupEntry,
        pending: Pending<'_, R>,
    ) -> Result<(), Error> {
        let op = self.setup_mapping_op(node, entry);
        self.connection.finish_op(&self.protocol, &op, pending, &mut [], drop)
    }

    pub(crate) fn op_remove_mapping(&self, entries: &[RemoveEntry]) -> Result<(), Error> {
        let range = |entry: &RemoveEntry| MappingRange::new(self.device_offset(entry.window_offset.0), entry.len);
        let ranges: Vec<MappingRange> = entries.iter().map(range).collect();
        let op = ops::Removemapping { node: NodeId::ROOT, ranges: List::new(&ranges) };
        self.call(self.config.credentials, &op, drop)
    }
}
