//! `INIT`.

use crate::{
    DecodeError, EncodeError, InitFlags, Message, NodeId, Opcode, Operation, Protocol, ReplyBody, ReplyMessage,
    ReplySize,
    parse::{Input, ParseRequest},
    raw::{self, Layout},
};

/// Opens the connection: the first request, and the only one until it is answered.
///
/// Since 7.1; `max_readahead` and `flags` since 7.6, `flags2` since 7.36. Made by [`Negotiation`](crate::Negotiation).
/// Reply: [`InitReply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Major version that the client speaks.
    pub major: u32,
    /// Minor version that the client speaks.
    pub minor: u32,
    /// How far the client would read ahead, in bytes.
    pub max_readahead: u32,
    /// What the client offers.
    pub flags: InitFlags,
}

impl Operation for Init {
    const OPCODE: Opcode = Opcode::INIT;

    type Reply<'r> = InitReply;

    fn node(&self) -> NodeId {
        NodeId::NONE
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let (flags, flags2) = self.flags.to_words();
        message.fixed(raw::InitIn {
            major: self.major,
            minor: self.minor,
            max_readahead: self.max_readahead,
            flags,
            flags2,
            unused: [0; 11],
        })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize { min: InitReplySize::Minor4.bytes() as u32, max: InitReplySize::Full.bytes() as u32 }
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<InitReply, DecodeError> {
        let size = InitReplySize::from_bytes(body.len())?;
        let (raw, _) = raw::InitOut::read_compat(protocol.byte_order(), body, size.bytes())?;
        Ok(InitReply {
            major: raw.major,
            minor: raw.minor,
            max_readahead: raw.max_readahead,
            flags: InitFlags::from_words(raw.flags, raw.flags2),
            max_background: raw.max_background,
            congestion_threshold: raw.congestion_threshold,
            max_write: raw.max_write,
            time_gran: raw.time_gran,
            max_pages: raw.max_pages,
            map_alignment: raw.map_alignment,
            max_stack_depth: raw.max_stack_depth,
            request_timeout: raw.request_timeout,
            size,
        })
    }
}

impl<'a> ParseRequest<'a> for Init {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        // Versions before 7.6 send 8 bytes, those before 7.36 send 16.
        let len = match input.remaining() {
            8 => 8,
            16 => 16,
            _ => size_of::<raw::InitIn>(),
        };
        let raw: raw::InitIn = input.prefix(len)?;
        if raw.major > crate::MAJOR {
            // A later major version may have put anything here.
            input.rest();
        }
        Ok(Self {
            major: raw.major,
            minor: raw.minor,
            max_readahead: raw.max_readahead,
            flags: InitFlags::from_words(raw.flags, raw.flags2),
        })
    }
}

/// The sizes that the answer to `INIT` can have, by the client's minor version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InitReplySize {
    /// Up to 7.4: 8 bytes, the versions only.
    Minor4,
    /// Up to 7.22: 24 bytes, to `max_write`.
    Minor22,
    /// 64 bytes.
    #[default]
    Full,
}

impl InitReplySize {
    /// The size that a client of this minor version expects.
    #[must_use]
    pub const fn for_minor(minor: u32) -> Self {
        match minor {
            ..5 => Self::Minor4,
            5..23 => Self::Minor22,
            _ => Self::Full,
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Minor4 => 8,
            Self::Minor22 => 24,
            Self::Full => size_of::<raw::InitOut>(),
        }
    }

    fn from_bytes(len: usize) -> Result<Self, DecodeError> {
        [Self::Minor4, Self::Minor22, Self::Full].into_iter().find(|size| size.bytes() == len).ok_or(
            DecodeError::Size { what: raw::InitOut::NAME, min: 8, max: Self::Full.bytes() as u64, have: len as u64 },
        )
    }
}

/// What the server answers to `INIT` (`fuse_init_out`), as it stands there: [`Negotiation`](crate::Negotiation) makes
/// sense of it. 64 bytes, 24 for clients before 7.23, 8 for those before 7.5; fields that were not sent are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitReply {
    /// Major version that the server speaks.
    pub major: u32,
    /// Minor version that the server speaks.
    pub minor: u32,
    /// How far to read ahead, in bytes (7.6).
    pub max_readahead: u32,
    /// What the server grants (7.6; the upper half 7.36).
    pub flags: InitFlags,
    /// How many requests may be in flight in the background (7.13).
    pub max_background: u16,
    /// From how many on the server is congested (7.13).
    pub congestion_threshold: u16,
    /// The most data in one `WRITE`, in bytes (7.5).
    pub max_write: u32,
    /// Granularity of the server's times, in nanoseconds (7.23).
    pub time_gran: u32,
    /// The most pages in one request (7.28, with [`InitFlags::MAX_PAGES`]).
    pub max_pages: u16,
    /// Logarithm to base 2 of the alignment of mappings in bytes (7.31, with [`InitFlags::MAP_ALIGNMENT`]).
    pub map_alignment: u16,
    /// How many file systems may be stacked (7.40, with [`InitFlags::PASSTHROUGH`]).
    pub max_stack_depth: u32,
    /// How long a request may take, in seconds (7.43, with [`InitFlags::REQUEST_TIMEOUT`]).
    pub request_timeout: u16,
    /// The size of the answer.
    pub size: InitReplySize,
}

impl ReplyBody for InitReply {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        let (flags, flags2) = self.flags.to_words();
        let raw = raw::InitOut {
            major: self.major,
            minor: self.minor,
            max_readahead: self.max_readahead,
            flags,
            max_background: self.max_background,
            congestion_threshold: self.congestion_threshold,
            max_write: self.max_write,
            time_gran: self.time_gran,
            max_pages: self.max_pages,
            map_alignment: self.map_alignment,
            flags2,
            max_stack_depth: self.max_stack_depth,
            request_timeout: self.request_timeout,
            unused: [0; 11],
        };
        reply.fixed_prefix(raw, self.size.bytes())
    }
}
