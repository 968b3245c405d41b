//! What the window counts, and why it was not used where it was not.

use dax_window::Bypass;

use crate::rpc::counters::Counter;

/// Accesses of files on a file system with a window that used READ or WRITE all the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BypassStats {
    /// The file is not for DAX by [`crate::DaxMode`].
    pub mode: u64,
    /// The server opened it for direct I/O, or it is no regular file.
    pub direct: u64,
    /// The last, partial page of a file on a host that maps whole pages only.
    pub tail: u64,
    /// A write that reaches past the end of the file.
    pub extending: u64,
    /// A write to a file with holes ([`crate::HoleStores`]).
    pub holes: u64,
    /// A write that takes the place of damaged pages ([`crate::File::mark_damaged`]).
    pub damaged: u64,
    /// The host refused to map the file.
    pub refused: u64,
    /// The thrash guard.
    pub guard: u64,
    /// Every range was in use.
    pub busy: u64,
    /// Other reasons of the window's.
    pub other: u64,
}

/// Why an access does not go through the window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    Mode,
    Direct,
    Tail,
    Extending,
    Holes,
    Damaged,
    Window(Bypass),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read_bytes: Counter,
    pub(crate) write_bytes: Counter,
    pub(crate) setup_mappings: Counter,
    pub(crate) setup_refused: Counter,
    pub(crate) remove_requests: Counter,
    pub(crate) removed_mappings: Counter,
    pub(crate) waits: Counter,
    pub(crate) protected_pages: Counter,
    pub(crate) touched_pages: Counter,
    mode: Counter,
    direct: Counter,
    tail: Counter,
    extending: Counter,
    holes: Counter,
    damaged: Counter,
    refused: Counter,
    guard: Counter,
    busy: Counter,
    other: Counter,
}

impl Counters {
    /// Counts an access that does not go through the window.
    pub(crate) fn bypass(&self, why: Reason) {
        let counter = match why {
            Reason::Mode => &self.mode,
            Reason::Direct => &self.direct,
            Reason::Tail => &self.tail,
            Reason::Extending => &self.extending,
            Reason::Holes => &self.holes,
            Reason::Damaged => &self.damaged,
            Reason::Window(Bypass::NotMappable) => &self.tail,
            Reason::Window(Bypass::Refused) => &self.refused,
            Reason::Window(Bypass::Guard) => &self.guard,
            Reason::Window(Bypass::Busy) => &self.busy,
            Reason::Window(_) => &self.other,
        };
        counter.add(1);
    }

    /// The numbers at this moment.
    pub(crate) fn bypass_stats(&self) -> BypassStats {
        BypassStats {
            mode: self.mode.get(),
            direct: self.direct.get(),
            tail: self.tail.get(),
            extending: self.extending.get(),
            holes: self.holes.get(),
            damaged: self.damaged.get(),
            refused: self.refused.get(),
            guard: self.guard.get(),
            busy: self.busy.get(),
            other: self.other.get(),
        }
    }
}
