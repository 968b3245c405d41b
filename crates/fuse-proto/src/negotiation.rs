//! Agreeing on version, flags and limits: `INIT` on both sides.

use core::time::Duration;

use thiserror::Error;

use crate::{
    ByteOrder, DEFAULT_MAX_PAGES, DecodeError, Errno, InitFlags, MAJOR, MIN_MAX_WRITE, MINOR, Protocol, ReplyError,
    ops::{Init, InitReply, InitReplySize},
};

/// The largest granularity of times that there is, in nanoseconds.
const MAX_TIME_GRAN: u32 = 1_000_000_000;

/// What a client can handle: the server's limits are cut to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most data in one `WRITE`, in bytes. Less than 4096 counts as 4096.
    pub max_write: u32,
    /// The most pages in one request. Zero counts as one.
    pub max_pages: u16,
}

impl Default for Limits {
    /// 1 MiB, 256 pages: what Linux starts with.
    fn default() -> Self {
        Self { max_write: 1 << 20, max_pages: 256 }
    }
}

/// What a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The highest minor version to speak, at most 45. Some servers refuse clients below 27 with `EPROTO`.
    pub minor: u32,
    /// How far to read ahead, in bytes.
    pub max_readahead: u32,
    /// What to offer. [`InitFlags::INIT_EXT`] is added where it is needed.
    pub flags: InitFlags,
    /// What to accept.
    pub limits: Limits,
}

impl Offer {
    /// An offer of these flags, with the highest minor version and the usual limits.
    #[must_use]
    pub fn new(flags: InitFlags) -> Self {
        Self { minor: MINOR, max_readahead: 128 << 10, flags, limits: Limits::default() }
    }

    fn flags(&self) -> InitFlags {
        if self.flags.bits() >> 32 != 0 { self.flags | InitFlags::INIT_EXT } else { self.flags }
    }
}

/// Why client and server cannot talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The server refused `INIT`; `EPROTO` if the client's version is too old for it.
    #[error("the server refused: {0}")]
    Refused(#[source] Errno),
    /// What came is no reply.
    #[error("invalid reply: {0}")]
    Invalid(#[from] DecodeError),
    /// The server speaks an earlier major version only, and expects another `INIT` with that one, which is not spoken
    /// here.
    #[error("the server speaks version {major}.{minor}, older than 7")]
    MajorTooOld {
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// The server answers with a later major version, though it should have fallen back to 7.
    #[error("the server speaks version {major}.{minor}, newer than 7, and did not fall back")]
    MajorTooNew {
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// The answer is shorter than its version calls for.
    #[error("the answer has {have} bytes, version 7.{minor} needs {need}")]
    Short {
        /// The minor version in force.
        minor: u32,
        /// What it needs, in bytes.
        need: usize,
        /// What came, in bytes.
        have: usize,
    },
    /// The granularity of times is more than a second.
    #[error("time_gran cannot be {0} ns")]
    TimeGranularity(
        /// Nanoseconds.
        u32,
    ),
    /// The alignment of mappings does not fit into an offset.
    #[error("map_alignment cannot be 2^{0} bytes")]
    MapAlignment(
        /// Logarithm to base 2 of bytes.
        u16,
    ),
}

/// A client that opens a connection: makes the `INIT` to send, then makes a [`Protocol`] of the answer.
///
/// ```
/// use fuse_proto::{Context, InitFlags, Negotiation, Offer, Operation, Protocol, Unique};
///
/// let negotiation = Negotiation::new(Offer::new(InitFlags::MAX_PAGES | InitFlags::MAP_ALIGNMENT));
/// let init = negotiation.init();
/// let message = init.encode(&Protocol::INITIAL, Unique(2), Context::default())?;
/// assert_eq!(message.len(), 104);
/// # Ok::<(), fuse_proto::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiation {
    offer: Offer,
}

impl Negotiation {
    /// A negotiation that begins with this offer.
    #[must_use]
    pub const fn new(offer: Offer) -> Self {
        Self { offer }
    }

    /// The request to send, first of all and alone, to be encoded and decoded with [`Protocol::INITIAL`].
    #[must_use]
    pub fn init(&self) -> Init {
        Init {
            major: MAJOR,
            minor: self.offer.minor.min(MINOR),
            max_readahead: self.offer.max_readahead,
            flags: self.offer.flags(),
        }
    }

    /// What is in force now that the server has answered.
    ///
    /// The minor version is the smaller of the two. Flags that were not offered are not in force, and listed apart as
    /// [`Protocol::unoffered`]. Limits are cut to the client's, and raised to what every connection has. Whether the
    /// server maps files is not decided here: neither the version nor [`InitFlags::MAP_ALIGNMENT`] says so.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn answer(self, reply: Result<InitReply, ReplyError>) -> Result<Protocol, NegotiationError> {
        let reply = same_major(reply)?;
        let init = self.init();
        let minor = reply.minor.min(init.minor);
        let (need, have) = (InitReplySize::for_minor(minor).bytes(), reply.size.bytes());
        if have < need {
            return Err(NegotiationError::Short { minor, need, have });
        }
        let granted = if minor >= 6 { reply.flags } else { InitFlags::empty() };
        let flags = granted & init.flags;
        let mut protocol = Protocol::new(minor, flags);
        protocol.unoffered = granted - init.flags;
        if minor >= 6 {
            protocol.max_readahead = reply.max_readahead.min(init.max_readahead);
        }
        if minor >= 5 && flags.contains(InitFlags::BIG_WRITES) {
            let most = self.offer.limits.max_write.max(MIN_MAX_WRITE);
            protocol.max_write = reply.max_write.clamp(MIN_MAX_WRITE, most);
        }
        if minor >= 13 {
            protocol.max_background = reply.max_background;
            protocol.congestion_threshold = reply.congestion_threshold;
        }
        if minor >= 23 {
            protocol.time_gran = match reply.time_gran {
                0 => 1,
                gran @ 1..=MAX_TIME_GRAN => gran,
                gran => return Err(NegotiationError::TimeGranularity(gran)),
            };
        }
        let most_pages = self.offer.limits.max_pages.max(1);
        protocol.max_pages = if flags.contains(InitFlags::MAX_PAGES) {
            reply.max_pages.clamp(1, most_pages)
        } else {
            DEFAULT_MAX_PAGES.min(most_pages)
        };
        if flags.contains(InitFlags::MAP_ALIGNMENT) {
            if reply.map_alignment >= 64 {
                return Err(NegotiationError::MapAlignment(reply.map_alignment));
            }
            protocol.map_alignment = Some(reply.map_alignment.into());
        }
        if flags.contains(InitFlags::PASSTHROUGH) {
            protocol.max_stack_depth = reply.max_stack_depth;
        }
        if flags.contains(InitFlags::REQUEST_TIMEOUT) && reply.request_timeout != 0 {
            protocol.request_timeout = Some(Duration::from_secs(reply.request_timeout.into()));
        }
        Ok(protocol)
    }
}

/// The server's answer, if it speaks the same major version.
fn same_major(reply: Result<InitReply, ReplyError>) -> Result<InitReply, NegotiationError> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(ReplyError::Refused(errno)) => return Err(NegotiationError::Refused(errno)),
        Err(ReplyError::Invalid(error)) => return Err(NegotiationError::Invalid(error)),
    };
    let InitReply { major, minor, .. } = reply;
    if major < MAJOR {
        return Err(NegotiationError::MajorTooOld { major, minor });
    }
    if major > MAJOR {
        return Err(NegotiationError::MajorTooNew { major, minor });
    }
    Ok(reply)
}

/// What a server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOffer {
    /// The highest minor version to speak, at most 45.
    pub minor: u32,
    /// The lowest minor version of a client to talk to.
    pub min_client_minor: u32,
    /// What to grant if it is offered.
    pub flags: InitFlags,
    /// How far to read ahead, in bytes; cut to the client's.
    pub max_readahead: u32,
    /// The most data in one `WRITE`, in bytes.
    pub max_write: u32,
    /// The most pages in one request, with [`InitFlags::MAX_PAGES`].
    pub max_pages: u16,
    /// How many requests may be in flight in the background.
    pub max_background: u16,
    /// From how many on the server is congested.
    pub congestion_threshold: u16,
    /// Granularity of times in nanoseconds.
    pub time_gran: u32,
    /// Logarithm to base 2 of the alignment of mappings in bytes, with [`InitFlags::MAP_ALIGNMENT`].
    pub map_alignment: u16,
    /// How many file systems may be stacked, with [`InitFlags::PASSTHROUGH`].
    pub max_stack_depth: u32,
    /// How long a request may take in seconds, with [`InitFlags::REQUEST_TIMEOUT`].
    pub request_timeout: u16,
}

impl ServerOffer {
    /// A server of the highest minor version that grants these flags, with limits as Linux starts with.
    #[must_use]
    pub const fn new(flags: InitFlags) -> Self {
        Self {
            minor: MINOR,
            min_client_minor: 0,
            flags,
            max_readahead: u32::MAX,
            max_write: 1 << 20,
            max_pages: 256,
            max_background: 16,
            congestion_threshold: 12,
            time_gran: 1,
            map_alignment: 12,
            max_stack_depth: 0,
            request_timeout: 0,
        }
    }
}

/// What a server does with an `INIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAnswer {
    /// Send this reply; the connection stands.
    Agreed {
        /// The reply.
        reply: InitReply,
        /// What is in force.
        protocol: Protocol,
    },
    /// Send this reply and wait for another `INIT`: the client speaks a later major version and has to fall back.
    Again(
        /// The reply.
        InitReply,
    ),
    /// Refuse with this error: the client is too old.
    Refused(
        /// The error.
        Errno,
    ),
}

/// A server that waits for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerNegotiation {
    offer: ServerOffer,
}

impl ServerNegotiation {
    /// A server that can do this.
    #[must_use]
    pub const fn new(offer: ServerOffer) -> Self {
        Self { offer }
    }

    /// What to do with an `INIT` that came in this byte order (see [`ByteOrder::detect`]).
    #[must_use]
    pub fn answer(&self, init: &Init, byte_order: ByteOrder) -> ServerAnswer {
        let offer = &self.offer;
        let own_minor = offer.minor.min(MINOR);
        if init.major > MAJOR {
            return ServerAnswer::Again(InitReply {
                major: MAJOR,
                minor: own_minor,
                size: InitReplySize::Minor4,
                ..InitReply::default()
            });
        }
        if init.major < MAJOR || init.minor < offer.min_client_minor {
            return ServerAnswer::Refused(Errno::EPROTO);
        }
        let reply = InitReply {
            major: MAJOR,
            minor: own_minor,
            max_readahead: offer.max_readahead.min(init.max_readahead),
            flags: offer.flags & init.flags,
            max_background: offer.max_background,
            congestion_threshold: offer.congestion_threshold,
            max_write: offer.max_write,
            time_gran: offer.time_gran,
            max_pages: offer.max_pages,
            map_alignment: offer.map_alignment,
            max_stack_depth: offer.max_stack_depth,
            request_timeout: offer.request_timeout,
            size: InitReplySize::for_minor(init.minor),
        };
        // The server's view is the client's of this very answer, without the client's limits.
        let as_client = Negotiation::new(Offer {
            minor: init.minor,
            max_readahead: init.max_readahead,
            flags: init.flags,
            limits: Limits { max_write: u32::MAX, max_pages: u16::MAX },
        });
        match as_client.answer(Ok(reply)) {
            Ok(protocol) => ServerAnswer::Agreed { reply, protocol: protocol.with_byte_order(byte_order) },
            // The server's own numbers are out of range: no client could take them.
            Err(_) => ServerAnswer::Refused(Errno::EINVAL),
        }
    }
}

#[cfg(test)]
mod tests;
