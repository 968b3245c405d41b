//! The order of writeback, and what an inode still owes to the host.

use core::marker::PhantomData;

use crate::{DirtyRange, Errno, Error, FileRange};

/// What an inode owes to the host beyond the dirt of its mapped ranges, and whether a writeback is under way. Changed
/// under the inode's lock.
///
/// One writeback of an inode at a time: a second one that found nothing dirty, because the first is still writing it,
/// would report bytes as durable that are not.
#[derive(Debug, Default)]
pub struct InodeDirt {
    /// How often dirt without a bitmap arose.
    folded: u64,
    /// The newest of these that a FUSE_FSYNC has covered.
    synced: u64,
    last_ticket: u64,
    in_flight: Option<u64>,
}

impl InodeDirt {
    /// An inode that owes nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { folded: 0, synced: 0, last_ticket: 0, in_flight: None }
    }

    /// Notes a write that no mapped range keeps track of: a copy into the window, a FUSE_WRITE.
    pub fn wrote(&mut self) {
        self.folded += 1;
    }

    /// Takes over the dirt of a range that leaves the window, or is mapped to something else, so that the next fsync
    /// still sends FUSE_FSYNC. The range's pages are unmapped, and its lines flushed where the policy says so, before
    /// this.
    pub fn fold<S: AsRef<[u64]> + AsMut<[u64]>>(&mut self, range: &mut DirtyRange<S>) {
        if range.forget() {
            self.wrote();
        }
    }

    /// Whether there is dirt beyond that of the mapped ranges: a FUSE_FSYNC is owed even if none of them is dirty.
    #[must_use]
    pub const fn needs_fsync(&self) -> bool {
        self.folded != self.synced
    }

    /// Whether a writeback is under way.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Begins a writeback.
    ///
    /// # Errors
    /// [`Error::WritebackInFlight`]: wait for the other, then begin again.
    pub fn begin(&mut self) -> Result<Writeback<Collecting>, Error> {
        if self.in_flight.is_some() {
            return Err(Error::WritebackInFlight);
        }
        self.last_ticket += 1;
        self.in_flight = Some(self.last_ticket);
        Ok(Writeback {
            ticket: self.last_ticket,
            folded: self.folded,
            owed: self.needs_fsync(),
            pages: 0,
            phase: PhantomData,
        })
    }

    /// Ends a writeback with the reply to its FUSE_FSYNC, or with `Ok` where [`Writeback::needs_fsync`] said none is
    /// needed. Each range taken needs [`Settled::apply`].
    ///
    /// # Errors
    /// [`Error::StaleWriteback`] if it was abandoned; nothing changes then.
    pub fn finish(&mut self, writeback: Writeback<Flushed>, reply: Result<(), Errno>) -> Result<Settled, Error> {
        if self.in_flight != Some(writeback.ticket) {
            return Err(Error::StaleWriteback);
        }
        self.in_flight = None;
        if reply.is_ok() {
            self.synced = writeback.folded;
        }
        Ok(Settled { ticket: writeback.ticket, reply })
    }

    /// Gives up a writeback after its ticket was lost (dropped on an error path). What it took is dirty again.
    pub fn abandon(&mut self) {
        self.in_flight = None;
    }
}

/// First phase of a writeback: dirty pages are being collected.
#[derive(Debug)]
pub struct Collecting(());

/// Second phase: what was collected is write-protected everywhere.
#[derive(Debug)]
pub struct Protected(());

/// Last phase: lines are flushed where that is the policy; FUSE_FSYNC is to be sent.
#[derive(Debug)]
pub struct Flushed(());

/// A writeback of an inode under way. Move-only: its phases come in the one order that loses nothing.
///
/// 1. [`take`](Writeback::take) what is dirty, range by range, under the inode's lock. It is not dirty from here on, so
///    that a store that faults later is distinguished from those before.
/// 2. With no lock held, have [`DirtyRange::writing_runs`] (of a clone made under the lock) write-protected in every
///    address space, TLBs included ([`Mappings::write_protect`](crate::Mappings::write_protect)), inside a
///    [`Layout::change`](crate::Layout::change), so that no fault that was decided before installs its page after. Then
///    [`write_protected`](Writeback::write_protected). Done after the flush, it would lose stores in between.
/// 3. Flush the lines of those runs if the policy says so: [`flushed`](Writeback::flushed).
/// 4. Send one FUSE_FSYNC for all, then [`InodeDirt::finish`] and [`Settled::apply`] to each range: on success what was
///    taken is clean and nothing else; on an error it is dirty again.
///
/// ```
/// use fs_dax::{DirtyRange2M, FileRange, InodeDirt};
///
/// let mut inode = InodeDirt::new();
/// let mut range = DirtyRange2M::new_2m(FileRange::new(0, 2 << 20)?)?;
/// range.mark(FileRange::new(0x5000, 1)?)?;
///
/// let mut writeback = inode.begin()?;
/// assert_eq!(writeback.take(&mut range, FileRange::ALL), 1);
/// for run in range.writing_runs() {
///     assert_eq!(run, FileRange::new(0x5000, 0x1000)?); // write-protect this
/// }
/// let writeback = writeback.write_protected().flushed();
/// assert!(writeback.needs_fsync());
/// // ... FUSE_FSYNC is sent, and succeeds ...
/// let settled = inode.finish(writeback, Ok(()))?;
/// settled.apply(&mut range)?;
/// assert!(range.is_clean());
/// # Ok::<(), fs_dax::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a writeback that is dropped has to be abandoned"]
pub struct Writeback<P> {
    ticket: u64,
    folded: u64,
    owed: bool,
    pages: u64,
    phase: PhantomData<P>,
}

impl<P> Writeback<P> {
    /// How many pages were taken.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether FUSE_FSYNC has to be sent for what the mappings did: pages were taken, or the inode owed it already.
    /// An fsync(2) that has other reasons may send it anyway.
    #[must_use]
    pub const fn needs_fsync(&self) -> bool {
        self.owed || self.pages > 0
    }

    fn next<Q>(self) -> Writeback<Q> {
        let Self { ticket, folded, owed, pages, phase: PhantomData } = self;
        Writeback { ticket, folded, owed, pages, phase: PhantomData }
    }
}

impl Writeback<Collecting> {
    /// Takes what is dirty within `bytes` out of `range`. Gives how many pages.
    pub fn take<S: AsRef<[u64]> + AsMut<[u64]>>(&mut self, range: &mut DirtyRange<S>, bytes: FileRange) -> usize {
        let taken = range.take(bytes, self.ticket);
        self.pages += taken as u64;
        taken
    }

    /// States that all that was taken is write-protected in every address space and in every TLB.
    pub fn write_protected(self) -> Writeback<Protected> {
        self.next()
    }
}

impl Writeback<Protected> {
    /// States that the lines of all that was taken are flushed, or need not be.
    pub fn flushed(self) -> Writeback<Flushed> {
        self.next()
    }
}

/// The end of a writeback, to be applied to each range that took part.
#[derive(Debug)]
#[must_use = "each range has to learn the outcome"]
pub struct Settled {
    ticket: u64,
    reply: Result<(), Errno>,
}

impl Settled {
    /// What FUSE_FSYNC answered: the outcome of the whole writeback.
    pub const fn reply(&self) -> Result<(), Errno> {
        self.reply
    }

    /// Makes what was taken out of `range` clean, or dirty again if the writeback failed.
    ///
    /// # Errors
    /// [`Error::StaleWriteback`] if the range took no part in it; nothing changes then.
    pub fn apply<S: AsRef<[u64]> + AsMut<[u64]>>(&self, range: &mut DirtyRange<S>) -> Result<(), Error> {
        range.settle(self.ticket, self.reply.is_ok())
    }
}
