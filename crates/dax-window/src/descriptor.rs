//! One range's descriptor: 32 bytes that hold its state, its place in the tree and in one list.

/// "No range": the end of a list, an empty child, an empty bucket.
pub(crate) const NIL: u32 = u32::MAX;

/// What a range is. Exactly one of these at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// On the free list.
    Free,
    /// A set-up ticket owns it; the chunk's next visitors wait for that one.
    SettingUp,
    /// Usable.
    Mapped,
    /// Usable as it was (where the host replaces atomically) while a set-up ticket widens its rights or its length.
    Upgrading,
    /// A remove ticket owns it.
    Removing,
    /// The host may or may not have a mapping here: only an exact removal makes it free.
    Suspect,
    /// Never used again.
    Retired,
}

/// A range survives so many passes of the eviction hand after it was last visited.
pub(crate) const MAX_VISITS: u8 = 3;

pub(crate) const STATES: usize = 7;

/// Facts about a range that come and go within a state.
pub(crate) mod flag {
    /// The mapping permits stores.
    pub(crate) const WRITABLE: u16 = 1 << 0;
    /// Stores may have been made that no write-back has covered.
    pub(crate) const DIRTY: u16 = 1 << 1;
    /// The embedder has page-table entries to it.
    pub(crate) const INSTALLED: u16 = 1 << 2;
    /// Mapped ahead of a reader and not yet used.
    pub(crate) const AHEAD: u16 = 1 << 3;
    /// In the tree and in the hash index under its (file, chunk).
    pub(crate) const KEYED: u16 = 1 << 4;
    /// In the tree, with the index or without.
    pub(crate) const IN_TREE: u16 = KEYED | ASIDE;
    /// Mapped, but taken off the eviction queue: referenced, being written back, or being upgraded.
    pub(crate) const PARKED: u16 = 1 << 5;
    /// A write-back ticket owns it (it stays usable).
    pub(crate) const WRITEBACK: u16 = 1 << 6;
    /// Free, but the host may still have a mapping here, which a new one replaces.
    pub(crate) const UNCLEAN: u16 = 1 << 7;
    /// A request about it may still be executed at any time: retire it instead of freeing it.
    pub(crate) const DOOMED: u16 = 1 << 8;
    /// On the list of newcomers, which is evicted from its own end.
    pub(crate) const NEWCOMER: u16 = 1 << 10;
    /// The answer to a request about it that was given up is awaited.
    pub(crate) const LOST: u16 = 1 << 11;
    /// The answers to two such requests are awaited: an upgrade and a removal that was sent after it.
    pub(crate) const LOST_TWO: u16 = 1 << 13;
    /// Two requests about it were under way at once: no single answer says which of them the host carried out last.
    pub(crate) const MIXED: u16 = 1 << 14;
    /// Of a range that is doomed and being removed: the answer came that it waited for.
    pub(crate) const ANSWERED: u16 = 1 << 12;
    /// In the tree only: what keeps it is in use, but newcomers to its chunk get another range.
    pub(crate) const ASIDE: u16 = 1 << 15;
    /// Of a mapped range: it was not removed when it should have been, since the embedder has pages of it pinned. The bit is
    /// that of [`UNCLEAN`], which is a free range's.
    pub(crate) const PINNED: u16 = UNCLEAN;
    /// Of a range that is mapped, widened, removed or suspect: the host may have mapped more of it than can be used, so that all
    /// of it is removed. The bit is that of [`MIXED`], which is a retired range's.
    pub(crate) const LONGER: u16 = MIXED;
    /// Set up by a short access that was not part of a sequential run: its yield is what the guard watches.
    pub(crate) const RANDOM: u16 = 1 << 9;
}

/// One half of a range's memory, 32 bytes: what only the window itself reads, under its lock. Give it a slice of them beside the
/// [`crate::RangeEntry`]s, or let it take both from the heap.
///
/// A fresh one is [`Descriptor::new`]; what it holds is the window's business.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
pub struct Descriptor {
    pub(crate) child: [u32; 2],
    pub(crate) parent: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) refs: u32,
    /// What the guard remembers of chunks that hash here. Belongs to the guard, not to the range.
    pub(crate) ghost: u32,
    pub(crate) flags: u16,
    pub(crate) state: State,
    /// Which of its subtrees is the higher one.
    pub(crate) tilt: u8,
}

const _: () = assert!(size_of::<Descriptor>() == 32);

impl Descriptor {
    /// A range that is free and was never used.
    pub const fn new() -> Self {
        Self {
            child: [NIL; 2],
            parent: NIL,
            prev: NIL,
            next: NIL,
            refs: 0,
            ghost: 0,
            flags: 0,
            state: State::Free,
            tilt: 0,
        }
    }

    /// Its place among the ranges of one chunk in the tree: those set aside come first, by number.
    pub(crate) const fn rank(&self, i: u32) -> u32 {
        if self.flags & flag::ASIDE == 0 { NIL } else { i }
    }

    pub(crate) const fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(crate) const fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    pub(crate) const fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }
}

impl Default for Descriptor {
    fn default() -> Self {
        Self::new()
    }
}
