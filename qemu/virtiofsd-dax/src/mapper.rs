//! What is mapped where: the daemon's own exact table of the window, and the rules by which it changes.
//!
//! A *claim* is a range of the window that the guest was told is mapped, until it removes it. A *piece* is a range
//! that the front end really maps, by one request. A claim's pieces lie one after another from its start. They cover
//! it all, or as much of it as the file is long: a guest may claim a range that reaches past the end of the file, and
//! when the file grows, the missing pages are mapped before the guest hears of the growth; when the file is about to
//! shrink, pages past its new end are unmapped first, since a touch there would kill the front end.
//!
//! The front end refuses overlaps and removals that are not exact, maps nothing past the end of a file, and enlarges
//! an empty file; none of that is ever asked of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::window::{MapFile, Mapping, PAGE, Window, WindowError, page_ceil, page_floor};

/// A request to map part of a file. Everything is in bytes.
#[derive(Debug)]
pub struct Setup<F> {
    /// FUSE's name of the file.
    pub node: u64,
    /// The file, open for reading and writing.
    pub file: Arc<F>,
    /// Where in the file the range starts.
    pub file_offset: u64,
    /// Where in the window the range goes.
    pub window_offset: u64,
    /// How long the range is.
    pub len: u64,
    /// Whether a last page that the file fills only in part is mapped too. It takes making the file longer for a
    /// moment, so it is done only for files whose guest has no other way to read that page.
    pub tail: bool,
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
    file: Arc<F>,
    file_offset: u64,
    /// Lengths of the pieces, from the start of the claim on.
    pieces: Vec<u64>,
}

impl<F> Claim<F> {
    fn mapped(&self) -> u64 {
        self.pieces.iter().sum()
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
    nodes: HashMap<u64, usize>,
    /// Files with a claim that is not mapped to its end, and perhaps some that no longer have one.
    incomplete: HashSet<u64>,
    pieces: usize,
    /// Whether something changed that the guest may not see yet.
    unsettled: bool,
}

/// By how much growing files may exceed the limit of mappings.
const GROWTH_RESERVE: usize = 1000;

impl<F: MapFile> Mapper<F> {
    /// A table for a window of `window` bytes, in which at most `limit` mappings are made.
    pub fn new(window: u64, limit: usize) -> Self {
        Mapper {
            window,
            limit,
            claims: BTreeMap::new(),
            nodes: HashMap::new(),
            incomplete: HashSet::new(),
            pieces: 0,
            unsettled: false,
        }
    }

    /// How many mappings the front end holds for us.
    pub fn live(&self) -> usize {
        self.pieces
    }

    /// Whether the guest claims any range of this file.
    pub fn has(&self, node: u64) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether the guest claims anything at all.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Whether [`grown`](Self::grown) may have something to do for this file.
    pub fn is_incomplete(&self, node: u64) -> bool {
        self.incomplete.contains(&node)
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
        let &Setup { node, file_offset, window_offset, len, tail, .. } = setup;
        let aligned = |bytes: u64| bytes.is_multiple_of(PAGE);
        if len == 0 || !aligned(window_offset) || !aligned(file_offset) || !aligned(len) {
            return Err(SetupError::Unaligned { window_offset, file_offset, len });
        }
        let end = window_offset
            .checked_add(len)
            .filter(|&end| end <= self.window)
            .ok_or(SetupError::OutsideWindow { window_offset, len, window: self.window })?;
        if self.is_claimed(window_offset, end, node, file_offset) {
            return Ok(self.fill_node(window, node, true)?);
        }
        let size = setup.file.size()?;
        let outside_file = SetupError::OutsideFile { file_offset, len, size };
        let Some(file_end) = file_offset.checked_add(len) else { return Err(outside_file) };
        if file_offset >= size || file_end > page_floor(size) && !aligned(size) && !tail {
            return Err(outside_file);
        }
        let replaced: usize = self.overlapping(window_offset, end).map(|(_, claim)| claim.pieces.len()).sum();
        if self.pieces - replaced >= self.limit {
            return Err(SetupError::TooMany(self.pieces));
        }
        self.remove_one(window, window_offset, end)?;
        let mut claim = Claim { len, node, file: Arc::clone(&setup.file), file_offset, pieces: Vec::new() };
        let filled = self.fill(window, window_offset, &mut claim, tail);
        let complete = page_ceil(size).min(file_end) - file_offset;
        if filled.is_ok() && claim.mapped() >= complete {
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
    /// [`SetupError::Unaligned`] and [`SetupError::OutsideWindow`] before anything was done; errors of the front end
    /// when some were removed and others not.
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

    /// Must come before anything that makes a file shorter: unmaps what lies in pages past `size` bytes.
    ///
    /// # Errors
    ///
    /// What the front end says: then the file must keep its size.
    pub fn before_shrink<W: Window<F>>(&mut self, window: &mut W, node: u64, size: u64) -> Result<(), WindowError> {
        if self.nodes.contains_key(&node) {
            for start in self.starts_of(node) {
                let Some(mut claim) = self.claims.remove(&start) else { continue };
                let keep = page_ceil(size).saturating_sub(claim.file_offset).min(claim.len);
                let outcome = self.cut(window, start, &mut claim, keep);
                self.note(&claim);
                self.claims.insert(start, claim);
                outcome?;
            }
        }
        self.settle(window)
    }

    /// Must come after anything that may have made a file longer, before the guest hears of it: maps what the guest
    /// believes is mapped and the file now has.
    ///
    /// # Errors
    ///
    /// What the front end or the host says: then the guest must not be told of the growth.
    pub fn grown<W: Window<F>>(&mut self, window: &mut W, node: u64) -> Result<(), SetupError> {
        if !self.incomplete.contains(&node) {
            return Ok(());
        }
        self.fill_node(window, node, true)?;
        Ok(self.settle(window)?)
    }

    fn is_claimed(&self, start: u64, end: u64, node: u64, file_offset: u64) -> bool {
        self.claims.range(..=start).next_back().is_some_and(|(&at, claim)| {
            claim.node == node && at + claim.len >= end && claim.file_offset + (start - at) == file_offset
        })
    }

    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Claim<F>)> {
        let first = match self.claims.range(..start).next_back() {
            Some((&at, claim)) if at + claim.len > start => at,
            _ => start,
        };
        self.claims.range(first..end.max(first)).map(|(&at, claim)| (at, claim))
    }

    fn starts_of(&self, node: u64) -> Vec<u64> {
        self.claims.iter().filter(|(_, claim)| claim.node == node).map(|(&start, _)| start).collect()
    }

    fn insert(&mut self, start: u64, claim: Claim<F>) {
        *self.nodes.entry(claim.node).or_default() += 1;
        self.note(&claim);
        self.claims.insert(start, claim);
    }

    fn forget(&mut self, node: u64) {
        if let Some(count) = self.nodes.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&node);
                self.incomplete.remove(&node);
            }
        }
    }

    fn note(&mut self, claim: &Claim<F>) {
        if claim.mapped() < claim.len {
            self.incomplete.insert(claim.node);
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

    /// Unmaps the pieces that reach past `keep` bytes, and maps again the part below of the one that straddles.
    fn cut<W: Window<F>>(
        &mut self,
        window: &mut W,
        start: u64,
        claim: &mut Claim<F>,
        keep: u64,
    ) -> Result<(), WindowError> {
        let straddling = self.drop_pieces(window, start, claim, keep)?;
        if straddling > 0 {
            let mapped = claim.mapped();
            match self.map(window, &claim.piece(start, mapped, straddling)) {
                Ok(()) => claim.pieces.push(straddling),
                Err(WindowError::Refused) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Unmaps, from the last on, the pieces that reach past `keep` bytes; returns how much of the lowest of them lay
    /// below.
    fn drop_pieces<W: Window<F>>(
        &mut self,
        window: &mut W,
        start: u64,
        claim: &mut Claim<F>,
        keep: u64,
    ) -> Result<u64, WindowError> {
        let mut end = claim.mapped();
        let mut straddling = 0;
        while end > keep {
            let Some(&len) = claim.pieces.last() else { break };
            self.unmap(window, &claim.piece(start, end - len, len))?;
            claim.pieces.pop();
            end -= len;
            straddling = keep.saturating_sub(end);
        }
        Ok(straddling)
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
        let right = (at + claim.len).saturating_sub(end);
        if let Err(error) = self.drop_pieces(window, at, &mut claim, left) {
            return Err((claim, error));
        }
        self.forget(claim.node);
        // Whatever of the rest is not mapped anew for some reason is mapped when the file is next looked at.
        if right > 0 {
            let offset = end - at;
            let mut rest = Claim {
                len: right,
                node: claim.node,
                file: Arc::clone(&claim.file),
                file_offset: claim.file_offset + offset,
                pieces: Vec::new(),
            };
            let filled = self.fill(window, end, &mut rest, true);
            log_unfilled(&rest, filled);
            self.insert(end, rest);
        }
        if left > 0 {
            claim.len = left;
            let filled = self.fill(window, at, &mut claim, true);
            log_unfilled(&claim, filled);
            self.insert(at, claim);
        }
        Ok(())
    }

    fn fill_node<W: Window<F>>(&mut self, window: &mut W, node: u64, tail: bool) -> Result<(), WindowError> {
        let mut complete = true;
        for start in self.starts_of(node) {
            let Some(mut claim) = self.claims.remove(&start) else { continue };
            let outcome = self.fill(window, start, &mut claim, tail);
            complete &= claim.mapped() == claim.len;
            self.claims.insert(start, claim);
            outcome?;
        }
        if complete {
            self.incomplete.remove(&node);
        }
        Ok(())
    }

    /// Maps what a claim lacks and its file has.
    fn fill<W: Window<F>>(
        &mut self,
        window: &mut W,
        start: u64,
        claim: &mut Claim<F>,
        tail: bool,
    ) -> Result<(), WindowError> {
        let mapped = claim.mapped();
        if mapped == claim.len {
            return Ok(());
        }
        let size = match claim.file.size() {
            Ok(size) => size,
            Err(error) => {
                log::error!("node {}: its size cannot be read: {error}", claim.node);
                return Err(WindowError::Refused);
            }
        };
        let within = |bytes: u64| bytes.saturating_sub(claim.file_offset).min(claim.len);
        let (whole, rounded) = (within(page_floor(size)), within(page_ceil(size)));
        let wanted = if tail { rounded } else { whole };
        if wanted <= mapped {
            return Ok(());
        }
        if self.pieces >= self.limit + GROWTH_RESERVE {
            log::error!("node {}: grown pages are not mapped, {} mappings are live", claim.node, self.pieces);
            return Err(WindowError::Refused);
        }
        let mapping = claim.piece(start, mapped, wanted - mapped);
        if wanted == whole {
            self.map(window, &mapping)?;
        } else {
            self.map_with_tail(window, &mapping, size)?;
        }
        claim.pieces.push(wanted - mapped);
        Ok(())
    }

    /// Maps up to and with the last page of a file that ends within it. The front end maps only whole pages of a
    /// file, so the file is made longer, mapped, and made shorter again; the mapping stays good.
    fn map_with_tail<W: Window<F>>(
        &mut self,
        window: &mut W,
        mapping: &Mapping<'_, F>,
        size: u64,
    ) -> Result<(), WindowError> {
        let file = mapping.file;
        let modified = file.modified();
        if let Err(error) = file.resize(size, page_ceil(size)) {
            log::error!("node {}: its last page cannot be mapped: {error}", mapping.node);
            return Err(WindowError::Refused);
        }
        let outcome = self.map(window, mapping);
        if let Err(error) = file.resize(page_ceil(size), size) {
            log::error!("node {}: it cannot be cut back to {size} bytes: {error}", mapping.node);
        }
        if let Err(error) = modified.and_then(|time| file.set_modified(time)) {
            log::debug!("node {}: its time of change could not be put back: {error}", mapping.node);
        }
        outcome
    }
}

fn log_unfilled<F>(claim: &Claim<F>, outcome: Result<(), WindowError>) {
    if let Err(error) = outcome {
        log::error!("node {}: the rest of a mapping could not be mapped again: {error}", claim.node);
    }
}
