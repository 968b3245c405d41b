//! An open file.

use alloc::sync::Arc;

use fs_dax::{Errno, FileKey, FileRange, Segment, SharedMemory, WindowMemory};
use lock_api::RawMutex;

use super::coherence::Shared;
use super::state::Inner;
use crate::{Error, FileNode};

/// An open file. Reading, writing and mapping it takes no lock.
#[derive(Debug)]
pub struct File<M, L: RawMutex> {
    pub(super) mount: Arc<Inner<M, L>>,
    pub(super) node: Arc<FileNode>,
}

impl<M, L: RawMutex> Clone for File<M, L> {
    fn clone(&self) -> Self {
        Self { mount: Arc::clone(&self.mount), node: Arc::clone(&self.node) }
    }
}

impl<M: SharedMemory, L: RawMutex> File<M, L> {
    pub(crate) const fn new(mount: Arc<Inner<M, L>>, node: Arc<FileNode>) -> Self {
        Self { mount, node }
    }

    /// The file's size in bytes. It never changes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.node.size()
    }

    /// The key by which page tables know the file; no file of another mount has it.
    #[must_use]
    pub fn key(&self) -> FileKey {
        self.node.key()
    }

    /// Whether the file can be used.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Dax`] with EIO or ENXIO if the file failed.
    pub fn check(&self) -> Result<(), Error> {
        self.mount.check_fresh()?;
        self.node.mapped().map()?;
        Ok(())
    }

    /// Whether the file can be stored to.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::ReadOnly`] for the whole mount, [`Error::FileReadOnly`] for this file.
    pub fn check_writable(&self) -> Result<(), Error> {
        self.check()?;
        if self.mount.read_only {
            return Err(Error::ReadOnly);
        }
        if self.node.is_read_only() {
            return Err(Error::FileReadOnly);
        }
        Ok(())
    }

    /// Compares the size that the embedder has for the file with the one its map was made for. If they differ the
    /// file has failed for good.
    ///
    /// # Errors
    /// As [`check`](Self::check); ENXIO if the sizes differ or once did.
    pub fn check_size(&self, found: u64) -> Result<(), Error> {
        self.mount.check_fresh()?;
        self.node.mapped().map_for_size(found)?;
        Ok(())
    }

    /// Reads from `offset` on, up to the end of the file or to a damaged page. Gives how many bytes: 0 at the end and past it.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Dax`] if the memory cannot be read, with EIO if the first byte's page is damaged.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        self.mount.check_fresh()?;
        self.segments(offset, into.len(), |memory, segment, done| {
            let segment = self.mount.damage.whole_part(segment)?;
            let part = into.get_mut(done..).and_then(|rest| rest.get_mut(..segment.len as usize));
            part.map_or(Ok(()), |part| memory.read(segment.offset, part)).map(|()| segment.len)
        })
    }

    /// Writes from `offset` on, up to the end of the file or to a damaged page that is not written as a whole: one that is, up
    /// to the end of the file, is whole again. Gives how many bytes: 0 at the end and past it. Other hosts see them after
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`check_writable`](Self::check_writable); [`Error::Dax`] if the memory cannot be written, with EIO if the first byte
    /// is to go to a part of a damaged page.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, Error> {
        self.check_writable()?;
        let damage = &self.mount.damage;
        self.segments(offset, from.len(), |memory, segment, done| {
            let ends = |len: u64| offset.saturating_add(done as u64 + len) >= self.size();
            let segment = damage.writable_part(segment, ends(segment.len))?;
            let part = from.get(done..).and_then(|rest| rest.get(..segment.len as usize));
            part.map_or(Ok(()), |part| memory.write(segment.offset, part))?;
            damage.overwritten(&segment, ends(segment.len));
            Ok(segment.len)
        })
    }

    /// Has what this host stored to `range` reach the memory: whoever refreshes after this returns sees it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn publish(&self, range: FileRange) -> Result<(), Error> {
        self.check()?;
        self.each_segment(range, |memory, segment| memory.write_back(segment.offset, segment.len))
    }

    /// Has this host forget what it has in its caches of `range`: loads see what other hosts published before.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn refresh(&self, range: FileRange) -> Result<(), Error> {
        self.check()?;
        self.each_segment(range, |memory, segment| memory.invalidate(segment.offset, segment.len))
    }

    /// Where the file's byte `offset` lies, and how many of the `want` bytes from there on follow it in memory, none of them on
    /// a damaged page; 0 at the end of the file and past it.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Dax`] with EIO if the byte's page is damaged.
    pub fn resolve(&self, offset: u64, want: u64) -> Result<Segment, Error> {
        self.mount.check_fresh()?;
        Ok(self.mount.damage.whole_part(self.node.mapped().map()?.resolve(offset, want))?)
    }

    pub(crate) fn memory(&self, segment: &Segment) -> Result<&Shared<M>, Error> {
        let missing = fs_dax::Error::Failed { errno: Errno::EIO };
        // A map names only devices that were there when it was checked.
        self.mount.devices.get(segment.device).ok_or(Error::Dax(missing))
    }

    /// Calls `each` for the pieces of `len` bytes at `offset`, with how many bytes came before; it gives how many it did. What
    /// came before a damaged page counts.
    fn segments(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(&Shared<M>, Segment, usize) -> Result<u64, fs_dax::Error>,
    ) -> Result<usize, Error> {
        let map = self.node.mapped().map()?;
        let mut done = 0;
        while done < len {
            let Some(at) = offset.checked_add(done as u64) else { break };
            let segment = map.resolve(at, (len - done) as u64);
            if segment.len == 0 {
                break;
            }
            match each(self.memory(&segment)?, segment, done) {
                Ok(count) => done += count as usize,
                Err(fs_dax::Error::Damaged { .. }) if done > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn each_segment(
        &self,
        range: FileRange,
        each: impl Fn(&Shared<M>, &Segment) -> Result<(), fs_dax::Error>,
    ) -> Result<(), Error> {
        let map = self.node.mapped().map()?;
        let mut at = range.start();
        while at < range.end() {
            let segment = map.resolve(at, range.end() - at);
            if segment.len == 0 {
                break;
            }
            each(self.memory(&segment)?, &segment)?;
            at += segment.len;
        }
        self.mount.devices.first().fence();
        Ok(())
    }
}
