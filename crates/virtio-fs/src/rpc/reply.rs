//! From bytes that the device wrote to the reply of an operation.

use fuse_proto::{DecodeError, Protocol, ReplyHeader, Shape, Unique};

use crate::Error;
use crate::queue::channel::REPLY_BYTES;

/// A header and the fixed body of every reply but those to STATX and the like.
pub(super) const SHORT_HEAD: usize = 176;
/// The largest reply with a structure as its body, not bulk data: it fits the slot's own buffer.
const SMALL: usize = REPLY_BYTES - ReplyHeader::LEN;

/// A reply as bytes, copied out of memory that the device can reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'h> {
    /// Bytes that the device says it wrote.
    pub(crate) written: usize,
    /// Header and fixed body.
    pub(crate) head: &'h [u8],
    /// Bytes of bulk data copied to the caller's buffer.
    pub(crate) data_len: usize,
}

/// What follows the header in the first bytes of a reply.
pub(crate) fn small_body(head: &[u8]) -> &[u8] {
    head.get(ReplyHeader::LEN..).unwrap_or(&[])
}

/// Whether the body of a reply is bulk data.
pub(crate) fn is_bulk(reply_max: u32) -> bool {
    reply_max as usize > SMALL
}

/// How many of a reply's first bytes are wanted apart from bulk data.
pub(super) fn head_len(shape: &Shape) -> usize {
    let max = shape.reply.max;
    ReplyHeader::LEN + if is_bulk(max) { 0 } else { max as usize }
}

/// Has `decode` read the body of a reply; bulk data is in `data` already.
pub(super) fn read_reply(
    protocol: &Protocol,
    shape: &Shape,
    unique: Unique,
    received: &Received<'_>,
    data: &mut [u8],
    decode: &mut dyn FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), Error> {
    let body = body(protocol, shape, unique, received, data)?;
    decode(body).map_err(|error| Error::of_reply(shape.opcode, error.into()))
}

/// The body of a reply of any kind, checked as far as that needs not know which.
fn body<'a>(
    protocol: &Protocol,
    shape: &Shape,
    unique: Unique,
    received: &Received<'a>,
    data: &'a mut [u8],
) -> Result<&'a [u8], Error> {
    let body = if is_bulk(shape.reply.max) {
        &data[..received.data_len]
    } else {
        let small = small_body(received.head);
        // Data so small that it came with the header: the caller finds it where it looks for data.
        let len = small.len().min(data.len());
        data[..len].copy_from_slice(&small[..len]);
        small
    };
    let checked = shape.check(protocol, unique, received.written, received.head, body);
    checked.map_err(|error| Error::of_reply(shape.opcode, error))
}
