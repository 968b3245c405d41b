//! What is in force on a connection.

use core::time::Duration;

use crate::{ByteOrder, InitFlags};

/// The major version that is spoken here.
pub const MAJOR: u32 = 7;

/// The highest minor version that is spoken here: Linux 6.18 to 7.2.
pub const MINOR: u32 = 45;

/// The largest write of a connection without [`InitFlags::BIG_WRITES`], in bytes, and the least that a server can grant.
pub const MIN_MAX_WRITE: u32 = 4096;

/// The number of pages in a request without [`InitFlags::MAX_PAGES`].
pub const DEFAULT_MAX_PAGES: u16 = 32;

/// What client and server agreed on: the version, and with it the sizes of messages, the flags and the limits.
///
/// A client gets one from [`Negotiation`](crate::Negotiation), a server from
/// [`ServerNegotiation`](crate::ServerNegotiation). Tools that have no `INIT` to look at make their own with
/// [`Protocol::new`]. `INIT` itself reads and writes the same with every `Protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub(crate) byte_order: ByteOrder,
    pub(crate) minor: u32,
    pub(crate) flags: InitFlags,
    pub(crate) unoffered: InitFlags,
    pub(crate) max_readahead: u32,
    pub(crate) max_write: u32,
    pub(crate) max_pages: u16,
    pub(crate) max_background: u16,
    pub(crate) congestion_threshold: u16,
    pub(crate) time_gran: u32,
    pub(crate) map_alignment: Option<u32>,
    pub(crate) max_stack_depth: u32,
    pub(crate) request_timeout: Option<Duration>,
}

impl Protocol {
    /// What holds before `INIT` was answered: the highest version, no flags, the smallest limits, native byte order.
    pub const INITIAL: Self = Self::new(MINOR, InitFlags::empty());

    /// A connection of version 7.`minor` (at most 7.45) with these flags, the smallest limits and native byte order.
    #[must_use]
    pub const fn new(minor: u32, flags: InitFlags) -> Self {
        Self {
            byte_order: ByteOrder::NATIVE,
            minor: if minor > MINOR { MINOR } else { minor },
            flags,
            unoffered: InitFlags::empty(),
            max_readahead: 0,
            max_write: MIN_MAX_WRITE,
            max_pages: DEFAULT_MAX_PAGES,
            max_background: 0,
            congestion_threshold: 0,
            time_gran: 1,
            map_alignment: None,
            max_stack_depth: 0,
            request_timeout: None,
        }
    }

    /// The same with another byte order, for servers and tools on a machine that is not the client's.
    #[must_use]
    pub const fn with_byte_order(mut self, byte_order: ByteOrder) -> Self {
        self.byte_order = byte_order;
        self
    }

    /// The order of the bytes in messages.
    #[must_use]
    pub const fn byte_order(&self) -> ByteOrder {
        self.byte_order
    }

    /// The minor version in force: the smaller of the two sides'.
    #[must_use]
    pub const fn minor(&self) -> u32 {
        self.minor
    }

    /// The flags in force: offered by the client and granted by the server.
    #[must_use]
    pub const fn flags(&self) -> InitFlags {
        self.flags
    }

    /// Whether all of these flags are in force.
    #[must_use]
    pub const fn has(&self, flags: InitFlags) -> bool {
        self.flags.contains(flags)
    }

    /// What the server granted though it was not offered. None of it is in force.
    #[must_use]
    pub const fn unoffered(&self) -> InitFlags {
        self.unoffered
    }

    /// How far to read ahead, in bytes.
    #[must_use]
    pub const fn max_readahead(&self) -> u32 {
        self.max_readahead
    }

    /// The most data in one `WRITE`, in bytes; at least 4096.
    #[must_use]
    pub const fn max_write(&self) -> u32 {
        self.max_write
    }

    /// The most pages of data in one request; at least 1.
    #[must_use]
    pub const fn max_pages(&self) -> u16 {
        self.max_pages
    }

    /// How many requests may be in flight in the background; zero if the server did not say.
    #[must_use]
    pub const fn max_background(&self) -> u16 {
        self.max_background
    }

    /// From how many requests in the background on the server counts as congested; zero if it did not say.
    #[must_use]
    pub const fn congestion_threshold(&self) -> u16 {
        self.congestion_threshold
    }

    /// The granularity of the server's times, in nanoseconds: 1 to 1 000 000 000.
    #[must_use]
    pub const fn time_gran(&self) -> u32 {
        self.time_gran
    }

    /// The alignment of file offsets and window offsets in `SETUPMAPPING`, as the logarithm to base 2 of bytes, below 64.
    /// `None` if the server did not say, as most do not; that says nothing about whether it maps.
    #[must_use]
    pub const fn map_alignment(&self) -> Option<u32> {
        self.map_alignment
    }

    /// [`map_alignment`](Self::map_alignment) in bytes.
    #[must_use]
    pub const fn map_alignment_bytes(&self) -> Option<u64> {
        match self.map_alignment {
            Some(shift) => 1_u64.checked_shl(shift),
            None => None,
        }
    }

    /// How many file systems may be stacked on this one, with [`InitFlags::PASSTHROUGH`]; otherwise zero.
    #[must_use]
    pub const fn max_stack_depth(&self) -> u32 {
        self.max_stack_depth
    }

    /// How long the server lets a request take before it counts as lost; `None` if it sets no limit.
    #[must_use]
    pub const fn request_timeout(&self) -> Option<Duration> {
        self.request_timeout
    }
}
