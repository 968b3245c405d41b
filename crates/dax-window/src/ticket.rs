//! Move-only tickets: what the caller has to do, and how it went.

use crate::shared::SharedRef;
use crate::units::{FileOffset, RangeIndex, WindowOffset};
use crate::units::{MAX_AHEAD, MAX_BATCH};
use fs_dax::{FileKey, FileRange};

/// How a request to the server went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did it.
    Done,
    /// The server refused and changed nothing; its error number (positive).
    Refused(i32),
    /// The request is over, but whether it took effect is not known (a malformed reply, an interrupted batch).
    Unknown,
    /// The caller gave up and the request may still be executed at any time: the range is never used again. To use it again
    /// when the answer comes, give up by [`crate::Window::give_up_setup`] or [`crate::Window::give_up_remove`] instead.
    Lost,
}

/// Why a set-up is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupKind {
    /// Into a range that has no mapping.
    New,
    /// Over a mapping that is not used any more and not longer, on a host that replaces.
    Replace,
    /// Over this chunk's own mapping, to make it writable or longer.
    Upgrade,
}

/// One SETUPMAPPING to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupEntry {
    /// The range that is filled.
    pub range: RangeIndex,
    /// `moffset`: a multiple of the range size.
    pub window_offset: WindowOffset,
    /// `foffset`: a multiple of the range size.
    pub file_offset: FileOffset,
    /// `len` in bytes: a multiple of [`crate::PAGE_SIZE`], at most the range size.
    pub len: u64,
    /// Whether the flags are READ and WRITE, or READ alone.
    pub writable: bool,
    /// What is there before.
    pub kind: SetupKind,
}

/// A place in the window's table of tickets. Dropping it without having closed it tells the window so.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Claim {
    /// Whom to tell; `None` once it is closed.
    pub(crate) shared: Option<SharedRef>,
    pub(crate) slot: u8,
}

impl Claim {
    #[inline]
    pub(crate) fn belongs_to(&self, shared: &SharedRef) -> bool {
        self.shared.as_ref().is_some_and(|mine| core::ptr::eq::<crate::Shared>(&**mine, &**shared))
    }
}

impl Drop for Claim {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.drop_ticket(self.slot);
        }
    }
}

/// Mappings to set up: the wanted one first, then those ahead of the reader.
///
/// Go through them with [`crate::Window::setup_entry`], best before the lock is dropped, send them all in one submission,
/// and report each with [`crate::Window::report_setup`].
/// Dropped before every entry was reported, the rest counts as [`Outcome::Unknown`].
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "its ranges are reserved until the outcomes are reported"]
pub struct SetupTicket {
    pub(crate) claim: Claim,
    pub(crate) file: FileKey,
    ranges: [u32; MAX_AHEAD + 1],
    len: u8,
    pub(crate) writable: bool,
    /// One bit for each entry that was not reported yet.
    pending: u16,
    /// How much is mapped, in units of [`crate::PAGE_SIZE`], where an entry takes the place of another mapping, and else 0.
    replaced: [u32; MAX_AHEAD + 1],
    /// How much the only entry is to be widened to in units of [`crate::PAGE_SIZE`], or 0 when there is no mapping yet.
    pub(crate) widened: u32,
    /// The access that the first entry is for, or `None` when all are read-ahead.
    pub(crate) wanted: Option<Wanted>,
}

const _: () = assert!(MAX_AHEAD < u16::BITS as usize);

/// The access that a set-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) within: u64,
    pub(crate) len: u64,
    pub(crate) write: bool,
}

impl SetupTicket {
    /// A ticket without entries. All that are added are writable, or none is.
    #[inline]
    pub(crate) fn new(claim: Claim, file: FileKey, wanted: Option<Wanted>, writable: bool) -> Self {
        let none = [0; MAX_AHEAD + 1];
        Self { claim, file, ranges: none, len: 0, writable, pending: 0, replaced: none, widened: 0, wanted }
    }

    #[inline]
    pub(crate) fn push(&mut self, range: u32, replaced: u32) {
        self.ranges[usize::from(self.len)] = range;
        self.pending |= 1 << self.len;
        self.replaced[usize::from(self.len)] = replaced;
        self.len += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn range(&self, entry: usize) -> Option<u32> {
        self.ranges[..usize::from(self.len)].get(entry).copied()
    }

    /// Takes an entry's range as reported, unless it was before or does not exist.
    #[inline]
    pub(crate) fn take(&mut self, entry: usize) -> Option<u32> {
        let range = self.range(entry)?;
        let bit = 1 << entry;
        let pending = self.pending & bit != 0;
        self.pending &= !bit;
        pending.then_some(range)
    }

    pub(crate) fn kind(&self, entry: usize) -> SetupKind {
        match self.replaced(entry) {
            0 if self.widened > 0 => SetupKind::Upgrade,
            0 => SetupKind::New,
            _ => SetupKind::Replace,
        }
    }

    /// How much of an entry's range was mapped, in units of [`crate::PAGE_SIZE`], by what it takes the place of.
    pub(crate) fn replaced(&self, entry: usize) -> u32 {
        self.replaced.get(entry).copied().unwrap_or(0)
    }

    /// The file that the mapped bytes belong to.
    pub fn file(&self) -> FileKey {
        self.file
    }

    /// How many entries there are, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a ticket without entries is never handed out")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether nobody waits for it: all entries are read-ahead.
    pub fn is_ahead(&self) -> bool {
        self.wanted.is_none()
    }

    /// Whether this entry was not reported yet.
    pub fn is_pending(&self, entry: usize) -> bool {
        entry < usize::from(self.len) && self.pending & (1 << entry) != 0
    }

    /// Whether every entry was reported.
    pub fn is_complete(&self) -> bool {
        self.pending == 0
    }
}

/// A request that was given up and may still be answered: to be kept with it, and handed to [`crate::Window::late`] then.
///
/// Its ranges are out of use until then, and for good if it is dropped.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "the ranges of a request that was given up stay out of use until its answer is reported"]
pub struct Late {
    pub(crate) shared: SharedRef,
    /// The range, or the first of a chain of them.
    pub(crate) head: u32,
    pub(crate) kind: LateKind,
}

impl Late {
    pub(crate) fn belongs_to(&self, shared: &SharedRef) -> bool {
        core::ptr::eq::<crate::Shared>(&*self.shared, &**shared)
    }
}

/// What a request that was given up was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateKind {
    Setup {
        /// The length in pages of a mapping that was not used any more, which this one takes the place of; else 0.
        replaced: u32,
    },
    Upgrade {
        /// The length in pages that was asked for.
        pages: u32,
        writable: bool,
        /// Whether the host may have had more of the range before than was used.
        longer: bool,
    },
    Removal,
}

/// Ranges to remove: at most [`MAX_BATCH`], over all files.
///
/// Go through them with [`crate::Window::remove_entry`]; for each, take it out of the page tables if it is installed,
/// then write it back if it is dirty; then send one REMOVEMAPPING with all of them and report with
/// [`crate::Window::complete_remove`]. Dropped without, it counts as [`Outcome::Unknown`].
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "its ranges are out of use until the outcome is reported"]
pub struct RemoveTicket {
    pub(crate) claim: Claim,
    pub(crate) len: u16,
    pub(crate) retry: bool,
}

const _: () = assert!(MAX_BATCH <= u16::MAX as usize);

impl RemoveTicket {
    /// How many ranges, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an empty ticket does not exist")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether this is the second, exact attempt at a single range whose first removal or set-up went wrong: if this
    /// fails too, the range is retired (on a host that replaces: mapped over, unless it is removed since it is too long for
    /// that).
    pub fn is_retry(&self) -> bool {
        self.retry
    }
}

/// How far a walk over a ticket's ranges has come; starts with `Cursor::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(crate) CursorAt);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CursorAt {
    #[default]
    Start,
    After(u32),
}

/// One range to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveEntry {
    /// The range.
    pub range: RangeIndex,
    /// `moffset` of `FUSE_REMOVEMAPPING`.
    pub window_offset: WindowOffset,
    /// `len` of `FUSE_REMOVEMAPPING` in bytes: exactly what was mapped, or the most that may be where that is not known.
    pub len: u64,
    /// Whose bytes are there.
    pub file: FileKey,
    /// Which of them.
    pub file_offset: FileOffset,
    /// Whether page tables may refer to it: unmap first.
    pub installed: bool,
    /// Whether it holds stores that no write-back has covered: write back, or remember that the file needs an fsync.
    pub dirty: bool,
}

/// Dirty ranges of one file that are being written back. They stay usable and are not evicted meanwhile.
///
/// Dropped without [`crate::Window::end_writeback`], it counts as failed: the ranges are dirty again.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "its ranges cannot be evicted until the write-back is reported"]
pub struct WritebackTicket {
    pub(crate) claim: Claim,
    pub(crate) len: u16,
    pub(crate) rest: Option<FileOffset>,
}

impl WritebackTicket {
    /// How many ranges, at least 1, at most [`MAX_BATCH`].
    #[expect(clippy::len_without_is_empty, reason = "an empty ticket does not exist")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Where to begin again for the rest of the byte range, if it did not fit into one ticket.
    pub fn rest(&self) -> Option<FileOffset> {
        self.rest
    }
}

/// One range that is being written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritebackEntry {
    /// The range.
    pub range: RangeIndex,
    /// Where it is in the window.
    pub window_offset: WindowOffset,
    /// Its bytes in the file.
    pub file_offset: FileOffset,
    /// How many bytes are mapped.
    pub len: u64,
    /// Whether page tables may refer to it: write-protect before cleaning.
    pub installed: bool,
}

/// A byte range of a file into which nobody new is let: from [`crate::Window::begin_invalidate`] to
/// [`crate::Window::end_invalidate`]. Dropping it lets them in again.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
#[must_use = "dropping it thaws the bytes at once"]
pub struct Frozen {
    pub(crate) claim: Claim,
    pub(crate) file: FileKey,
    pub(crate) range: FileRange,
}

impl Frozen {
    /// Whose bytes are frozen.
    pub fn file(&self) -> FileKey {
        self.file
    }

    /// Which of them (everything that shares a range with these is frozen too).
    pub fn range(&self) -> FileRange {
        self.range
    }
}
