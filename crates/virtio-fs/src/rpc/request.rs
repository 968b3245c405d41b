//! A request as bytes.

use fuse_proto::{Message, ReplyRule, Shape};

use super::reply::{head_len, is_bulk};
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

impl<'a> Request<'a> {
    /// The request numbered `unique`, encoded as `message`.
    pub(crate) fn new(shape: &Shape, unique: u64, message: &'a Message<'_>) -> Self {
        let (reply_len, reply_data) = match shape.rule {
            ReplyRule::Never => (0, 0),
            _ if is_bulk(shape.reply.max) => (head_len(shape), shape.reply.max as usize),
            _ => (head_len(shape), 0),
        };
        let meta = RequestMeta { opcode: shape.opcode, node: shape.node, unique };
        let mut parts = heapless::Vec::new();
        // There is room: a message has a head, five parts at most, and data.
        let _ = parts.push(message.head());
        message.parts().iter().for_each(|part| {
            let _ = parts.push(part);
        });
        if !message.data().is_empty() {
            let _ = parts.push(message.data());
        }
        Self { meta, parts, reply_len, reply_data }
    }
}
