//! Walking the log: each record is copied to private memory, then checked. Nothing is allocated.

use fs_dax::{DeviceOffset, WindowMemory};

use crate::layout::{Entry, EntryBytes, LOG_HEADER_LEN, LogHeader, MAX_ENTRY_LEN, MAX_SUPERBLOCK_LEN, Superblock};
use crate::{Finding, Flaw, Place};

/// The log of a file system, after superblock and log header were checked.
///
/// The memory is another host's as well: it may change at any time, and whatever it holds is copied before it is
/// judged.
#[derive(Debug)]
pub struct Log<'m, M: ?Sized> {
    memory: &'m M,
    superblock: Superblock,
    header: LogHeader,
}

impl<'m, M: WindowMemory + ?Sized> Log<'m, M> {
    /// Reads superblock and log header.
    ///
    /// # Errors
    /// The first [`Finding`] that makes the file system unreadable.
    pub fn open(memory: &'m M) -> Result<Self, Finding> {
        let superblock = read_superblock(memory)?;
        let header = read_header(memory, &superblock)?;
        Ok(Self { memory, superblock, header })
    }

    /// The superblock.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The header as it was when the log was opened.
    #[must_use]
    pub const fn header(&self) -> &LogHeader {
        &self.header
    }

    /// What is wrong with the log although replay goes on: the memory ends in it, or its counters disagree.
    pub fn flaws(&self) -> impl Iterator<Item = Finding> + use<M> {
        let (need, have) = (self.superblock.log_end(), self.memory.len());
        let truncated = (have < need).then_some(Flaw::Truncated { need, have });
        let flaws = truncated.into_iter().chain(self.header.check_counters(self.superblock.slots()));
        flaws.map(|flaw| Finding { place: Place::Log, flaw })
    }

    /// The published entries from `first` on, up to the first that is not whole.
    #[must_use]
    pub fn entries(&self, first: u64) -> Entries<'_, M> {
        Entries {
            memory: self.memory,
            superblock: &self.superblock,
            next: first,
            end: self.header.published(self.superblock.slots()),
            bytes: [0; MAX_ENTRY_LEN],
        }
    }
}

/// An iterator over the entries of a log. Its last item is the [`Finding`] that ended replay, if one did.
#[derive(Debug)]
pub struct Entries<'l, M: ?Sized> {
    memory: &'l M,
    superblock: &'l Superblock,
    next: u64,
    end: u64,
    bytes: EntryBytes,
}

impl<M: ?Sized> Entries<'_, M> {
    /// The index of the entry that comes next. After an error, the index of the entry that is not whole.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// The bytes of the entry that came last.
    #[cfg(feature = "alloc")]
    pub(crate) const fn bytes(&self) -> &EntryBytes {
        &self.bytes
    }
}

impl<M: WindowMemory + ?Sized> Iterator for Entries<'_, M> {
    type Item = Result<Entry, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        let entry = read_entry(self.memory, self.superblock, index, &mut self.bytes);
        match entry {
            Ok(_) => self.next += 1,
            Err(_) => self.end = index,
        }
        Some(entry.map_err(|flaw| Finding { place: Place::Entry(index), flaw }))
    }
}

/// Copies the superblock and checks it.
#[inline(never)]
pub(crate) fn read_superblock<M: WindowMemory + ?Sized>(memory: &M) -> Result<Superblock, Finding> {
    let mut bytes = [0; MAX_SUPERBLOCK_LEN];
    let have = memory.len();
    let bytes = &mut bytes[..usize::try_from(have).unwrap_or(usize::MAX).min(MAX_SUPERBLOCK_LEN)];
    let read = memory.read(DeviceOffset(0), bytes).map_err(|_| Flaw::Truncated { need: bytes.len() as u64, have });
    let superblock = read.and_then(|()| Superblock::parse(bytes, have));
    superblock.map_err(|flaw| Finding { place: Place::Superblock, flaw })
}

/// Copies the log's header and checks it.
#[inline(never)]
pub(crate) fn read_header<M: WindowMemory + ?Sized>(memory: &M, superblock: &Superblock) -> Result<LogHeader, Finding> {
    let mut bytes = [0; LOG_HEADER_LEN];
    let need = superblock.log_offset + LOG_HEADER_LEN as u64;
    let read = memory.read(DeviceOffset(superblock.log_offset), &mut bytes);
    let header = match read {
        Ok(()) => LogHeader::parse(&bytes, superblock),
        Err(_) => Err(Flaw::Truncated { need, have: memory.len() }),
    };
    header.map_err(|flaw| Finding { place: Place::Log, flaw })
}

/// Copies the entry in slot `index`, which is less than the number of slots, and checks it.
#[inline(never)]
pub(crate) fn read_entry<M: WindowMemory + ?Sized>(
    memory: &M,
    superblock: &Superblock,
    index: u64,
    bytes: &mut EntryBytes,
) -> Result<Entry, Flaw> {
    let (offset, len) = (superblock.entry_offset(index), superblock.format.entry_len());
    let bytes = &mut bytes[..len];
    match memory.read(DeviceOffset(offset), bytes) {
        Ok(()) => Entry::parse(superblock.format, index, bytes),
        Err(_) => Err(Flaw::Truncated { need: offset + len as u64, have: memory.len() }),
    }
}

/// Has the next loads of `len` bytes at `offset` see the memory, not what this host has cached of it.
#[cfg(feature = "alloc")]
#[inline(never)]
pub(crate) fn forget<M: fs_dax::SharedMemory + ?Sized>(
    memory: &M,
    offset: u64,
    len: usize,
) -> Result<(), fs_dax::Error> {
    memory.invalidate(DeviceOffset(offset), len as u64)?;
    memory.fence();
    Ok(())
}
