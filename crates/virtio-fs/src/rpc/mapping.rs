//! The requests that fill the window and empty it: SETUPMAPPING and REMOVEMAPPING. Offsets in the window are counted as the
//! device does.

use fuse_proto::{FileHandle, List, MapFlags, MappingRange, NodeId, ops};

use super::Rpc;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// A mapping of a piece of a file to a place of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) node: NodeId,
    /// Where it begins in the file, in bytes.
    pub(crate) file_offset: u64,
    pub(crate) len: u64,
    /// Where it begins in the device's window, in bytes.
    pub(crate) window_offset: u64,
    pub(crate) writable: bool,
}

impl Mapping {
    /// The request that sets it up.
    pub(crate) fn op(&self) -> ops::Setupmapping {
        let flags = if self.writable { MapFlags::READ | MapFlags::WRITE } else { MapFlags::READ };
        ops::Setupmapping {
            node: self.node,
            fh: FileHandle::NONE,
            foffset: self.file_offset,
            len: self.len,
            flags,
            moffset: self.window_offset,
        }
    }
}

/// Sets a mapping up and waits.
pub(crate) fn set_up<R: Lock>(rpc: &Rpc<R>, who: Credentials, mapping: &Mapping) -> Result<(), Error> {
    rpc.call(who, &mapping.op(), drop)
}

/// The request that removes mappings.
pub(crate) fn removal(ranges: &[MappingRange]) -> ops::Removemapping<'_> {
    ops::Removemapping { node: NodeId::ROOT, ranges: List::new(ranges) }
}

/// Removes mappings and waits.
pub(crate) fn remove<R: Lock>(rpc: &Rpc<R>, ranges: &[MappingRange]) -> Result<(), Error> {
    rpc.call(rpc.credentials(), &removal(ranges), drop)
}
