//! A request as bytes.

use fuse_proto::{Message, Operation, Protocol, ReplyHeader, ReplyRule, Shape, Unique};

use super::credentials::Credentials;
use super::reply::is_bulk;
use crate::Error;
use crate::queue::channel::RequestMeta;

/// The most parts of a request: header, body, names, data.
const MAX_PARTS: usize = 8;

/// A request, encoded, and how much room its reply needs.
pub(crate) struct Request<'a> {
    pub(crate) meta: RequestMeta,
    /// Header, body, names, data, in this order.
    pub(crate) parts: heapless::Vec<&'a [u8], MAX_PARTS>,
    /// Bytes of the reply that go to the slot's own buffer; 0 if there is no reply.
    pub(crate) reply_len: usize,
    /// Room for bulk data after them.
    pub(crate) reply_data: usize,
}

/// A request in its encoding, with a number of its own.
pub(crate) struct Encoded<'o> {
    pub(crate) unique: u64,
    pub(crate) shape: Shape,
    pub(crate) message: Message<'o>,
}

impl<'o> Encoded<'o> {
    /// Encodes a request with a number that no other one in flight has.
    // Else the encoding is on the stack twice.
    #[inline(always)]
    pub(super) fn new<O: Operation>(
        protocol: &Protocol,
        unique: u64,
        who: Credentials,
        op: &'o O,
    ) -> Result<Self, Error> {
        let message = op.encode(protocol, Unique(unique), who.into()).map_err(Error::Encode)?;
        Ok(Self { unique, shape: op.shape(protocol), message })
    }

    /// The request as a queue wants it.
    pub(crate) fn request(&self) -> Request<'_> {
        let reply = self.shape.reply.max as usize;
        let (reply_len, reply_data) = match self.shape.rule {
            ReplyRule::Never => (0, 0),
            _ if is_bulk(self.shape.reply.max) => (ReplyHeader::LEN, reply),
            _ => (ReplyHeader::LEN + reply, 0),
        };
        let meta = RequestMeta { opcode: self.shape.opcode, node: self.shape.node, unique: self.unique };
        Request { meta, parts: self.message.pieces().collect(), reply_len, reply_data }
    }
}
