//! Which pages of a device or file are damaged: bad blocks, memory that was lost.

use crate::{Error, FileRange, PAGE_SIZE};

/// Damaged pages, by range, in memory that the owner gives (an array, a slice, a vector): a place for each run of them.
///
/// Offsets are a device's or a file's, whichever the owner counts in. A fault or copy asks [`check`](Self::check) for the
/// pages it is about, and fails for those only. What overwrites or frees whole pages calls [`clear`](Self::clear).
///
/// ```
/// use fs_dax::{Damage, Errno, FileRange};
///
/// let mut damage = Damage::new([FileRange::between(0, 0); 8]);
/// damage.mark(FileRange::between(0x1234, 0x1240))?;
/// assert_eq!(damage.check(FileRange::between(0x1000, 0x2000)).unwrap_err().errno(), Errno::EIO);
/// assert!(damage.check(FileRange::between(0x2000, 0x3000)).is_ok());
/// damage.clear(FileRange::between(0x1000, 0x2000))?; // the page was written as a whole
/// assert!(damage.is_empty());
/// # Ok::<(), fs_dax::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Damage<S> {
    /// The first `len` are in use: whole pages, in order, apart from each other.
    runs: S,
    len: usize,
}

impl<S: AsRef<[FileRange]> + AsMut<[FileRange]>> Damage<S> {
    /// No damage, with room for as many runs as there are places, whatever they held.
    pub const fn new(runs: S) -> Self {
        Self { runs, len: 0 }
    }

    /// The damaged runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[FileRange] {
        &self.runs.as_ref()[..self.len]
    }

    /// Whether nothing is damaged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Marks all pages that `bytes` touch as damaged.
    ///
    /// # Errors
    /// [`Error::DamageFull`] if there is no place for one more run; nothing is marked then, and the owner is to fail the
    /// whole device or file.
    pub fn mark(&mut self, bytes: FileRange) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (start, end) = (bytes.pages().start(), bytes.pages().end());
        // Runs that overlap or touch become one with it.
        let first = self.runs().partition_point(|run| run.end() < start);
        let after = self.runs().partition_point(|run| run.start() <= end);
        let joined = match self.runs().get(first..after) {
            Some([one]) => FileRange::between(start.min(one.start()), end.max(one.end())),
            Some([head, .., tail]) => FileRange::between(start.min(head.start()), end.max(tail.end())),
            _ => FileRange::between(start, end),
        };
        self.replace(first, after, &[joined])
    }

    /// Takes the damage from all pages that lie wholly in `bytes`: they were overwritten, or given back.
    ///
    /// # Errors
    /// [`Error::DamageFull`] if a run would become two and there is no place; nothing is cleared then.
    pub fn clear(&mut self, bytes: FileRange) -> Result<(), Error> {
        let Some(start) = bytes.start().checked_next_multiple_of(PAGE_SIZE) else { return Ok(()) };
        let end = if bytes.end() == u64::MAX { u64::MAX } else { bytes.end() - bytes.end() % PAGE_SIZE };
        if start >= end {
            return Ok(());
        }
        let first = self.runs().partition_point(|run| run.end() <= start);
        let after = self.runs().partition_point(|run| run.start() < end);
        let Some([head, ..]) = self.runs().get(first..after) else { return Ok(()) };
        let below = FileRange::between(head.start(), start);
        let above = FileRange::between(end, self.runs()[after - 1].end());
        match (below.is_empty(), above.is_empty()) {
            (true, true) => self.replace(first, after, &[]),
            (false, true) => self.replace(first, after, &[below]),
            (true, false) => self.replace(first, after, &[above]),
            (false, false) => self.replace(first, after, &[below, above]),
        }
    }

    /// Whether all of `bytes` are whole.
    ///
    /// # Errors
    /// [`Error::Damaged`] (EIO) with the first that are not.
    pub fn check(&self, bytes: FileRange) -> Result<(), Error> {
        let next = self.runs().partition_point(|run| run.end() <= bytes.start());
        match self.runs().get(next).map(|run| run.intersect(bytes)) {
            Some(damaged) if !damaged.is_empty() => Err(Error::Damaged { bytes: damaged }),
            _ => Ok(()),
        }
    }

    /// Puts `new` runs in the place of those from `first` up to, not including, `after`.
    fn replace(&mut self, first: usize, after: usize, new: &[FileRange]) -> Result<(), Error> {
        let places = self.runs.as_ref().len();
        let len = self.len - (after - first) + new.len();
        if len > places {
            return Err(Error::DamageFull { places });
        }
        let runs = self.runs.as_mut();
        runs.copy_within(after..self.len, first + new.len());
        runs[first..first + new.len()].copy_from_slice(new);
        self.len = len;
        Ok(())
    }
}
