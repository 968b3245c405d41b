//! What is asked of the window, and what it answers.

use crate::shared::EventSeq;
use crate::ticket::{RemoveTicket, SetupTicket};
use crate::units::{FileOffset, RangeIndex, WindowOffset};
use fs_dax::FileKey;

/// What an access will do with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Only load.
    Read,
    /// Store, and perhaps load.
    Write,
}

/// What an access is for, which decides whether there is another way than the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A copy in or out (`read_at`, `write_at`): READ and WRITE requests can do it too.
    Copy,
    /// A view without a copy, kept for a while: there is no other way.
    Map,
    /// A page fault: there is no other way.
    Fault,
}

/// One question to [`crate::Window::access`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose bytes.
    pub file: FileKey,
    /// The first byte wanted.
    pub offset: FileOffset,
    /// How many bytes, at least 1. The answer may be for fewer: those that one range holds.
    pub len: u64,
    /// Loads or stores.
    pub intent: Intent,
    /// What for.
    pub purpose: Purpose,
    /// The end of what the host can map of this file now, in bytes. Whole pages below EOF on hosts that map nothing past
    /// it; EOF rounded up, or `u64::MAX`, on others. What lies beyond is never mapped.
    pub mappable_end: FileOffset,
    /// Whether a mapping that must be set up may be writable even for a read (the file is open for writing), which
    /// spares an upgrade later. Implied by [`Intent::Write`].
    pub writable: bool,
}

impl Request {
    /// A copy out of `len` bytes at `offset` in a file of which `mappable_end` bytes can be mapped.
    pub const fn read(file: FileKey, offset: u64, len: u64, mappable_end: u64) -> Self {
        Self {
            file,
            offset: FileOffset(offset),
            len,
            intent: Intent::Read,
            purpose: Purpose::Copy,
            mappable_end: FileOffset(mappable_end),
            writable: false,
        }
    }

    /// A copy in of `len` bytes at `offset` in a file of which `mappable_end` bytes can be mapped.
    pub const fn write(file: FileKey, offset: u64, len: u64, mappable_end: u64) -> Self {
        Self { intent: Intent::Write, writable: true, ..Self::read(file, offset, len, mappable_end) }
    }

    /// The same for another purpose.
    pub const fn purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// The same, saying whether a new mapping may be writable.
    pub const fn writable(self, writable: bool) -> Self {
        Self { writable, ..self }
    }

    pub(crate) fn wants_writable(&self) -> bool {
        self.writable || self.intent == Intent::Write
    }
}

/// What to do next. Every variant is to be acted upon; none blocks.
#[derive(Debug)]
#[must_use = "the answer holds a reference or a ticket"]
pub enum Access {
    /// The bytes are in the window: use them, then [`crate::Window::release`].
    Hit(RangeRef),
    /// Send the ticket's set-ups in one submission, report each outcome with
    /// [`crate::Window::complete_setup`] or [`crate::Window::report_setup`], and get a hold from there.
    Setup(SetupTicket),
    /// Remove the ticket's ranges, report with [`crate::Window::complete_remove`], and ask again under the same lock:
    /// then what was freed cannot go to someone else.
    Evict(RemoveTicket),
    /// The range is in transition. Retry when the event counter differs from the value in here, or give up.
    Wait(Wait),
    /// Use READ or WRITE requests. For a map or a fault this means that it can't be had now.
    Bypass(Bypass),
}

/// Until when to wait, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Ask again when [`crate::Window::event_seq`] is no longer this.
    pub seq: EventSeq,
    /// For whom.
    pub reason: WaitReason,
}

/// For whom one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitReason {
    /// Another caller is setting this chunk up or widening it.
    Setup,
    /// Another caller is removing this chunk, or ranges that will be free then.
    Removal,
    /// The bytes are frozen by a truncation or the like.
    Frozen,
    /// Others hold references that must go first.
    References,
    /// A write-back of these bytes is under way.
    Writeback,
    /// Too many tickets are out.
    Tickets,
}

impl WaitReason {
    pub(crate) const COUNT: usize = 6;
}

/// Why the window is not the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bypass {
    /// The bytes lie beyond what the host can map, or none are asked for.
    NotMappable,
    /// The server refused to map this file a short while ago.
    Refused,
    /// Mapping costs more than it brings for accesses of this kind.
    Guard,
    /// Every range is referenced, pinned or being worked on.
    Busy,
    /// No range can be used any more: all were retired.
    NoCapacity,
    /// The window is being torn down.
    Draining,
}

impl Bypass {
    pub(crate) const COUNT: usize = 6;
}

/// A reference to a range: as long as it exists the mapping stays. Give it back with [`crate::Window::release`], to the
/// window that it came from.
///
/// It has no `Drop`, since giving it back needs the window: one that is lost keeps its range in the window for good.
/// A driver wraps it into a guard of its own that knows the window's lock.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "a hold that is not released keeps its range for good"]
pub struct RangeRef {
    pub(crate) range: RangeIndex,
    pub(crate) window_offset: WindowOffset,
    pub(crate) file_offset: FileOffset,
    pub(crate) len: u64,
    pub(crate) writable: bool,
    pub(crate) ahead: bool,
}

impl RangeRef {
    /// Where the request's first byte is in the window.
    pub fn window_offset(&self) -> WindowOffset {
        self.window_offset
    }

    /// The request's first byte in the file.
    pub fn file_offset(&self) -> FileOffset {
        self.file_offset
    }

    /// How many bytes from there on may be used: at least 1, at most what was asked for.
    // A hold is never empty.
    #[expect(clippy::len_without_is_empty, reason = "a hold of no bytes does not exist")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether stores are permitted.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The range that is held.
    pub fn range(&self) -> RangeIndex {
        self.range
    }

    /// Whether the stream has come so far that [`crate::Window::read_ahead`] has something to set up.
    pub fn wants_read_ahead(&self) -> bool {
        self.ahead
    }
}

/// A long-lived reference (for DMA, a device, a view that a program keeps): like a hold, but counted apart, and nobody
/// is promised that it will go away soon.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "a pin that is not unpinned keeps its range for good"]
pub struct Pin(pub(crate) RangeRef);

impl Pin {
    /// The hold that was pinned.
    pub fn hold(&self) -> &RangeRef {
        &self.0
    }
}
