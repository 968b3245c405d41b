//! The headers of requests and replies.

use crate::{ByteOrder, DecodeError, Errno, NodeId, Opcode, Unique, raw, raw::Layout};

/// Who a request is made for.
///
/// Linux sends all bits set for `uid` and `gid` in requests that make no inode when user ids are mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, or zero.
    pub pid: u32,
}

/// The header of a request (`fuse_in_header`), 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHeader {
    /// Length of the request in bytes, with this header.
    pub len: u32,
    /// What is asked for.
    pub opcode: Opcode,
    /// Ties the reply to the request.
    pub unique: Unique,
    /// The inode it is about.
    pub node: NodeId,
    /// Who it is made for.
    pub context: Context,
    /// Length of the extensions at the end of the request, in units of 8 bytes (7.38).
    pub extensions: u16,
}

impl RequestHeader {
    /// Size in bytes.
    pub const LEN: usize = size_of::<raw::InHeader>();

    /// Reads the header at the beginning of a request and checks that `bytes` are the whole of it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] for fewer bytes than a header, [`DecodeError::Length`] if its length is not that of
    /// `bytes`, [`DecodeError::Field`] if the extensions are longer than the body.
    pub fn parse(order: ByteOrder, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (raw, body) = raw::InHeader::read_prefix(order, bytes)?;
        if u64::from(raw.len) != bytes.len() as u64 {
            return Err(DecodeError::Length { len: raw.len, used: bytes.len() as u64 });
        }
        if usize::from(raw.total_extlen) * 8 > body.len() {
            return Err(DecodeError::Field { field: "fuse_in_header.total_extlen", value: raw.total_extlen.into() });
        }
        Ok(Self {
            len: raw.len,
            opcode: Opcode(raw.opcode),
            unique: Unique(raw.unique),
            node: NodeId(raw.nodeid),
            context: Context { uid: raw.uid, gid: raw.gid, pid: raw.pid },
            extensions: raw.total_extlen,
        })
    }

    pub(crate) fn to_raw(self) -> raw::InHeader {
        raw::InHeader {
            len: self.len,
            opcode: self.opcode.0,
            unique: self.unique.0,
            nodeid: self.node.0,
            uid: self.context.uid,
            gid: self.context.gid,
            pid: self.context.pid,
            total_extlen: self.extensions,
            padding: 0,
        }
    }
}

/// The header of a reply (`fuse_out_header`), 16 bytes, with its numbers checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyHeader {
    /// Ties the reply to its request.
    pub unique: Unique,
    /// Why the server refused; `None` if it did what was asked.
    pub error: Option<Errno>,
    /// Length of the body in bytes, without this header; zero if the server refused.
    pub body_len: u32,
}

impl ReplyHeader {
    /// Size in bytes.
    pub const LEN: usize = size_of::<raw::OutHeader>();

    /// Reads a reply's header, wherever its body is.
    ///
    /// `used` is the length of the whole reply in bytes as the transport reports it: the used length of a virtio
    /// descriptor chain. The header's own length must agree, so that nothing is taken for a reply that the device did not
    /// write. With a virtio queue, look for the request by [`ReplyHeader::unique`] among those in flight on that queue, or
    /// check that its descriptors are the ones that came back.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] for fewer than 16 bytes, [`DecodeError::Length`] if the lengths differ,
    /// [`DecodeError::ErrorRange`] and [`DecodeError::ErrorWithBody`] for an error that cannot be.
    pub fn parse(order: ByteOrder, used: usize, head: &[u8]) -> Result<Self, DecodeError> {
        if used < Self::LEN {
            return Err(DecodeError::Truncated {
                what: raw::OutHeader::NAME,
                need: Self::LEN as u64,
                have: used as u64,
            });
        }
        let (raw, _) = raw::OutHeader::read_prefix(order, head)?;
        if u64::from(raw.len) != used as u64 {
            return Err(DecodeError::Length { len: raw.len, used: used as u64 });
        }
        let error = match raw.error {
            0 => None,
            error => {
                let errno = error.checked_neg().and_then(Errno::new).ok_or(DecodeError::ErrorRange { error })?;
                if used != Self::LEN {
                    return Err(DecodeError::ErrorWithBody { errno, len: raw.len });
                }
                Some(errno)
            }
        };
        Ok(Self { unique: Unique(raw.unique), error, body_len: raw.len - Self::LEN as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn reply(len: u32, error: i32, unique: u64) -> [u8; 16] {
        raw::OutHeader { len, error, unique }.as_bytes().try_into().unwrap()
    }

    fn parse(used: usize, head: &[u8]) -> Result<ReplyHeader, DecodeError> {
        ReplyHeader::parse(ByteOrder::NATIVE, used, head)
    }

    #[test]
    fn a_reply_is_what_the_device_says_it_wrote() {
        assert_eq!(parse(24, &reply(24, 0, 7)), Ok(ReplyHeader { unique: Unique(7), error: None, body_len: 8 }));
        assert_eq!(parse(25, &reply(24, 0, 7)), Err(DecodeError::Length { len: 24, used: 25 }));
        assert_eq!(parse(16, &reply(24, 0, 7)), Err(DecodeError::Length { len: 24, used: 16 }));
        assert!(matches!(parse(15, &reply(15, 0, 7)), Err(DecodeError::Truncated { need: 16, have: 15, .. })));
        assert!(matches!(parse(0, &[]), Err(DecodeError::Truncated { .. })));
        assert!(matches!(parse(16, &[0; 15]), Err(DecodeError::Truncated { .. })));
    }

    #[test]
    fn errors_have_a_range_and_no_body() {
        assert_eq!(parse(16, &reply(16, -2, 7)).unwrap().error, Some(Errno::ENOENT));
        assert_eq!(parse(16, &reply(16, -4095, 7)).unwrap().error.unwrap().number(), 4095);
        for error in [1, -4096, i32::MIN, i32::MAX] {
            assert_eq!(parse(16, &reply(16, error, 7)), Err(DecodeError::ErrorRange { error }));
        }
        assert_eq!(parse(24, &reply(24, -2, 7)), Err(DecodeError::ErrorWithBody { errno: Errno::ENOENT, len: 24 }));
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let raw = raw::InHeader { len: 48, opcode: 2, unique: 9, nodeid: 3, total_extlen: 1, ..Default::default() };
        let mut bytes = [0; 48];
        bytes[..40].copy_from_slice(raw.as_bytes());
        let header = RequestHeader::parse(ByteOrder::NATIVE, &bytes).unwrap();
        assert_eq!((header.opcode, header.unique, header.node), (Opcode::FORGET, Unique(9), NodeId(3)));
        assert!(matches!(
            RequestHeader::parse(ByteOrder::NATIVE, &bytes[..47]),
            Err(DecodeError::Length { len: 48, used: 47 })
        ));
        assert!(matches!(RequestHeader::parse(ByteOrder::NATIVE, &bytes[..39]), Err(DecodeError::Truncated { .. })));
        bytes[36..38].copy_from_slice(&2_u16.to_ne_bytes());
        assert!(matches!(
            RequestHeader::parse(ByteOrder::NATIVE, &bytes),
            Err(DecodeError::Field { field: "fuse_in_header.total_extlen", value: 2 })
        ));
    }
}
