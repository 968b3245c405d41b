//! Sharing FSYNCs, and their errors.
//!
//! One FSYNC of a file is under way at a time. Who wants one meanwhile waits for the next, which begins after their stores and
//! is one for all of them. An error of one is an error of the file: each open file returns it once, whoever sent the FSYNC, as
//! the fsync(2) of Linux does.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use fs_dax::FileRange;
use fuse_proto::Errno;

use crate::Error;

/// What a sync has to cover.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) bytes: FileRange,
    /// Only the data, and what is needed to read it again.
    pub(crate) data_only: bool,
}

impl Wanted {
    /// What covers both.
    fn and(self, other: Self) -> Self {
        let start = self.bytes.start().min(other.bytes.start());
        let end = self.bytes.end().max(other.bytes.end());
        Self { bytes: FileRange::between(start, end), data_only: self.data_only && other.data_only }
    }
}

/// The FSYNC that somebody waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Round(u64);

/// What becomes of somebody who waits for a round.
#[derive(Debug)]
pub(crate) enum Turn {
    /// To carry it out for all who wait for it, and to end it with [`Commits::end`].
    Lead(Wanted),
    /// It has ended like this.
    Ended(Result<(), Error>),
}

/// Up to which of a file's errors an open file has returned them.
#[derive(Debug)]
pub(crate) struct ErrorsReturned(AtomicU64);

/// See the module. One per file, under its own lock.
#[derive(Debug)]
pub(crate) struct Commits {
    /// The round that is next to begin.
    next: u64,
    running: bool,
    /// What those want who wait for the next round, and how many they are.
    waiting: Option<(Wanted, usize)>,
    /// Rounds that have ended, with how many have yet to learn of it.
    ended: Vec<(u64, Result<(), Error>, usize)>,
    /// How many who share the running round.
    sharing: usize,
    errors: u64,
    last_error: Errno,
    /// Whether somebody has returned the last error.
    returned: bool,
}

impl Commits {
    pub(crate) const fn new() -> Self {
        Self {
            next: 0,
            running: false,
            waiting: None,
            ended: Vec::new(),
            sharing: 0,
            errors: 0,
            last_error: Errno::EIO,
            returned: true,
        }
    }

    /// Asks for a sync that begins after now. Whoever asks has to take its [`Commits::turn`].
    pub(crate) fn join(&mut self, wanted: Wanted) -> Round {
        let (all, count) = self.waiting.map_or((wanted, 0), |(others, count)| (others.and(wanted), count));
        self.waiting = Some((all, count + 1));
        Round(self.next)
    }

    /// What becomes of one who waits; `None` while another round is under way.
    pub(crate) fn turn(&mut self, round: Round) -> Option<Turn> {
        if let Some(index) = self.ended.iter().position(|(ended, ..)| *ended == round.0) {
            let (_, result, left) = &mut self.ended[index];
            *left -= 1;
            let result = result.clone();
            if *left == 0 {
                drop(self.ended.swap_remove(index));
            }
            return Some(Turn::Ended(result));
        }
        if self.running {
            return None;
        }
        let (wanted, count) = self.waiting.take()?;
        self.running = true;
        self.next += 1;
        self.sharing = count - 1;
        Some(Turn::Lead(wanted))
    }

    /// Ends the round under way. An error of the server's is new to all open files, unless the one that sent the FSYNC had one
    /// to return: the server keeps an error for each of its handles, and this is that one.
    pub(crate) fn end(&mut self, round: Round, result: &Result<(), Error>, returned: &ErrorsReturned) {
        self.running = false;
        if self.sharing > 0 {
            self.ended.push((round.0, result.clone(), self.sharing));
        }
        if let Err(Error::Os(errno)) = result
            && returned.0.load(Ordering::Relaxed) == self.errors
        {
            self.failed(*errno);
        }
    }

    /// The host could not make stores durable.
    pub(crate) fn failed(&mut self, errno: Errno) {
        self.errors += 1;
        self.last_error = errno;
        self.returned = false;
    }

    /// The errors that a file that is opened now does not return: those that somebody has returned.
    pub(crate) fn opened(&self) -> ErrorsReturned {
        ErrorsReturned(AtomicU64::new(self.errors - u64::from(!self.returned)))
    }

    /// The error that an open file has to return now, once.
    pub(crate) fn error_for(&mut self, returned: &ErrorsReturned) -> Option<Errno> {
        let before = returned.0.swap(self.errors, Ordering::Relaxed);
        (before != self.errors).then(|| {
            self.returned = true;
            self.last_error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted { bytes: FileRange::ALL, data_only: false };

    fn some(start: u64, end: u64) -> Wanted {
        Wanted { bytes: FileRange::between(start, end), data_only: true }
    }

    #[test]
    fn those_who_come_meanwhile_share_the_next() {
        let mut commits = Commits::new();
        let returned = commits.opened();
        let first = commits.join(some(0, 10));
        assert!(matches!(commits.turn(first), Some(Turn::Lead(wanted)) if wanted == some(0, 10)));
        let (second, third) = (commits.join(some(20, 30)), commits.join(some(5, 6)));
        assert_eq!(second, third);
        assert!(commits.turn(second).is_none() && commits.turn(third).is_none(), "it began before their stores");
        commits.end(first, &Ok(()), &returned);
        assert!(matches!(commits.turn(third), Some(Turn::Lead(wanted)) if wanted == some(5, 30)));
        assert!(commits.turn(second).is_none());
        commits.end(third, &Ok(()), &returned);
        assert!(matches!(commits.turn(second), Some(Turn::Ended(Ok(())))));
        assert!(commits.ended.is_empty());
        assert_eq!(some(0, 1).and(ALL), ALL);
    }

    #[test]
    fn an_error_is_returned_once_by_each() {
        let mut commits = Commits::new();
        let (one, two) = (commits.opened(), commits.opened());
        let round = commits.join(ALL);
        assert!(commits.turn(round).is_some());
        commits.end(round, &Err(Error::Os(Errno::ENOSPC)), &one);
        // Nobody has returned it yet: a file that is opened now does.
        let three = commits.opened();
        assert_eq!(commits.error_for(&one), Some(Errno::ENOSPC));
        assert_eq!(commits.error_for(&one), None);
        let four = commits.opened();
        // The host has the same error for the handle of another.
        let round = commits.join(ALL);
        assert!(commits.turn(round).is_some());
        commits.end(round, &Err(Error::Os(Errno::ENOSPC)), &two);
        assert_eq!((commits.error_for(&two), commits.error_for(&two)), (Some(Errno::ENOSPC), None));
        assert_eq!((commits.error_for(&three), commits.error_for(&four)), (Some(Errno::ENOSPC), None));
        assert_eq!(commits.error_for(&one), None, "it was no new one");
    }
}
