//! What every request has in common.

use crate::{
    Context, DecodeError, EncodeError, Message, NodeId, Opcode, Protocol, ReplyError, ReplyHeader, ReplyMessage, Unique,
};

/// Whether a request has a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyRule {
    /// There is always one.
    Required,
    /// There may be none: `INTERRUPT` is answered only to refuse it, and some servers do not answer `DESTROY`. On virtio,
    /// the descriptors come back with a used length of zero.
    Optional,
    /// There never is one. On virtio, the descriptors come back with a used length of zero.
    Never,
}

/// The sizes that the body of a reply can have, in bytes, without the header of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplySize {
    /// The least.
    pub min: u32,
    /// The most: what a client makes room for.
    pub max: u32,
}

impl ReplySize {
    /// No body.
    pub const EMPTY: Self = Self::exactly(0);

    /// One size only.
    #[must_use]
    pub const fn exactly(size: usize) -> Self {
        Self { min: size as u32, max: size as u32 }
    }

    /// Any size up to this one.
    #[must_use]
    pub const fn up_to(max: u32) -> Self {
        Self { min: 0, max }
    }

    /// The most that the whole reply can have, with its header.
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        (self.max as usize).saturating_add(ReplyHeader::LEN)
    }

    /// Checks a body's length.
    ///
    /// # Errors
    /// [`DecodeError::Size`] if it is outside.
    pub fn check(self, opcode: Opcode, len: usize) -> Result<(), DecodeError> {
        let (min, max, have) = (u64::from(self.min), u64::from(self.max), len as u64);
        if (min..=max).contains(&have) {
            Ok(())
        } else {
            Err(DecodeError::Size { what: opcode.name().unwrap_or("reply"), min, max, have })
        }
    }
}

/// What a request looks like without its type: as much as it takes to send one and to check the reply, so that code for that
/// need not be there once for each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// What is asked for.
    pub opcode: Opcode,
    /// The inode it is about.
    pub node: NodeId,
    /// Whether there is a reply.
    pub rule: ReplyRule,
    /// The sizes that the reply's body can have.
    pub reply: ReplySize,
}

impl Shape {
    /// Checks a reply and gives its body, for [`Operation::decode_body`]. The parameters are those of
    /// [`Operation::decode`].
    ///
    /// # Errors
    /// As [`Operation::decode`], but for what is wrong inside the body.
    #[inline(never)]
    pub fn check<'r>(
        &self,
        protocol: &Protocol,
        unique: Unique,
        used: usize,
        head: &[u8],
        body: &'r [u8],
    ) -> Result<&'r [u8], ReplyError> {
        let body_len = check_reply(self.opcode, self.rule, protocol, unique, used, head)?;
        let have = body.len();
        let body = body.get(..body_len).ok_or(DecodeError::Truncated {
            what: "the buffer of the body",
            need: body_len as u64,
            have: have as u64,
        })?;
        let size = if used == 0 { ReplySize::EMPTY } else { self.reply };
        size.check(self.opcode, body_len)?;
        Ok(body)
    }
}

/// The body of a reply, as a server writes it.
pub trait ReplyBody {
    /// Adds the body to a reply that has its header already.
    ///
    /// # Errors
    /// What cannot be expressed.
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError>;
}

impl ReplyBody for () {
    fn write<'s>(&'s self, _: &Protocol, _: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl ReplyBody for &[u8] {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.set_data(self);
        Ok(())
    }
}

impl<'a> ReplyMessage<'a> {
    /// A reply that did what was asked. [`Operation::reply`](crate::Operation::reply) does the same and knows which body
    /// belongs to which request.
    ///
    /// # Errors
    /// What the body cannot express, or [`EncodeError::TooLong`].
    pub fn success<B: ReplyBody>(protocol: &Protocol, unique: Unique, body: &'a B) -> Result<Self, EncodeError> {
        Self::build(protocol.byte_order(), 0, unique, |reply| body.write(protocol, reply))
    }
}

/// A request: its code, its body and the shape of its reply.
///
/// A client [encodes](Self::encode) it and [decodes](Self::decode) what comes back; a server gets it from
/// [`Request::parse`](crate::Request::parse) and writes a [reply](Self::reply).
///
/// Implement it for operations that this crate does not know, with [`Layout`](crate::raw::Layout) for their structures.
pub trait Operation {
    /// What is asked for.
    const OPCODE: Opcode;

    /// Whether there is a reply.
    const REPLY: ReplyRule = ReplyRule::Required;

    /// The reply's body.
    type Reply<'r>: ReplyBody;

    /// The inode it is about, which stands in the header.
    fn node(&self) -> NodeId;

    /// Adds the body to a message that has its header already.
    ///
    /// # Errors
    /// What cannot be expressed.
    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError>;

    /// The sizes that the reply's body can have.
    fn reply_size(&self, protocol: &Protocol) -> ReplySize;

    /// Reads the body of a reply that did what was asked, and has one of the lengths of
    /// [`reply_size`](Self::reply_size).
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<Self::Reply<'r>, DecodeError>;

    /// What the request looks like without its type.
    fn shape(&self, protocol: &Protocol) -> Shape {
        Shape { opcode: Self::OPCODE, node: self.node(), rule: Self::REPLY, reply: self.reply_size(protocol) }
    }

    /// Makes the request ready to be sent.
    ///
    /// # Errors
    /// What cannot be expressed: a name that is none, a field out of range, a part that was not negotiated.
    fn encode(&self, protocol: &Protocol, unique: Unique, context: Context) -> Result<Message<'_>, EncodeError> {
        let mut message = Message::new(protocol.byte_order());
        self.write_body(protocol, &mut message)?;
        message.finish(Self::OPCODE, self.node(), unique, context)?;
        Ok(message)
    }

    /// Checks a reply and reads it.
    ///
    /// `used` is the length of the whole reply as the transport reports it (the used length of a virtio descriptor chain).
    /// `head` begins with the reply's header; `body` begins with its body, which may be in another buffer. What lies
    /// beyond the reply's length in either is not looked at.
    ///
    /// # Errors
    /// [`ReplyError::Refused`] with the server's error number, [`ReplyError::Invalid`] if this is no reply to the request.
    fn decode<'r>(
        &self,
        protocol: &Protocol,
        unique: Unique,
        used: usize,
        head: &[u8],
        body: &'r [u8],
    ) -> Result<Self::Reply<'r>, ReplyError> {
        let body = self.shape(protocol).check(protocol, unique, used, head, body)?;
        Ok(self.decode_body(protocol, body)?)
    }

    /// Checks a reply and reads it, header and body in one buffer.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_whole<'r>(
        &self,
        protocol: &Protocol,
        unique: Unique,
        used: usize,
        reply: &'r [u8],
    ) -> Result<Self::Reply<'r>, ReplyError> {
        let body = reply.get(ReplyHeader::LEN..).unwrap_or(&[]);
        self.decode(protocol, unique, used, reply, body)
    }

    /// Makes the reply to this request ready to be sent.
    ///
    /// # Errors
    /// [`EncodeError::NoReply`] if the request has none, or what the body cannot express.
    fn reply<'s, 'r>(
        &self,
        protocol: &Protocol,
        unique: Unique,
        body: &'s Self::Reply<'r>,
    ) -> Result<ReplyMessage<'s>, EncodeError> {
        if Self::REPLY == ReplyRule::Never {
            return Err(EncodeError::NoReply(Self::OPCODE));
        }
        ReplyMessage::success(protocol, unique, body)
    }
}

/// A request without the type of its reply: as much as it takes to send one. Every [`Operation`] is one, so that code which sends
/// requests need not be there once for each.
pub trait Encode {
    /// What the request looks like.
    fn describe(&self, protocol: &Protocol) -> Shape;

    /// Makes the request ready to be sent in `message`, which has nothing in it yet; see [`Message::new`]. `shape` is what
    /// [`describe`](Self::describe) says of it.
    ///
    /// # Errors
    /// As [`Operation::encode`].
    fn encode_to<'s>(
        &'s self,
        protocol: &Protocol,
        shape: &Shape,
        unique: Unique,
        context: Context,
        message: &mut Message<'s>,
    ) -> Result<(), EncodeError>;
}

impl<O: Operation> Encode for O {
    fn describe(&self, protocol: &Protocol) -> Shape {
        self.shape(protocol)
    }

    fn encode_to<'s>(
        &'s self,
        protocol: &Protocol,
        shape: &Shape,
        unique: Unique,
        context: Context,
        message: &mut Message<'s>,
    ) -> Result<(), EncodeError> {
        self.write_body(protocol, message)?;
        message.finish(shape.opcode, shape.node, unique, context)
    }
}

/// Checks a reply's header against the request, and gives the length of its body.
fn check_reply(
    opcode: Opcode,
    rule: ReplyRule,
    protocol: &Protocol,
    unique: Unique,
    used: usize,
    head: &[u8],
) -> Result<usize, ReplyError> {
    match rule {
        ReplyRule::Never if used != 0 => return Err(DecodeError::UnexpectedReply { opcode, used: used as u64 }.into()),
        ReplyRule::Never => return Ok(0),
        ReplyRule::Optional if used == 0 => return Ok(0),
        _ => {}
    }
    let header = ReplyHeader::parse(protocol.byte_order(), used, head)?;
    if header.unique != unique {
        return Err(DecodeError::Unique { expected: unique, found: header.unique }.into());
    }
    match header.error {
        Some(errno) => Err(ReplyError::Refused(errno)),
        None => Ok(header.body_len as usize),
    }
}
