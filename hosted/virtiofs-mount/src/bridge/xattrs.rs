//! Extended attributes.

use fuse_proto::XattrFlags;
use fuser::{Errno, INodeNo, Request};

use super::state::State;
use crate::convert;

impl State {
    pub(super) fn xattr(&self, request: &Request, number: INodeNo, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.node(request, number)?.xattr(name).map_err(|error| convert::errno(&error))
    }

    /// The names, each with a NUL behind it.
    pub(super) fn xattr_names(&self, request: &Request, number: INodeNo) -> Result<Vec<u8>, Errno> {
        let names = self.node(request, number)?.xattr_names().map_err(|error| convert::errno(&error))?;
        Ok(names.into_iter().flat_map(|name| name.into_iter().chain([0])).collect())
    }

    pub(super) fn set_xattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), Errno> {
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        self.node(request, number)?.set_xattr(name, value, flags).map_err(|error| convert::errno(&error))
    }

    pub(super) fn remove_xattr(&self, request: &Request, number: INodeNo, name: &[u8]) -> Result<(), Errno> {
        self.node(request, number)?.remove_xattr(name).map_err(|error| convert::errno(&error))
    }
}
