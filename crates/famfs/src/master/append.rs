//! Appending to the log: the entry reaches the memory first, then the counters say so.

use fs_dax::{DeviceOffset, Error, SharedMemory};

use crate::layout::{EntryBytes, LOG_HEADER_LEN, MAX_ENTRY_LEN, Record, Superblock};
use crate::replay::{forget, read_entry, read_header, read_superblock};
use crate::{Finding, Flaw, Place};

/// Where in the log's header the counter of sequence numbers is, in bytes.
const NEXT_SEQNUM_AT: u64 = 32;
/// Where in the log's header the counter of entries is, in bytes. Both lie in one cache line.
const NEXT_INDEX_AT: u64 = 40;

/// The counters of a log at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// How many entries are published.
    pub(crate) next_index: u64,
    /// The next sequence number.
    pub(crate) next_seqnum: u64,
}

impl Counters {
    /// After `entries` entries, with no append under way.
    pub(crate) const fn at_rest(entries: u64) -> Self {
        Self { next_index: entries, next_seqnum: entries }
    }
}

/// Why nothing was appended. No entry became visible to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// All slots are used.
    #[error("the log is full: {slots} entries")]
    LogFull {
        /// How many slots there are.
        slots: u64,
    },
    /// The format cannot hold the record.
    #[error("the format has no such record")]
    NoSuchRecord,
    /// Somebody else wrote to the log.
    #[error("a second writer: the log has {found} entries, {expected} were written here")]
    SecondWriter {
        /// The number of entries found.
        found: u64,
        /// The number of entries that this host knows of.
        expected: u64,
    },
    /// The file system was made anew, or its superblock is damaged.
    #[error("the superblock has changed")]
    Reformatted,
    /// The log's header is damaged.
    #[error(transparent)]
    Damaged(#[from] Finding),
    /// An access to the memory failed.
    #[error(transparent)]
    Memory(#[from] Error),
}

/// Reads the counters as they are in the memory, with the rest of the header checked.
#[inline(never)]
pub(crate) fn read_counters<M: SharedMemory + ?Sized>(
    memory: &M,
    superblock: &Superblock,
) -> Result<Counters, AppendError> {
    forget(memory, superblock.log_offset, LOG_HEADER_LEN)?;
    read_header(memory, superblock)?;
    let at = |within| memory.load_u64(DeviceOffset(superblock.log_offset + within));
    // The number of entries last: the entries that it counts are there when they are read after it.
    let next_seqnum = at(NEXT_SEQNUM_AT)?;
    Ok(Counters { next_seqnum, next_index: at(NEXT_INDEX_AT)? })
}

#[inline(never)]
fn store_counters<M: SharedMemory + ?Sized>(
    memory: &M,
    superblock: &Superblock,
    counters: Counters,
) -> Result<(), Error> {
    let at = |within| DeviceOffset(superblock.log_offset + within);
    memory.store_u64(at(NEXT_SEQNUM_AT), counters.next_seqnum)?;
    memory.store_u64(at(NEXT_INDEX_AT), counters.next_index)?;
    memory.write_back(at(NEXT_SEQNUM_AT), 16)?;
    memory.fence();
    Ok(())
}

/// Appends `record` as the entry after the `known` ones. Gives its index.
pub(crate) fn append<M: SharedMemory + ?Sized>(
    memory: &M,
    superblock: &Superblock,
    known: u64,
    record: &Record,
) -> Result<u64, AppendError> {
    let slots = superblock.slots();
    if known >= slots {
        return Err(AppendError::LogFull { slots });
    }
    let bytes = record.encode(superblock.format, known).ok_or(AppendError::NoSuchRecord)?;
    check_alone(memory, superblock, known)?;
    let (at, len) = (DeviceOffset(superblock.entry_offset(known)), superblock.format.entry_len());
    memory.write(at, &bytes[..len])?;
    memory.write_back(at, len as u64)?;
    memory.fence();
    // What another writer did meanwhile shows in the counters, or in the very slot.
    check_alone(memory, superblock, known)?;
    let mut found: EntryBytes = [0; MAX_ENTRY_LEN];
    forget(memory, at.0, len)?;
    memory.read(at, &mut found[..len])?;
    if found[..len] != bytes[..len] {
        return Err(AppendError::SecondWriter { found: known, expected: known });
    }
    store_counters(memory, superblock, Counters::at_rest(known + 1))?;
    Ok(known)
}

/// Whether the log is as this host left it.
#[inline(never)]
fn check_alone<M: SharedMemory + ?Sized>(memory: &M, superblock: &Superblock, known: u64) -> Result<(), AppendError> {
    forget(memory, 0, superblock.format.superblock_len())?;
    if !read_superblock(memory).is_ok_and(|there| there.is_same(superblock)) {
        return Err(AppendError::Reformatted);
    }
    match read_counters(memory, superblock)? {
        counters if counters == Counters::at_rest(known) => Ok(()),
        counters => {
            // The larger of the two counts an append that has only begun.
            let found = counters.next_index.max(counters.next_seqnum);
            Err(AppendError::SecondWriter { found, expected: known })
        }
    }
}

/// Settles an append that was interrupted between its two counters: the entry becomes visible if it is whole, else the
/// slot is free again. Gives the counters at rest.
pub(crate) fn settle<M: SharedMemory + ?Sized>(memory: &M, superblock: &Superblock) -> Result<Counters, AppendError> {
    let counters = read_counters(memory, superblock)?;
    let Counters { next_index, next_seqnum } = counters;
    if next_index == next_seqnum {
        return Ok(counters);
    }
    if next_seqnum.checked_sub(1) != Some(next_index) || next_index >= superblock.slots() {
        let flaw = Flaw::NextSeqnum { seqnum: next_seqnum, index: next_index };
        return Err(AppendError::Damaged(Finding { place: Place::Log, flaw }));
    }
    let mut bytes = [0; MAX_ENTRY_LEN];
    forget(memory, superblock.entry_offset(next_index), superblock.format.entry_len())?;
    let whole = read_entry(memory, superblock, next_index, &mut bytes).is_ok();
    let settled = Counters::at_rest(next_index + u64::from(whole));
    store_counters(memory, superblock, settled)?;
    Ok(settled)
}
