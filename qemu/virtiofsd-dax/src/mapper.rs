//! What is mapped where: the daemon's own exact table of the window, and the rules by which it changes.
//!
//! A *claim* is a range of the window that was reported to the guest as mapped, until it removes it. A *piece* is a range
//! that the front end really maps, by one request. A claim's pieces lie one after another from its start. They cover
//! it all, or as much of it as the file is long: a guest may claim a range that reaches past the end of a file that
//! ends with a page. When such a file grows by whole pages, they are mapped before the guest hears of the growth; a
//! growth that ends within a page is an error of the request that reports it, since no page that the file fills only
//! in part can be mapped. When a file is about to shrink, pages past its new end are unmapped first, since a touch
//! there would kill the front end; the page in which it ends stays.
//!
//! The front end refuses overlaps and removals that are not exact, maps nothing past the end of a file, and enlarges
//! an empty file; none of that is ever asked of it, and no file is ever changed for the sake of a mapping.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::window::{FileKey, MapFile, Mapping, PAGE, Window, WindowError, page_ceil, page_floor};

/// A request to map part of a file. Everything is in bytes.
#[derive(Debug)]
pub struct Setup<F> {
    /// FUSE's name of the file, for the record only.
    pub node: u64,
    /// What it is known by.
    pub key: FileKey,
    /// The file, open for reading and writing.
    pub file: Arc<F>,
    /// Where in the file the range starts.
    pub file_offset: u64,
    /// Where in the window the range goes.
    pub window_offset: u64,
    /// How long the range is.
    pub len: u64,
}

/// Why a file was not mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// An offset or the length is not a multiple of [`PAGE`], or the length is 0.
    #[error("window {window_offset:#x}, file {file_offset:#x} or length {len:#x} is not in whole pages, or empty")]
    Unaligned {
        /// Offset in the window, in bytes.
        window_offset: u64,
        /// Offset in the file, in bytes.
        file_offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The range leaves the window.
    #[error("{len:#x} bytes at {window_offset:#x} leave the window of {window:#x} bytes")]
    OutsideWindow {
        /// Offset in the window, in bytes.
        window_offset: u64,
        /// Length in bytes.
        len: u64,
        /// Size of the window in bytes.
        window: u64,
    },
    /// The range reaches the end of a file that is empty, ends before the range, or ends within a page.
    #[error("the file of {size} bytes cannot be mapped at {file_offset:#x} for {len:#x} bytes")]
    OutsideFile {
        /// Offset in the file, in bytes.
        file_offset: u64,
        /// Length in bytes.
        len: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// More mappings are live than the front end is known to bear.
    #[error("{0} mappings are live already")]
    TooMany(usize),
    /// The file could not be examined.
    #[error("the file cannot be examined: {0}")]
    File(#[from] io::Error),
    /// The front end did not do it.
    #[error(transparent)]
    Window(#[from] WindowError),
}

impl SetupError {
    /// The errno that the guest gets.
    pub fn errno(&self) -> i32 {
        match self {
            SetupError::Unaligned { .. } | SetupError::OutsideWindow { .. } => libc::EINVAL,
            SetupError::OutsideFile { .. } => libc::ENXIO,
            SetupError::TooMany(_) => libc::ENOSPC,
            SetupError::File(error) => error.raw_os_error().unwrap_or(libc::EIO),
            SetupError::Window(_) => libc::EIO,
        }
    }
}

#[derive(Debug)]
struct Claim<F> {
    len: u64,
    node: u64,
    key: FileKey,
    file: Arc<F>,
    file_offset: u64,
    /// Lengths of the pieces, from the start of the claim on.
    pieces: Vec<u64>,
}

impl<F> Claim<F> {
    fn mapped(&self) -> u64 {
        self.pieces.iter().sum()
    }

    /// Whether no piece reaches across `offset` bytes from the start.
    fn ends_at(&self, offset: u64) -> bool {
        let mut end = 0;
        self.pieces.iter().all(|len| {
            let begin = end;
            end += len;
            offset <= begin || end <= offset
        })
    }

    /// A part of the claim, with nothing mapped.
    fn part(&self, offset: u64, len: u64) -> Self {
        Claim {
            len,
            node: self.node,
            key: self.key,
            file: Arc::clone(&self.file),
            file_offset: self.file_offset + offset,
            pieces: Vec::new(),
        }
    }

    fn piece(&self, start: u64, offset: u64, len: u64) -> Mapping<'_, F> {
        Mapping {
            file: &*self.file,
            node: self.node,
            file_offset: self.file_offset + offset,
            window_offset: start + offset,
            len,
        }
    }
}

/// The table of one device's window.
#[derive(Debug)]
pub struct Mapper<F> {
    window: u64,
    limit: usize,
    claims: BTreeMap<u64, Claim<F>>,
    /// How many claims each file has.
    files: HashMap<FileKey, usize>,
    /// Files with a claim that is not mapped to its end, and perhaps some that no longer have one.
    incomplete: HashSet<FileKey>,
    /// Files that are being made shorter, by inode number, and the size in bytes that they will have. Two devices may
    /// give the same number: then the limit holds for both files, for as long as the one shrinks.
    shrinking: HashMap<u64, u64>,
    pieces: usize,
    /// Whether something changed that the guest may not see yet.
    unsettled: bool,
}

/// By how much growing files, and ranges removed from within others, may exceed the limit of mappings.
const RESERVE: usize = 1000;

impl<F: MapFile> Mapper<F> {
    /// A table for a window of `window` bytes, in which at most `limit` mappings of as many files are made.
    pub fn new(window: u64, limit: usize) -> Self {
        Mapper {
            window,
            limit,
            claims: BTreeMap::new(),
            files: HashMap::new(),
            incomplete: HashSet::new(),
            shrinking: HashMap::new(),
            pieces: 0,
            unsettled: false,
        }
    }

    /// How many mappings the front end holds for us.
    pub fn live(&self) -> usize {
        self.pieces
    }

    /// Whether the guest claims anything at all.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// The file that is known by a key, if the guest claims any range of it.
    pub fn file(&self, key: FileKey) -> Option<Arc<F>> {
        self.files.get(&key)?;
        self.claims.values().find(|claim| claim.key == key).map(|claim| Arc::clone(&claim.file))
    }

    /// Whether any claimed file has this number, on whatever device.
    pub fn has_inode(&self, inode: u64) -> bool {
        self.files.keys().any(|key| key.inode == inode)
    }

    /// How many files [`grown`](Self::grown) may have something to do for.
    pub fn incomplete(&self) -> usize {
        self.incomplete.len()
    }

    /// Whether [`grown`](Self::grown) may have something to do for a file of this number.
    pub fn is_incomplete(&self, inode: u64) -> bool {
        self.incomplete.iter().any(|key| key.inode == inode)
    }

    /// Maps several ranges, in order, and returns when the guest can see all that succeeded.
    pub fn set_up<W: Window<F>>(&mut self, window: &mut W, setups: &[Setup<F>]) -> Vec<Result<(), SetupError>> {
        let mut results: Vec<_> = setups.iter().map(|setup| self.set_up_one(window, setup)).collect();
        if let Err(error) = self.settle(window) {
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(SetupError::Window(error));
            }
        }
        results
    }

    fn set_up_one<W: Window<F>>(&mut self, window: &mut W, setup: &Setup<F>) -> Result<(), SetupError> {
        let &Setup { node, key, file_offset, window_offset, len, .. } = setup;
        let aligned = |bytes: u64| bytes.is_multiple_of(PAGE);
        if len == 0 || !aligned(window_offset) || !aligned(file_offset) || !aligned(len) {
            return Err(SetupError::Unaligned { window_offset, file_offset, len });
        }
        let end = window_offset
            .checked_add(len)
            .filter(|&end| end <= self.window)
            .ok_or(SetupError::OutsideWindow { window_offset, len, window: self.window })?;
        if self.is_claimed(window_offset, end, key, file_offset) {
            return self.fill_file(window, key);
        }
        let size = self.size(key, &setup.file)?;
        let outside_file = SetupError::OutsideFile { file_offset, len, size };
        let Some(file_end) = file_offset.checked_add(len) else { return Err(outside_file) };
        if file_offset >= size || file_end > page_floor(size) && !aligned(size) {
            return Err(outside_file);
        }
        let (claims, pieces) = self
            .overlapping(window_offset, end)
            .fold((0, 0), |(claims, pieces), (_, claim)| (claims + 1, pieces + claim.pieces.len()));
        if self.pieces - pieces >= self.limit || self.claims.len() - claims >= self.limit + RESERVE {
            return Err(SetupError::TooMany(self.pieces));
        }
        self.check_splits(window_offset, end)?;
        self.remove_one(window, window_offset, end)?;
        let mut claim = Claim { len, node, key, file: Arc::clone(&setup.file), file_offset, pieces: Vec::new() };
        let filled = self.fill(window, window_offset, &mut claim);
        if matches!(filled, Ok(true)) {
            self.insert(window_offset, claim);
            return Ok(());
        }
        // Not all of it could be mapped: what was is taken back, so that the error is the whole truth.
        self.drop_pieces(window, window_offset, &mut claim, 0)?;
        filled?;
        Err(SetupError::Window(WindowError::Refused))
    }

    /// Removes the mappings of ranges of the window, each an offset and a length in bytes; a length of `u64::MAX`
    /// reaches to the window's end. What is not mapped counts as removed.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unaligned`] and [`SetupError::OutsideWindow`] before anything was done; errors of the front end,
    /// and [`SetupError::TooMany`] where what is left of a range that is split would exceed the limit, when some were
    /// removed and others not.
    pub fn remove<W: Window<F>>(&mut self, window: &mut W, ranges: &[(u64, u64)]) -> Result<(), SetupError> {
        let mut checked = Vec::with_capacity(ranges.len());
        for &(window_offset, len) in ranges {
            let to_the_end = len == u64::MAX;
            if !window_offset.is_multiple_of(PAGE) || !to_the_end && !len.is_multiple_of(PAGE) {
                return Err(SetupError::Unaligned { window_offset, file_offset: 0, len });
            }
            let end = if to_the_end { Some(self.window) } else { window_offset.checked_add(len) };
            match end.filter(|&end| window_offset <= end && end <= self.window) {
                Some(end) => checked.push((window_offset, end)),
                None => return Err(SetupError::OutsideWindow { window_offset, len, window: self.window }),
            }
        }
        for (start, end) in checked {
            self.check_splits(start, end)?;
            self.remove_one(window, start, end)?;
        }
        Ok(())
    }

    /// Removes everything.
    ///
    /// # Errors
    ///
    /// What the front end says; what it did not remove stays in the table.
    pub fn remove_all<W: Window<F>>(&mut self, window: &mut W) -> Result<(), WindowError> {
        self.remove_one(window, 0, self.window)?;
        self.settle(window)
    }

    /// Must come before a file that nobody has mapped is made shorter than it is: nothing past `size` bytes of it is
    /// mapped until [`after_shrink`](Self::after_shrink), and what was unmapped before is out of the guest's sight.
    ///
    /// # Errors
    ///
    /// What the front end says: then the file must keep its size.
    pub fn announce_shrink<W: Window<F>>(&mut self, window: &mut W, inode: u64, size: u64) -> Result<(), WindowError> {
        self.shrinking.insert(inode, size);
        self.settle(window)
    }

    /// Must come before anything that makes a file shorter: unmaps what lies in pages past `size` bytes. Nothing there
    /// is mapped again until [`after_shrink`](Self::after_shrink).
    ///
    /// # Errors
    ///
    /// What the front end says: then the file must keep its size.
    pub fn before_shrink<W: Window<F>>(&mut self, window: &mut W, key: FileKey, size: u64) -> Result<(), WindowError> {
        self.shrinking.insert(key.inode, size);
        for start in self.starts_of(key) {
            let Some(mut claim) = self.claims.remove(&start) else { continue };
            let outcome = self.cut(window, start, &mut claim, size);
            self.note(&claim);
            self.claims.insert(start, claim);
            outcome?;
        }
        self.settle(window)
    }

    /// The file has the size that was announced, or keeps the one it had.
    pub fn after_shrink(&mut self, inode: u64) {
        self.shrinking.remove(&inode);
    }

    /// Must come after anything that may have made a file longer, before the guest hears of it: maps what the guest
    /// believes is mapped and the file now has.
    ///
    /// # Errors
    ///
    /// What the front end or the host says, and [`SetupError::OutsideFile`] if the file ends within a page that the
    /// guest believes is mapped: then the guest must not learn of the growth.
    pub fn grown<W: Window<F>>(&mut self, window: &mut W, key: FileKey) -> Result<(), SetupError> {
        if !self.incomplete.contains(&key) {
            return Ok(());
        }
        let filled = self.fill_file(window, key);
        self.settle(window)?;
        filled
    }

    fn size(&self, key: FileKey, file: &F) -> io::Result<u64> {
        let size = file.size()?;
        Ok(self.shrinking.get(&key.inode).map_or(size, |&coming| size.min(coming)))
    }

    /// Ranges that are left of a claim before and after a removed one are mapped anew, so they count.
    fn check_splits(&self, start: u64, end: u64) -> Result<(), SetupError> {
        let splits = self.overlapping(start, end).any(|(at, claim)| at < start && end < at + claim.len);
        if splits && self.pieces.max(self.claims.len()) >= self.limit + RESERVE {
            return Err(SetupError::TooMany(self.pieces));
        }
        Ok(())
    }

    fn is_claimed(&self, start: u64, end: u64, key: FileKey, file_offset: u64) -> bool {
        self.claims.range(..=start).next_back().is_some_and(|(&at, claim)| {
            claim.key == key && at + claim.len >= end && claim.file_offset + (start - at) == file_offset
        })
    }

    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Claim<F>)> {
        let first = match self.claims.range(..start).next_back() {
            Some((&at, claim)) if at + claim.len > start => at,
            _ => start,
        };
        self.claims.range(first..end.max(first)).map(|(&at, claim)| (at, claim))
    }

    fn starts_of(&self, key: FileKey) -> Vec<u64> {
        self.claims.iter().filter(|(_, claim)| claim.key == key).map(|(&start, _)| start).collect()
    }

    fn insert(&mut self, start: u64, claim: Claim<F>) {
        *self.files.entry(claim.key).or_default() += 1;
        self.note(&claim);
        self.claims.insert(start, claim);
    }

    fn forget(&mut self, key: FileKey) {
        if let Some(count) = self.files.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.files.remove(&key);
                self.incomplete.remove(&key);
            }
        }
    }

    fn note(&mut self, claim: &Claim<F>) {
        if claim.mapped() < claim.len {
            self.incomplete.insert(claim.key);
        }
    }

    fn settle<W: Window<F>>(&mut self, window: &mut W) -> Result<(), WindowError> {
        if self.unsettled {
            window.barrier()?;
            self.unsettled = false;
        }
        Ok(())
    }

    fn unmap<W: Window<F>>(&mut self, window: &mut W, mapping: &Mapping<'_, F>) -> Result<(), WindowError> {
        match window.unmap(mapping) {
            // Refused: the front end dropped it by itself, as it does when the guest resets the device.
            Ok(()) | Err(WindowError::Refused) => {
                self.pieces -= 1;
                self.unsettled = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn map<W: Window<F>>(&mut self, window: &mut W, mapping: &Mapping<'_, F>) -> Result<(), WindowError> {
        window.map(mapping)?;
        self.pieces += 1;
        self.unsettled = true;
        Ok(())
    }

    /// Unmaps the pages past a file's coming end at `size` bytes. The page in which the file will end is a piece of its
    /// own from then on: it could not be mapped again.
    fn cut<W: Window<F>>(
        &mut self,
        window: &mut W,
        start: u64,
        claim: &mut Claim<F>,
        size: u64,
    ) -> Result<(), WindowError> {
        let within = |bytes: u64| bytes.saturating_sub(claim.file_offset).min(claim.len);
        let (whole, keep) = (within(page_floor(size)), within(page_ceil(size)));
        let stays = claim.ends_at(whole) && claim.ends_at(keep);
        let kept = claim.mapped().min(keep);
        self.drop_pieces(window, start, claim, if stays { keep } else { whole })?;
        for end in [whole.min(kept), kept] {
            let mapped = claim.mapped();
            if mapped < end {
                self.map(window, &claim.piece(start, mapped, end - mapped))?;
                claim.pieces.push(end - mapped);
            }
        }
        Ok(())
    }

    /// Unmaps, from the last on, the pieces that reach past `keep` bytes.
    fn drop_pieces<W: Window<F>>(
        &mut self,
        window: &mut W,
        start: u64,
        claim: &mut Claim<F>,
        keep: u64,
    ) -> Result<(), WindowError> {
        let mut end = claim.mapped();
        while end > keep {
            let Some(&len) = claim.pieces.last() else { break };
            self.unmap(window, &claim.piece(start, end - len, len))?;
            claim.pieces.pop();
            end -= len;
        }
        Ok(())
    }

    fn remove_one<W: Window<F>>(&mut self, window: &mut W, start: u64, end: u64) -> Result<(), WindowError> {
        let touched: Vec<u64> = self.overlapping(start, end).map(|(at, _)| at).collect();
        for at in touched {
            let Some(claim) = self.claims.remove(&at) else { continue };
            if let Err((claim, error)) = self.carve(window, at, claim, start, end) {
                self.note(&claim);
                self.claims.insert(at, claim);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes `start..end` from a claim, and puts back what lies before and after. On an error the claim comes back
    /// with the pieces that it still has.
    fn carve<W: Window<F>>(
        &mut self,
        window: &mut W,
        at: u64,
        mut claim: Claim<F>,
        start: u64,
        end: u64,
    ) -> Result<(), (Claim<F>, WindowError)> {
        let left = start.saturating_sub(at);
        let right = end.saturating_sub(at).min(claim.len);
        let boundary = self.split(at, &mut claim, right);
        if let Err(error) = self.drop_pieces(window, at, &mut claim, left) {
            return Err((claim, error));
        }
        self.forget(claim.key);
        // Whatever of the rest is not mapped anew for some reason is mapped when the file is next looked at.
        if boundary > right {
            let mut rest = claim.part(right, boundary - right);
            let filled = self.fill(window, end, &mut rest);
            log_unfilled(&rest, &filled);
            self.insert(end, rest);
        }
        if left > 0 {
            claim.len = left;
            let filled = self.fill(window, at, &mut claim);
            log_unfilled(&claim, &filled);
            self.insert(at, claim);
        }
        Ok(())
    }

    /// Makes a claim of its own of what lies after the piece that reaches across `right`, or after `right` itself;
    /// returns where that begins.
    fn split(&mut self, at: u64, claim: &mut Claim<F>, right: u64) -> u64 {
        let (mut boundary, mut count) = (0, 0);
        while boundary < right && count < claim.pieces.len() {
            boundary += claim.pieces[count];
            count += 1;
        }
        let boundary = boundary.max(right);
        if boundary < claim.len {
            let mut rest = claim.part(boundary, claim.len - boundary);
            rest.pieces = claim.pieces.split_off(count);
            claim.len = boundary;
            self.insert(at + boundary, rest);
        }
        boundary
    }

    fn fill_file<W: Window<F>>(&mut self, window: &mut W, key: FileKey) -> Result<(), SetupError> {
        let mut complete = true;
        for start in self.starts_of(key) {
            let Some(mut claim) = self.claims.remove(&start) else { continue };
            let (file_offset, len) = (claim.file_offset, claim.len);
            let outcome = self.fill(window, start, &mut claim);
            complete &= claim.mapped() == len;
            let file = Arc::clone(&claim.file);
            self.claims.insert(start, claim);
            if !outcome? {
                return Err(SetupError::OutsideFile { file_offset, len, size: file.size()? });
            }
        }
        if complete {
            self.incomplete.remove(&key);
        }
        Ok(())
    }

    /// Maps what a claim lacks and its file has; returns whether all that the file has is mapped now, to its last byte.
    fn fill<W: Window<F>>(&mut self, window: &mut W, start: u64, claim: &mut Claim<F>) -> Result<bool, SetupError> {
        let mapped = claim.mapped();
        if mapped == claim.len {
            return Ok(true);
        }
        let size = self.size(claim.key, &claim.file)?;
        let within = |bytes: u64| bytes.saturating_sub(claim.file_offset).min(claim.len);
        let (whole, rounded) = (within(page_floor(size)), within(page_ceil(size)));
        if whole > mapped {
            if self.pieces >= self.limit + RESERVE {
                return Err(SetupError::TooMany(self.pieces));
            }
            self.map(window, &claim.piece(start, mapped, whole - mapped))?;
            claim.pieces.push(whole - mapped);
        }
        Ok(rounded <= claim.mapped())
    }
}

fn log_unfilled<F>(claim: &Claim<F>, outcome: &Result<bool, SetupError>) {
    if let Err(error) = outcome {
        log::error!("node {}: the rest of a mapping could not be mapped again: {error}", claim.node);
    }
}
