//! What damaged pages of a file mean for reads, views, stores and faults: EIO for what touches one, unless it overwrites all of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fs_dax::{FileRange, MappedRun, PAGE_SIZE, PhysAddr};
use fuse_proto::Errno;

use super::FileIo;
use crate::volume::inode::Inode;
use crate::{Error, Lock};

/// What becomes of an access to a damaged page.
pub(super) const DAMAGED: Error = Error::refused(Errno::EIO, "the page is marked as damaged");

impl<R: Lock> FileIo<R> {
    /// How many of `len` bytes at `offset` come before the first damaged one of the file.
    ///
    /// # Errors
    ///
    /// EIO if that is the first of them.
    #[inline]
    pub(super) fn undamaged(&self, inode: &Inode<R>, offset: u64, len: usize) -> Result<usize, Error> {
        if inode.damage.is_none() { Ok(len) } else { before_damage(inode, offset, len) }
    }

    /// How many of `len` bytes, to be written at `offset`, come before a damaged page of which they are only a part, and whether
    /// they take the place of damaged ones: such a write goes to the host as a whole, which has other pages for it.
    ///
    /// # Errors
    ///
    /// EIO if that page is the first of them.
    #[inline]
    pub(super) fn past_damage(&self, inode: &Inode<R>, offset: u64, len: usize) -> Result<(usize, bool), Error> {
        if inode.damage.is_none() { Ok((len, false)) } else { before_part_of_damage(inode, offset, len) }
    }

    /// Which bytes of which files lie at `len` guest-physical addresses from `addr` on.
    pub(crate) fn files_at(&self, addr: u64, len: u64) -> Vec<(Arc<Inode<R>>, FileRange)> {
        let files = self.window().map_or_else(Vec::new, |window| window.files_at(addr, len));
        if files.is_empty() {
            return Vec::new();
        }
        let inodes = self.volume.inodes.all();
        let known = |key| inodes.iter().find(|inode| inode.key == key).cloned();
        files.into_iter().filter_map(|(key, bytes)| Some((known(key)?, bytes))).collect()
    }
}

#[cold]
fn before_damage<R: Lock>(inode: &Inode<R>, offset: u64, len: usize) -> Result<usize, Error> {
    let end = offset.saturating_add(len as u64).min(inode.size()).max(offset);
    match inode.damage.first_in(FileRange::between(offset, end)) {
        None => Ok(len),
        Some(damaged) if damaged.start() > offset => Ok((damaged.start() - offset) as usize),
        Some(_) => Err(DAMAGED),
    }
}

#[cold]
fn before_part_of_damage<R: Lock>(inode: &Inode<R>, offset: u64, len: usize) -> Result<(usize, bool), Error> {
    let is_damaged =
        |page: u64| inode.damage.first_in(FileRange::between(page, page.saturating_add(PAGE_SIZE))).is_some();
    let mut end = offset.saturating_add(len as u64);
    let (first, last) = (offset & !(PAGE_SIZE - 1), end & !(PAGE_SIZE - 1));
    if first < offset && is_damaged(first) {
        return Err(DAMAGED);
    }
    // Up to the end of the file a page has no other bytes.
    if last < end && end < inode.size() && is_damaged(last) {
        if last <= offset {
            return Err(DAMAGED);
        }
        end = last;
    }
    let replaces = inode.damage.first_in(FileRange::between(offset, end)).is_some();
    Ok(((end - offset) as usize, replaces))
}

/// What of a run a page may be made of that shows the page at `page_start`, which is not damaged.
pub(super) fn undamaged_run<R: Lock>(inode: &Inode<R>, page_start: u64, run: MappedRun) -> MappedRun {
    if inode.damage.is_none() {
        return run;
    }
    let whole = FileRange::between(run.file_offset, run.file_offset + run.len);
    let piece = inode.damage.pieces(whole).into_iter().find(|piece| piece.contains(page_start));
    piece.map_or(run, |piece| MappedRun {
        file_offset: piece.start(),
        phys: PhysAddr(run.phys.0 + (piece.start() - run.file_offset)),
        len: piece.len(),
    })
}
