//! What files have besides bytes and names, and the file system around them.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use fuse_proto::{AccessMask, Attr, AttrReply, FileHandle, NodeId, Opcode, StatxMask, Timestamp, XattrFlags, ops};
use lock_api::RawMutex;

use crate::file::{SetAttr, SetTime};
use crate::shared::Shared;
use crate::{Credentials, Error};

/// Extended attributes and lists of their names larger than this are taken for a mistake (XATTR_SIZE_MAX).
const XATTR_MAX: usize = 64 << 10;

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    pub(crate) fn op_getattr(
        &self,
        who: Credentials,
        node: NodeId,
        fh: Option<FileHandle>,
    ) -> Result<(Attr, Duration), Error> {
        self.call(who, &ops::Getattr { node, fh }, |reply: AttrReply| (reply.attr, reply.attr_valid))
    }

    pub(crate) fn op_setattr(
        &self,
        who: Credentials,
        node: NodeId,
        fh: Option<FileHandle>,
        changes: &SetAttr,
    ) -> Result<(Attr, Duration), Error> {
        let mut op = ops::Setattr::new(node);
        if let Some(fh) = fh {
            op = op.fh(fh);
        }
        if let Some(size) = changes.size {
            op = op.size(size);
        }
        if let Some(mode) = changes.mode {
            op = op.mode(mode);
        }
        if let Some(uid) = changes.uid {
            op = op.uid(uid);
        }
        if let Some(gid) = changes.gid {
            op = op.gid(gid);
        }
        op = match changes.atime {
            None => op,
            Some(SetTime::Now) => op.atime_now(),
            Some(SetTime::At { secs, nanos }) => op.atime(Timestamp::new(secs as i64, nanos)),
        };
        op = match changes.mtime {
            None => op,
            Some(SetTime::Now) => op.mtime_now(),
            Some(SetTime::At { secs, nanos }) => op.mtime(Timestamp::new(secs as i64, nanos)),
        };
        self.call(who, &op, |reply: AttrReply| (reply.attr, reply.attr_valid))
    }

    pub(crate) fn op_access(&self, who: Credentials, node: NodeId, mask: AccessMask) -> Result<(), Error> {
        if self.is_unsupported(Opcode::ACCESS) {
            return Ok(());
        }
        self.tolerate_enosys(Opcode::ACCESS, self.call(who, &ops::Access { node, mask }, drop))
    }

    pub(crate) fn op_statfs(&self, who: Credentials, node: NodeId) -> Result<ops::StatfsReply, Error> {
        self.call(who, &ops::Statfs { node }, |reply| reply)
    }

    pub(crate) fn op_syncfs(&self, who: Credentials) -> Result<(), Error> {
        self.call_known(who, &ops::Syncfs { node: NodeId::ROOT }, &mut [], drop)
    }

    pub(crate) fn op_statx(&self, who: Credentials, node: NodeId, mask: u32) -> Result<ops::StatxReply, Error> {
        let op = ops::Statx { node, fh: None, sx_flags: 0, sx_mask: StatxMask::from_bits_retain(mask) };
        self.call_known(who, &op, &mut [], |reply| reply)
    }

    /// The value of an extended attribute, or the list of their names.
    pub(crate) fn xattr(&self, who: Credentials, node: NodeId, name: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; XATTR_MAX.min(self.connection.data_buffer_size())];
        let size = buffer.len() as u32;
        let len = match name {
            Some(name) => {
                let op = ops::Getxattr { node, name, size };
                self.call_known(who, &op, &mut buffer, |reply| xattr_len(&reply))?
            }
            None => {
                let op = ops::Listxattr { node, size };
                self.call_known(who, &op, &mut buffer, |reply| xattr_len(&reply))?
            }
        };
        buffer.truncate(len);
        Ok(buffer)
    }

    pub(crate) fn op_setxattr(
        &self,
        who: Credentials,
        node: NodeId,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Error> {
        let op = ops::Setxattr { node, name, value, flags, setxattr_flags: Default::default() };
        self.call_known(who, &op, &mut [], drop)
    }

    pub(crate) fn op_removexattr(&self, who: Credentials, node: NodeId, name: &[u8]) -> Result<(), Error> {
        self.call_known(who, &ops::Removexattr { node, name }, &mut [], drop)
    }
}

fn xattr_len(reply: &ops::XattrReply<'_>) -> usize {
    match reply {
        ops::XattrReply::Value(value) => value.len(),
        ops::XattrReply::Size(_) => 0,
    }
}
