//! Following the log: what the master added since the last time.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use fs_dax::{FileKey, FileRange, Mappings, SharedMemory, UnmapCause};
use lock_api::RawMutex;

use super::state::{Inner, Mount, Role, State};
use crate::layout::{Entry, MAX_ENTRY_LEN};
use crate::master::read_counters;
use crate::replay::{forget, read_entry, read_superblock};
use crate::{AppendError, Error, Finding, Flaw, Place};

/// What following the log brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Followed {
    /// How many entries were taken over.
    pub taken: u64,
    /// How many entries were whole but wrong, and skipped.
    pub refused: u64,
    /// Whether there is more than the limit allowed.
    pub more: bool,
    /// The first published entry that is not whole yet; it is read again the next time.
    pub torn: Option<Finding>,
}

impl<M: SharedMemory, L: RawMutex> Mount<M, L> {
    /// Takes over at most `limit` entries that were added to the log. Reads one cache line if there are none.
    ///
    /// If the file system was made anew, the mount is stale from now on: every file gives [`Error::Stale`], and all of
    /// its pages are taken out of `mappings`.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Dax`] if the log's memory failed; [`Error::Refused`] if the log's header is damaged
    /// while the superblock is as it was: files stay readable, and the next call looks again.
    pub fn follow(&self, limit: u64, mappings: &impl Mappings) -> Result<Followed, Error> {
        self.inner.check_metadata()?;
        let followed = self.inner.follow(limit);
        if matches!(followed, Err(Error::Stale)) {
            self.inner.make_stale(mappings);
        }
        followed
    }

    /// The last entry that was whole but wrong, and how many were.
    #[must_use]
    pub fn refused(&self) -> (u64, Option<Finding>) {
        let state = self.inner.state.lock();
        (state.refused, state.last_refused)
    }

    /// Looks whether the superblock is still the one that was mounted. [`follow`](Self::follow) does so only when the
    /// log has changed: a file system that was made anew and then filled with just as many entries shows only here.
    ///
    /// # Errors
    /// [`Error::Stale`], with the consequences that it has in [`follow`](Self::follow).
    pub fn verify(&self, mappings: &impl Mappings) -> Result<(), Error> {
        self.inner.check_metadata()?;
        let verified = self.inner.check_superblock();
        if matches!(verified, Err(Error::Stale)) {
            self.inner.make_stale(mappings);
        }
        verified
    }
}

impl<M: SharedMemory, L: RawMutex> Inner<M, L> {
    fn follow(&self, limit: u64) -> Result<Followed, Error> {
        let mut state = self.state.lock();
        let counters = match read_counters(self.devices.first(), &self.superblock) {
            Ok(counters) => counters,
            Err(error) => {
                // While a file system is made anew the header is gone, and so is the superblock.
                self.check_superblock()?;
                return Err(match error {
                    AppendError::Damaged(finding) => Error::Refused(finding),
                    error => error.into(),
                });
            }
        };
        let published = counters.next_index.min(self.superblock.slots());
        if published < state.published {
            return Err(Error::Stale);
        }
        if published == state.published && state.next == published {
            return Ok(Followed::default());
        }
        self.check_superblock()?;
        if state.role == Role::Master && published > state.next {
            state.role = Role::FormerMaster;
        }
        state.published = published;
        Ok(self.take_over(&mut state, published, limit))
    }

    /// Whether the superblock is the one that was mounted.
    #[inline(never)]
    fn check_superblock(&self) -> Result<(), Error> {
        let first = self.devices.first();
        forget(first, 0, self.superblock.format.superblock_len())?;
        match read_superblock(first) {
            Ok(there) if there.is_same(&self.superblock) => Ok(()),
            _ => Err(Error::Stale),
        }
    }

    /// Takes over up to `limit` of the published entries, and stops at the first that is not whole.
    #[inline(never)]
    pub(crate) fn take_over(&self, state: &mut State, published: u64, limit: u64) -> Followed {
        let mut followed = Followed::default();
        let end = published.min(state.next.saturating_add(limit));
        state.torn = None;
        while state.next < end {
            let place = Place::Entry(state.next);
            let entry = match self.read_new(state.next) {
                Ok(entry) => entry,
                Err(flaw) => {
                    state.torn = Some(Finding { place, flaw });
                    break;
                }
            };
            match state.tree.apply(&entry, &self.devices) {
                Ok(_) => followed.taken += 1,
                Err(flaw) => {
                    followed.refused += 1;
                    state.refused += 1;
                    state.last_refused = Some(Finding { place, flaw });
                }
            }
            state.next += 1;
        }
        followed.torn = state.torn;
        followed.more = state.torn.is_none() && state.next < published;
        followed
    }

    fn read_new(&self, index: u64) -> Result<Entry, Flaw> {
        let first = self.devices.first();
        // Where the memory ends before the entry does, reading it says so.
        let _ = forget(first, self.superblock.entry_offset(index), self.superblock.format.entry_len());
        read_entry(first, &self.superblock, index, &mut [0; MAX_ENTRY_LEN])
    }

    /// No file of this mount is what it was: they fail, and their pages go.
    pub(crate) fn make_stale(&self, mappings: &impl Mappings) {
        let change = self.layout.change();
        self.stale.store(true, Ordering::Release);
        for key in self.keys() {
            mappings.unmap(key, FileRange::ALL, UnmapCause::Failure);
        }
        drop(change);
    }

    /// The keys of all files, taken with the lock so that it is not held while pages are unmapped.
    fn keys(&self) -> Vec<FileKey> {
        let state = self.state.lock();
        state.tree.nodes().filter_map(|(_, node)| Some(node.file()?.key())).collect()
    }
}
